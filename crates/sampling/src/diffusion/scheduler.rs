//! Samplers by name, and the runs that are built from them.

use super::ancestral::{Ddim, Ddpm, Lcm};
use super::dpmpp::{Multistep, SinglestepAncestral};
use super::error::{DiffusionError, in_range};
use super::euler::{Dpm2, Euler, EulerAncestral, Heun, ancestral};
use super::names::named;
use super::noise::NormalSource;
use super::prediction::Prediction;
use super::schedule::{FlowShift, NoiseSchedule};
use super::spacing::{
    Level, SigmaSpacing, TimestepSpacing, diffusion_levels, flow_levels, multistep_timesteps,
    timestep_of, timesteps, whole_timesteps,
};
use super::table::{Point, Table};
use super::unipc::{MAX_ORDER, UniPc};

/// One run from noise to a picture. The loop around it:
///
/// ```
/// use medley_sampling::diffusion::*;
///
/// # fn main() -> Result<(), DiffusionError> {
/// # let network = |input: &[f32], _: f32| input.to_vec();
/// let process = Process::Diffusion(NoiseSchedule::stable_diffusion()?);
/// let mut run = SchedulerConfig::new(Sampler::Euler, Prediction::Epsilon, process).build(20)?;
/// let mut rng = TorchRng::new(42);
/// let mut sample = rng.normal(4 * 64 * 64);
/// run.table().scale_initial(&mut sample);
/// while let Some(timestep) = run.table().timestep() {
///     let input = run.table().scale_input(&sample);
///     let output = network(&input, timestep);
///     run.step(&output, &mut sample, &mut rng)?;
/// }
/// # Ok(())
/// # }
/// ```
pub trait Scheduler: std::fmt::Debug + Send {
    /// The run's timesteps and noise levels, and where it is in them.
    fn table(&self) -> &Table;

    /// Takes the model's output for the next evaluation and moves `sample` on, both of one length.
    /// Samplers that add noise draw it from `noise`.
    ///
    /// # Errors
    /// [`DiffusionError::Length`], [`DiffusionError::NotFinite`] and, after the last evaluation,
    /// [`DiffusionError::Finished`]; `sample` is then as it was.
    fn step(
        &mut self,
        model_output: &[f32],
        sample: &mut [f32],
        noise: &mut dyn NormalSource,
    ) -> Result<(), DiffusionError>;
}

named! {
    /// The samplers by the names of `--sampler`.
    Sampler, "sampler" {
        /// DDPM.
        Ddpm = "ddpm",
        /// DDIM.
        Ddim = "ddim",
        /// Euler.
        Euler = "euler",
        /// Euler ancestral.
        EulerAncestral = "euler_a",
        /// Heun.
        Heun = "heun",
        /// DPM-Solver-2.
        Dpm2 = "dpm2",
        /// DPM-Solver++ 2S ancestral.
        Dpmpp2sAncestral = "dpmpp_2s_a",
        /// DPM-Solver++ 2M.
        Dpmpp2m = "dpmpp_2m",
        /// DPM-Solver++ 2M for the stochastic equation.
        Dpmpp2mSde = "dpmpp_2m_sde",
        /// UniPC.
        UniPc = "unipc",
        /// Latent consistency models.
        Lcm = "lcm",
        /// Euler for flow models.
        FlowEuler = "flow_euler",
        /// Heun for flow models.
        FlowHeun = "flow_heun",
    }
}

impl Sampler {
    /// Whether it can sample models trained on a [`Process::Flow`].
    pub fn samples_flows(self) -> bool {
        self.is_multistep() || matches!(self, Self::FlowEuler | Self::FlowHeun)
    }

    /// Whether it can sample models trained on a [`Process::Diffusion`].
    pub fn samples_diffusion(self) -> bool {
        !matches!(self, Self::FlowEuler | Self::FlowHeun)
    }

    /// Whether it adds noise on its way (at its default η).
    pub fn is_stochastic(self) -> bool {
        matches!(self, Self::Ddpm | Self::Lcm | Self::Dpmpp2mSde) || self.is_ancestral()
    }

    fn is_ancestral(self) -> bool {
        matches!(self, Self::EulerAncestral | Self::Dpmpp2sAncestral)
    }

    fn is_multistep(self) -> bool {
        matches!(self, Self::Dpmpp2m | Self::Dpmpp2mSde | Self::UniPc)
    }

    /// Steps between whole training timesteps.
    fn is_discrete(self) -> bool {
        matches!(self, Self::Ddpm | Self::Ddim | Self::Lcm)
    }

