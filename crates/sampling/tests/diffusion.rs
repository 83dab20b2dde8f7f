//! Schedules, sampler runs and noise against diffusers and PyTorch (`golden/diffusion`).

#![allow(clippy::unwrap_used, reason = "a test stops when something is wrong")]

use medley_sampling::diffusion::*;
use medley_testkit::{Case, Tolerance, assert_close, difference, golden};
use serde::Deserialize;

fn case(file: &str) -> Case {
    Case::load(golden("diffusion").join(file)).unwrap()
}

/// A row of runs.json.
#[derive(Debug, Deserialize)]
struct Run {
    name: String,
    sampler: Sampler,
    prediction: Prediction,
    betas: BetaShape,
    timestep_spacing: TimestepSpacing,
    steps_offset: usize,
    sigma_spacing: SigmaSpacing,
    #[serde(default = "ten")]
    steps: usize,
    #[serde(default)]
    keep_last_noise: bool,
    #[serde(default)]
    zero_terminal_snr: bool,
    eta: Option<f64>,
    clip: Option<f32>,
    order: Option<usize>,
    #[serde(default)]
    shift: Option<f64>,
    tokens: Option<usize>,
    strength: Option<f64>,
}

fn ten() -> usize {
    10
}

fn schedule(shape: BetaShape) -> NoiseSchedule {
    let (start, end) = match shape {
        BetaShape::ScaledLinear => (0.00085, 0.012),
        BetaShape::Linear | BetaShape::Cosine => (1e-4, 0.02),
    };
    NoiseSchedule::new(shape, 1000, start, end).unwrap()
}

impl Run {
    fn is_flow(&self) -> bool {
        self.prediction == Prediction::Flow
    }

    fn build(&self) -> Box<dyn Scheduler> {
        let strength = self.strength.unwrap_or(1.0);
        self.config().build_from(self.steps, strength).unwrap()
    }

    fn config(&self) -> SchedulerConfig {
        let process = match (self.tokens, self.shift) {
            (Some(tokens), _) => Process::flow(FlowShift::for_tokens(tokens)),
            (None, Some(shift)) => Process::flow(FlowShift::Static(shift)),
            (None, None) => {
                let mut schedule = schedule(self.betas);
                if self.zero_terminal_snr {
                    schedule = schedule.with_zero_terminal_snr();
                }
                Process::Diffusion(schedule)
            }
        };
        SchedulerConfig {
            timestep_spacing: self.timestep_spacing,
            steps_offset: self.steps_offset,
            sigma_spacing: self.sigma_spacing,
            keep_last_noise: self.keep_last_noise,
            eta: self.eta,
            clip: self.clip,
            order: self.order,
            ..SchedulerConfig::new(self.sampler, self.prediction, process)
        }
    }
}

#[derive(Deserialize)]
struct Mixture {
    weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    deviations: Vec<f64>,
}

impl Mixture {
    /// E[x₀ | x] for one row x = α·x₀ + σ·ε.
    fn denoise(&self, x: &[f64], alpha: f64, sigma: f64) -> Vec<f64> {
        let parts: Vec<(f64, Vec<f64>)> = (0..self.weights.len())
            .map(|k| {
                let signal = (alpha * self.deviations[k]).powi(2);
                let variance = signal + sigma * sigma;
                let rest: Vec<f64> = x
                    .iter()
                    .zip(&self.means[k])
                    .map(|(x, m)| x - alpha * m)
                    .collect();
                let square: f64 = rest.iter().map(|r| r * r).sum();
                let log = self.weights[k].ln()
                    - 0.5 * (square / variance + x.len() as f64 * variance.ln());
                let gain = alpha * self.deviations[k].powi(2) / variance;
                let mean = self.means[k].iter().zip(&rest).map(|(m, r)| m + gain * r);
                (log, mean.collect())
            })
            .collect();
        let most = parts.iter().map(|(log, _)| *log).fold(f64::MIN, f64::max);
        let total: f64 = parts.iter().map(|(log, _)| (log - most).exp()).sum();
        let mut out = vec![0.0; x.len()];
        for (log, mean) in &parts {
            let share = (log - most).exp() / total;
            out.iter_mut().zip(mean).for_each(|(o, m)| *o += share * m);
        }
        out
    }