    fn evaluates_twice(self) -> bool {
        matches!(
            self,
            Self::Heun | Self::FlowHeun | Self::Dpm2 | Self::Dpmpp2sAncestral
        )
    }
}

/// How the model's training mixed data and noise.
#[derive(Clone, Debug, PartialEq)]
pub enum Process {
    /// x = √ᾱ_t·x₀ + √(1-ᾱ_t)·ε.
    Diffusion(NoiseSchedule),
    /// x = (1-σ)·x₀ + σ·ε; the network is told σ·`timesteps`.
    Flow {
        /// How levels are moved towards noise.
        shift: FlowShift,
        /// Number of training timesteps, 1000 for the published models.
        timesteps: usize,
    },
}

impl Process {
    /// A flow of 1000 timesteps.
    pub fn flow(shift: FlowShift) -> Self {
        Self::Flow {
            shift,
            timesteps: 1000,
        }
    }
}

/// Everything that decides a run but its number of steps.
#[derive(Clone, Debug, PartialEq)]
pub struct SchedulerConfig {
    /// The method.
    pub sampler: Sampler,
    /// What the model gives.
    pub prediction: Prediction,
    /// How the model was trained.
    pub process: Process,
    /// How the steps lie over the training timesteps.
    pub timestep_spacing: TimestepSpacing,
    /// What [`TimestepSpacing::Leading`] adds to each timestep (1 for Stable Diffusion).
    pub steps_offset: usize,
    /// How the noise levels lie. Not for `ddpm`, `ddim`, `lcm`.
    pub sigma_spacing: SigmaSpacing,
    /// Ends a run at the noise of the first training timestep instead of at none: `set_alpha_to_one =
    /// false`, `final_sigmas_type = "sigma_min"`. For `ddim`, `euler`, `dpmpp_2m`, `dpmpp_2m_sde`, `unipc`
    /// over diffusion models.
    pub keep_last_noise: bool,
    /// How much noise is added: `ddim` (0 if none is given), `euler_a`, `dpmpp_2s_a` (1).
    pub eta: Option<f64>,
    /// Estimates of x₀ are clipped to ± this.
    pub clip: Option<f32>,
    /// Order of `unipc`, 1 to 3 (2).
    pub order: Option<usize>,
    /// Steps of the teacher that an `lcm` model was distilled from.
    pub original_steps: usize,
}

impl SchedulerConfig {
    /// Trailing timesteps with their own levels, down to no noise, unclipped.
    pub fn new(sampler: Sampler, prediction: Prediction, process: Process) -> Self {
        Self {
            sampler,
            prediction,
            process,
            timestep_spacing: TimestepSpacing::Trailing,
            steps_offset: 0,
            sigma_spacing: SigmaSpacing::Native,
            keep_last_noise: false,
            eta: None,
            clip: None,
            order: None,
            original_steps: 50,
        }
    }

    /// A run of `steps` steps from pure noise ([`Table::scale_initial`]).
    ///
    /// # Errors
    /// [`DiffusionError`] names the setting that is wrong or that the sampler does not have.
    pub fn build(&self, steps: usize) -> Result<Box<dyn Scheduler>, DiffusionError> {
        self.build_from(steps, 1.0)
    }

    /// The last `strength` (0 to 1) of a run's steps, at least one: a run from a picture
    /// ([`Table::add_noise`]; [SDEdit](https://arxiv.org/abs/2108.01073)).
    ///
    /// # Errors
    /// As [`SchedulerConfig::build`].
    pub fn build_from(
        &self,
        steps: usize,
        strength: f64,
    ) -> Result<Box<dyn Scheduler>, DiffusionError> {
        self.check(steps)?;
        let mut table = self.table(steps)?;
        table.keep(strength)?;
        let eta = |default| self.eta.unwrap_or(default);
        let (start, slope) = (Vec::new(), Vec::new());
        Ok(match self.sampler {
            Sampler::Ddpm => Box::new(Ddpm(table)),
            Sampler::Ddim => Box::new(Ddim {
                table,
                eta: eta(0.0),
            }),
            Sampler::Lcm => Box::new(Lcm(table)),
            Sampler::Euler | Sampler::FlowEuler => Box::new(Euler(table)),
            Sampler::EulerAncestral => Box::new(EulerAncestral {
                table,
                eta: eta(1.0),
            }),
            Sampler::Heun | Sampler::FlowHeun => Box::new(Heun {
                table,
                start,
                slope,
            }),
            Sampler::Dpm2 => Box::new(Dpm2 { table, start }),
            Sampler::Dpmpp2sAncestral => Box::new(SinglestepAncestral {
                table,
                eta: eta(1.0),
                start,
            }),
            Sampler::Dpmpp2m | Sampler::Dpmpp2mSde => Box::new(Multistep {
                table,
                noisy: self.sampler == Sampler::Dpmpp2mSde,
                steps,
                before: Vec::new(),
            }),
            Sampler::UniPc => Box::new(UniPc {
                table,
                order: self.order.unwrap_or(2),
                history: Vec::new(),
                start,
                last_order: 0,
            }),
        })
    }

    fn check(&self, steps: usize) -> Result<(), DiffusionError> {
        let sampler = self.sampler;
        let (fits, kind, total) = match &self.process {
            Process::Diffusion(schedule) => (
                sampler.samples_diffusion(),
                "diffusion",
                schedule.timesteps(),
            ),
            Process::Flow { timesteps, shift } => {
                let factor = shift.factor();
                let valid = factor.is_finite() && factor > 0.0;
                in_range(valid, "the flow shift", factor, "above 0")?;
                let valid = (1..=100_000).contains(timesteps);
                in_range(
                    valid,
                    "the number of training timesteps",
                    timesteps,
                    "1 to 100000",
                )?;
                (sampler.samples_flows(), "flow", *timesteps)
            }
        };
        if !fits {
            let flow = kind == "flow";
            let names = Sampler::ALL.iter().filter(|known| match flow {
                true => known.samples_flows(),
                false => known.samples_diffusion(),
            });
            return Err(DiffusionError::WrongSampler {
                sampler: sampler.name(),
                kind,
                known: names
                    .map(|known| known.name())
                    .collect::<Vec<_>>()
                    .join(", "),
            });
        }
        let most = match sampler {
            Sampler::Lcm => self.original_steps.min(total),
            _ if sampler.is_multistep() => (total - 1).max(1),
            _ => total,
        };
        let valid = (1..=most).contains(&steps);
        in_range(valid, "the number of steps", steps, format!("1 to {most}"))?;
        self.check_settings()
    }

    /// A setting that the sampler does not have is refused, not ignored.
    fn check_settings(&self) -> Result<(), DiffusionError> {
        let sampler = self.sampler;
        let has_end = matches!(sampler, Sampler::Ddim | Sampler::Euler) || sampler.is_multistep();
        let diffusion = matches!(self.process, Process::Diffusion(_));
        for (given, has, setting) in [
            (
                self.sigma_spacing != SigmaSpacing::Native,
                !sampler.is_discrete(),
                "sigma spacing",
            ),
            (
                self.eta.is_some(),
                sampler == Sampler::Ddim || sampler.is_ancestral(),
                "eta",
            ),
            (self.order.is_some(), sampler == Sampler::UniPc, "order"),
            (
                self.keep_last_noise,
                has_end && diffusion,
                "end with noise left",
            ),
        ] {
            if given && !has {
                return Err(DiffusionError::NoSuchSetting {
                    sampler: sampler.name(),
                    setting,
                });
            }
        }
        if let Some(eta) = self.eta {
            in_range((0.0..=1.0).contains(&eta), "eta", eta, "0 to 1")?;
        }
        if let Some(order) = self.order {
            let valid = (1..=MAX_ORDER).contains(&order);
            in_range(valid, "the order", order, format!("1 to {MAX_ORDER}"))?;
        }
        if let Some(clip) = self.clip {
            in_range(clip > 0.0, "the clipping range", clip, "above 0")?;
        }
        Ok(())
    }

    fn table(&self, steps: usize) -> Result<Table, DiffusionError> {
        let (timesteps, points) = match &self.process {
            Process::Diffusion(schedule) if self.sampler.is_discrete() => {
                self.discrete(schedule, steps)
            }
            Process::Diffusion(schedule) => self.continuous(schedule, steps),
            Process::Flow { shift, timesteps } => self.flow(*shift, *timesteps, steps)?,
        };
        let largest = points[0].sigma;
        let exploding = matches!(self.process, Process::Diffusion(_))
            && !self.sampler.is_discrete()
            && !self.sampler.is_multistep();
        let initial_scale = match (exploding, self.timestep_spacing) {
            (false, _) => 1.0,
            (true, TimestepSpacing::Leading) => largest.hypot(1.0),
            (true, _) => largest,
        };
        Ok(Table {
            timesteps: timesteps.into_iter().map(|t| t as f32).collect(),
            points,
            prediction: self.prediction,
            clip: self.clip,
            scales_input: exploding,
            initial_scale,
            per_step: if self.sampler.evaluates_twice() { 2 } else { 1 },
            done: 0,
            denoised: Vec::new(),
        })
    }