    /// The exact output for rows of four.
    fn model(&self, input: &[f32], point: Point, prediction: Prediction) -> Vec<f32> {
        let Point { alpha, sigma } = point;
        let mut out = Vec::new();
        for row in input.chunks(4) {
            let x: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
            let clean = self.denoise(&x, alpha, sigma);
            out.extend(x.iter().zip(clean).map(|(x, clean)| {
                let noise = (x - alpha * clean) / sigma;
                let value = match prediction {
                    Prediction::Epsilon => noise,
                    Prediction::V => alpha * noise - sigma * clean,
                    Prediction::Sample => clean,
                    Prediction::Flow => noise - clean,
                };
                value as f32
            }));
        }
        out
    }
}

/// What the network sees at evaluation `at`: unit variance, but for flows.
fn seen(table: &Table, at: usize, flow: bool) -> Point {
    let Point { alpha, sigma } = table.points()[at];
    let norm = if flow { 1.0 } else { alpha.hypot(sigma) };
    Point {
        alpha: alpha / norm,
        sigma: sigma / norm,
    }
}

/// The sample before and after each evaluation.
fn trace(run: &Run, mixture: &Mixture) -> Vec<f32> {
    let mut scheduler = run.build();
    let mut rng = TorchRng::new(7);
    let mut sample = rng.normal(16);
    if run.strength.is_some() {
        let picture = [mixture.means.concat(), mixture.means.concat()].concat();
        let picture: Vec<f32> = picture.into_iter().map(|x| x as f32).collect();
        sample = scheduler.table().add_noise(&picture, &sample).unwrap();
    } else {
        scheduler.table().scale_initial(&mut sample);
    }
    let mut trace = sample.clone();
    while scheduler.table().timestep().is_some() {
        let table = scheduler.table();
        let point = seen(table, table.done(), run.is_flow());
        let output = mixture.model(&table.scale_input(&sample), point, run.prediction);
        scheduler.step(&output, &mut sample, &mut rng).unwrap();
        trace.extend_from_slice(&sample);
    }
    trace
}

#[test]
fn schedules_agree_with_diffusers() {
    let case = case("case.safetensors");
    for &shape in BetaShape::ALL {
        let name = format!("alphas_cumprod.{shape}");
        let want = case.f32s(&name).unwrap();
        assert_close(
            &name,
            schedule(shape).alphas_cumprod(),
            want,
            Tolerance::new(0.0, 1e-6),
        );
    }
}

#[test]
fn tables_agree_with_diffusers() {
    let case = case("case.safetensors");
    let runs: Vec<Run> = case.json("runs.json").unwrap();
    for run in &runs {
        let scheduler = run.build();
        let table = scheduler.table();
        let of = |point: &Point| {
            let signal = if run.is_flow() { 1.0 } else { point.alpha };
            (point.sigma / signal) as f32
        };
        let name = format!("{}.sigmas", run.name);
        let sigmas: Vec<f32> = table.points()[..table.timesteps().len()]
            .iter()
            .map(of)
            .collect();
        let tolerance = Tolerance::new(0.0, 1e-5);
        assert_close(&name, &sigmas, case.f32s(&name).unwrap(), tolerance);
        let name = format!("{}.timesteps", run.name);
        if case.has(&name) {
            // Interpolated timesteps come from f32 logarithms there, and some are made whole.
            let multistep = [Sampler::Dpmpp2m, Sampler::Dpmpp2mSde, Sampler::UniPc];
            let cut = match run.sigma_spacing {
                SigmaSpacing::Native => false,
                SigmaSpacing::Karras => run.sampler == Sampler::Dpm2,
                _ => multistep.contains(&run.sampler),
            };
            let tolerance = Tolerance::new(if cut { 1.0 } else { 2e-3 }, 1e-5);
            assert_close(
                &name,
                table.timesteps(),
                case.f32s(&name).unwrap(),
                tolerance,
            );
        }
    }
}

/// Largest difference of a run, relative to the largest value of the reference at that evaluation.
fn relative(actual: &[f32], expected: &[f32]) -> f32 {
    let pairs = actual.chunks(16).zip(expected.chunks(16));
    pairs
        .map(|(a, e)| {
            let largest = e.iter().fold(0f32, |m, x| m.max(x.abs()));
            difference(a, e).max_abs / largest
        })
        .fold(0.0, f32::max)
}