    fn discrete(&self, schedule: &NoiseSchedule, steps: usize) -> (Vec<f64>, Vec<Point>) {
        let total = schedule.timesteps();
        let chosen: Vec<usize> = if self.sampler == Sampler::Lcm {
            let original = self.original_steps.min(total);
            let stride = total / original;
            (0..steps)
                .map(|i| (original - i * original / steps) * stride - 1)
                .collect()
        } else {
            whole_timesteps(self.timestep_spacing, total, steps, self.steps_offset)
        };
        let trained = schedule.points();
        let mut points: Vec<Point> = chosen.iter().map(|&t| trained[t]).collect();
        points.push(if self.keep_last_noise {
            trained[0]
        } else {
            Point::CLEAN
        });
        (chosen.into_iter().map(|t| t as f64).collect(), points)
    }

    fn continuous(&self, schedule: &NoiseSchedule, steps: usize) -> (Vec<f64>, Vec<Point>) {
        let (total, offset) = (schedule.timesteps(), self.steps_offset);
        let multistep = self.sampler.is_multistep();
        let chosen: Vec<f64> = if multistep {
            multistep_timesteps(self.timestep_spacing, total, steps, offset)
                .into_iter()
                .map(|t| t as f64)
                .collect()
        } else {
            timesteps(self.timestep_spacing, total, steps, offset)
        };
        let mut levels = diffusion_levels(schedule, &chosen, self.sigma_spacing, multistep);
        for level in &mut levels {
            // Levels are f32 in the references; the difference shows in their small ones.
            level.sigma = f64::from(level.sigma as f32);
            if multistep {
                level.timestep = level.timestep.round_ties_even();
            }
        }
        let sigmas = schedule.sigmas();
        let end = if self.keep_last_noise { sigmas[0] } else { 0.0 };
        let point = if multistep {
            Point::preserving
        } else {
            Point::exploding
        };
        let logs: Vec<f64> = sigmas.iter().map(|sigma| sigma.ln()).collect();
        self.stops(&levels, end, point, |sigma| timestep_of(&logs, sigma))
    }

    fn flow(
        &self,
        shift: FlowShift,
        total: usize,
        steps: usize,
    ) -> Result<(Vec<f64>, Vec<Point>), DiffusionError> {
        // λ must be finite for the methods that step in it.
        const MOST: f64 = 1.0 - 1e-6;
        let mut levels = flow_levels(
            self.timestep_spacing,
            self.sigma_spacing,
            shift,
            total,
            steps,
        )?;
        for level in &mut levels {
            if self.sampler.is_multistep() {
                level.sigma = level.sigma.min(MOST);
            }
            level.sigma = f64::from(level.sigma as f32);
        }
        Ok(self.stops(&levels, 0.0, Point::flow, |sigma| sigma * total as f64))
    }

    /// The evaluations of a run over `levels` and on to `end`: one a level, and for methods that
    /// evaluate twice another within each step but the last.
    fn stops(
        &self,
        levels: &[Level],
        end: f64,
        point: impl Fn(f64) -> Point,
        timestep: impl Fn(f64) -> f64,
    ) -> (Vec<f64>, Vec<Point>) {
        let (mut timesteps, mut points) = (Vec::new(), Vec::new());
        for (i, level) in levels.iter().enumerate() {
            timesteps.push(level.timestep);
            points.push(point(level.sigma));
            let Some(next) = levels.get(i + 1) else { break };
            let inner = match self.sampler {
                Sampler::Heun | Sampler::FlowHeun => next.sigma,
                Sampler::Dpm2 => (level.sigma * next.sigma).sqrt(),
                Sampler::Dpmpp2sAncestral => {
                    let eta = self.eta.unwrap_or(1.0);
                    let (down, _) = ancestral(level.sigma, next.sigma, eta);
                    (level.sigma * down).sqrt()
                }
                _ => continue,
            };
            timesteps.push(if inner == next.sigma {
                next.timestep
            } else {
                timestep(inner)
            });
            points.push(point(inner));
        }
        points.push(point(end));
        (timesteps, points)
    }
}