#[test]
fn runs_agree_with_diffusers() {
    let case = case("case.safetensors");
    let runs: Vec<Run> = case.json("runs.json").unwrap();
    let mixture: Mixture = case.json("mixture.json").unwrap();
    let mut failed = Vec::new();
    for run in &runs {
        let actual = trace(run, &mixture);
        let expected = case.f32s(&format!("{}.trace", run.name)).unwrap();
        assert_eq!(actual.len(), expected.len(), "{}", run.name);
        let gap = relative(&actual, expected);
        println!("{:24} {gap:.1e}", run.name);
        // From σ = 4096 down to 20, the reference's own f32 step loses that much.
        let allowed = if run.zero_terminal_snr { 2e-5 } else { 1e-5 };
        if gap.is_nan() || gap > allowed {
            failed.push(format!("{} {gap:.1e}", run.name));
        }
    }
    for &sampler in Sampler::ALL {
        assert!(runs.iter().any(|run| run.sampler == sampler), "{sampler}");
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn noise_is_pytorchs() {
    let case = case("noise.safetensors");
    let mut compared = 0;
    for name in case.names() {
        let want = case.f32s(name).unwrap();
        let parts: Vec<&str> = name.split('.').collect();
        let [kind, seed, size] = parts[..] else {
            continue;
        };
        let mut rng = TorchRng::new(seed.parse().unwrap());
        let size: usize = size.parse().unwrap();
        let got = match kind {
            "randn" => rng.normal(size),
            _ => rng.uniform(size),
        };
        assert_close(name, &got, want, Tolerance::EXACT);
        compared += 1;
    }
    assert_eq!(compared, 2 * 3 * 7);
    let mut rng = TorchRng::new(3);
    let parts = [
        rng.normal(5),
        rng.uniform(3),
        rng.normal(20),
        rng.normal(4),
        rng.uniform(2),
    ];
    let want = case.f32s("sequence").unwrap();
    assert_close("sequence", &parts.concat(), want, Tolerance::EXACT);
}

#[test]
fn guidance_agrees_with_diffusers() {
    let case = case("case.safetensors");
    let of = |name: &str| case.f32s(&format!("guidance.{name}")).unwrap();
    let mut guidance = Guidance::new(7.5).unwrap();
    for (name, rescale) in [("guided", 0.0), ("rescaled", 0.7)] {
        guidance.rescale = rescale;
        let mut output = of("with").to_vec();
        guidance.apply(&mut output, of("without")).unwrap();
        assert_close(name, &output, of(name), Tolerance::new(1e-5, 1e-5));
    }
}

fn diffusion(sampler: Sampler) -> SchedulerConfig {
    let process = Process::Diffusion(NoiseSchedule::stable_diffusion().unwrap());
    SchedulerConfig::new(sampler, Prediction::Epsilon, process)
}

#[test]
fn names_are_parsed_and_listed() {
    for &sampler in Sampler::ALL {
        assert_eq!(sampler.name().parse::<Sampler>().unwrap(), sampler);
    }
    let error = "Euler".parse::<Sampler>().unwrap_err().to_string();
    assert_eq!(
        error,
        "there is no sampler \"Euler\"; there are ddpm, ddim, euler, euler_a, heun, dpm2, dpmpp_2s_a, \
         dpmpp_2m, dpmpp_2m_sde, unipc, lcm, flow_euler, flow_heun"
    );
}

#[test]
fn what_a_sampler_cannot_do_is_refused() {
    let told = |config: SchedulerConfig, steps| config.build(steps).unwrap_err().to_string();
    let flow = Process::flow(FlowShift::Static(1.0));
    let config = SchedulerConfig::new(Sampler::Heun, Prediction::Flow, flow.clone());
    assert_eq!(
        told(config, 10),
        "the sampler heun cannot sample a flow model; for it there are dpmpp_2m, dpmpp_2m_sde, unipc, \
         flow_euler, flow_heun"
    );
    assert!(told(diffusion(Sampler::FlowEuler), 10).contains("cannot sample a diffusion model"));
    let mut config = diffusion(Sampler::Heun);
    config.eta = Some(0.5);
    assert_eq!(told(config, 10), "the sampler heun has no eta");
    let mut config = diffusion(Sampler::Ddim);
    config.sigma_spacing = SigmaSpacing::Karras;
    assert_eq!(told(config, 10), "the sampler ddim has no sigma spacing");
    assert_eq!(
        told(diffusion(Sampler::Lcm), 51),
        "the number of steps is 51, but it must be 1 to 50"
    );
    assert!(told(diffusion(Sampler::UniPc), 0).contains("1 to 999"));
    let mut config = SchedulerConfig::new(Sampler::FlowEuler, Prediction::Flow, flow);
    config.timestep_spacing = TimestepSpacing::Leading;
    assert!(told(config, 10).contains("linspace or trailing"));
    let shift = Process::flow(FlowShift::Static(0.0));
    let config = SchedulerConfig::new(Sampler::FlowEuler, Prediction::Flow, shift);
    assert!(told(config, 10).contains("flow shift"));
    for strength in [0.0, 1.5, f64::NAN] {
        let error = diffusion(Sampler::Euler).build_from(10, strength);
        assert!(error.unwrap_err().to_string().contains("strength"));
    }
}

#[test]
fn broken_outputs_leave_the_sample() {
    for &sampler in Sampler::ALL.iter().filter(|s| s.samples_diffusion()) {
        let mut run = diffusion(sampler).build(2).unwrap();
        let mut rng = TorchRng::new(1);
        let mut sample = vec![0.5; 8];
        let mut output = vec![0.1; 8];
        output[3] = f32::NAN;
        let error = run.step(&output, &mut sample, &mut rng).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the model's output is NaN at value 3 of evaluation 1: it must be finite"
        );
        assert!(run.step(&output[..7], &mut sample, &mut rng).is_err());
        assert_eq!(sample, [0.5; 8]);
        assert_eq!(run.table().done(), 0);
        output[3] = 0.1;
        while run.table().timestep().is_some() {
            run.step(&output, &mut sample, &mut rng).unwrap();
        }
        let error = run.step(&output, &mut sample, &mut rng).unwrap_err();
        assert!(matches!(error, DiffusionError::Finished { .. }));
    }
}

/// Any number of steps and any spacing ends in finite numbers near the data.
#[test]
fn every_setting_reaches_the_data() {
    let mixture: Mixture = case("case.safetensors").json("mixture.json").unwrap();
    for &sampler in Sampler::ALL {
        for &timestep_spacing in TimestepSpacing::ALL {
            for &sigma_spacing in SigmaSpacing::ALL {
                for steps in [1, 2, 3, 20, 50] {
                    let flow = !sampler.samples_diffusion();
                    let (prediction, process) = if flow {
                        let process = Process::flow(FlowShift::Static(3.0));
                        (Prediction::Flow, process)
                    } else {
                        let config = diffusion(sampler);
                        (Prediction::Epsilon, config.process)
                    };
                    let config = SchedulerConfig {
                        timestep_spacing,
                        sigma_spacing,
                        ..SchedulerConfig::new(sampler, prediction, process)
                    };
                    let Ok(mut run) = config.build(steps) else {
                        continue;
                    };
                    let mut rng = TorchRng::new(11);
                    let mut sample = rng.normal(64);
                    run.table().scale_initial(&mut sample);
                    while run.table().timestep().is_some() {
                        let point = seen(run.table(), run.table().done(), flow);
                        let input = run.table().scale_input(&sample);
                        let output = mixture.model(&input, point, prediction);
                        run.step(&output, &mut sample, &mut rng).unwrap();
                    }
                    let largest = sample.iter().fold(0f32, |m, x| m.max(x.abs()));
                    let label =
                        format!("{sampler} {timestep_spacing} {sigma_spacing} {steps}: {largest}");
                    assert!(sample.iter().all(|x| x.is_finite()), "{label}");
                    // A second-order method cannot make much of two steps.
                    assert!(largest < if steps < 20 { 40.0 } else { 2.5 }, "{label}");
                    assert_eq!(run.table().denoised().len(), 64);
                }
            }
        }
    }
}

#[test]
fn steps_of_two_evaluations_have_an_inside() {
    let mut rng = TorchRng::new(1);
    let mut sample = vec![0.5; 8];
    let mut run = diffusion(Sampler::Heun).build(3).unwrap();
    assert_eq!((run.table().steps(), run.table().timesteps().len()), (3, 5));
    let mut between = vec![run.table().is_between_steps()];
    while run.table().timestep().is_some() {
        run.step(&[0.1; 8], &mut sample, &mut rng).unwrap();
        between.push(run.table().is_between_steps());
    }
    assert_eq!(between, [true, false, true, false, true, true]);
    // 70 % of three steps are two.
    let run = diffusion(Sampler::Heun).build_from(3, 0.7).unwrap();
    assert_eq!((run.table().steps(), run.table().timesteps().len()), (2, 3));
}
