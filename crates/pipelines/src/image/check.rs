//! What is refused, and what is filled in, before anything is computed.

use medley_sampling::diffusion::{Guidance, Sampler};
use medley_types::ImageRequest;

use super::config::{ImageConfig, Kind, MAX_SIDE};
use crate::PipelineError;

/// Longest prompt in bytes; encoders read a few hundred of them.
const MAX_PROMPT: usize = 64 << 10;
const MAX_COUNT: u32 = 1000;
const MAX_STEPS: u32 = 1000;
const MAX_FRAMES: u32 = 1000;

fn refuse<T>(text: impl Into<String>) -> Result<T, PipelineError> {
    Err(PipelineError::InvalidRequest(text.into()))
}

fn within<T: PartialOrd + std::fmt::Display>(
    what: &str,
    value: T,
    from: T,
    to: T,
) -> Result<(), PipelineError> {
    if from <= value && value <= to {
        return Ok(());
    }
    refuse(format!("{what} is {value}, but it must be {from} to {to}"))
}

/// Refuses what no model could do.
///
/// # Errors
/// [`PipelineError::InvalidRequest`] names the value that is wrong and what would be right.
pub fn validate(request: &ImageRequest) -> Result<(), PipelineError> {
    let length = request.prompt.len().max(request.negative.len());
    if length > MAX_PROMPT {
        return refuse(format!(
            "the prompt has {length} bytes, but at most {MAX_PROMPT} are read"
        ));
    }
    if let Some([w, h]) = request.size
        && (w.min(h) == 0 || w.max(h) > MAX_SIDE)
    {
        return refuse(format!(
            "the size is {w}x{h}, but sides must be 1 to {MAX_SIDE} pixels"
        ));
    }
    within("the count", request.count, 1, MAX_COUNT)?;
    if let Some(steps) = request.steps {
        within("the number of steps", steps, 1, MAX_STEPS)?;
    }
    if let Some(scale) = request.guidance {
        Guidance::new(scale)?;
    }
    if let Some(name) = &request.sampler {
        name.parse::<Sampler>()?;
    }
    if let Some(init) = &request.init {
        let strength = init.strength;
        if !(strength > 0.0 && strength <= 1.0) {
            return refuse(format!(
                "the strength is {strength}, but it must be above 0, at most 1"
            ));
        }
    } else if request.mask.is_some() {
        return refuse(
            "a mask says what of a picture is painted anew: give that picture with --init",
        );
    }
    for lora in &request.loras {
        within("the weight of a LoRA", lora.weight, -10.0, 10.0)?;
    }
    if let Some(factor) = request.upscale
        && ![1, 2, 4].contains(&factor)
    {
        return refuse(format!(
            "pictures are upscaled 2 or 4 times (1 leaves them), not {factor}"
        ));
    }
    if let Some(truncation) = request.truncation {
        within("the truncation", truncation, 0.0, 2.0)?;
    }
    if let Some(frames) = request.walk {
        within("the number of frames of a walk", frames, 2, MAX_FRAMES)?;
        if request.count > 1 || request.grid {
            return refuse("a walk is one animation: leave out the count and the grid");
        }
    }
    Ok(())
}

impl ImageConfig {
    /// The request with every default of this model filled in; what the model cannot honour is refused.
    ///
    /// # Errors
    /// [`PipelineError::InvalidRequest`], [`PipelineError::EmptyPrompt`], [`PipelineError::Diffusion`] for a sampler or a
    /// number of steps that does not fit the model.
    pub fn complete(&self, request: &ImageRequest) -> Result<ImageRequest, PipelineError> {
        validate(request)?;
        let mut full = request.clone();
        let kind = self.kind()?;
        if kind == Kind::Upscaler {
            return refuse(format!(
                "{} enlarges pictures and draws none: name a model that draws, and give --upscale",
                request.model
            ));
        }
        self.check_prompt(request)?;
        let (size, upscale) = self.sizes_for(request.size, request.upscale)?;
        (full.size, full.upscale) = (Some(size), Some(upscale));
        match kind {
            Kind::Gan => self.complete_gan(&mut full)?,
            _ => self.complete_diffusion(&mut full)?,
        }
        Ok(full)
    }

    fn check_prompt(&self, request: &ImageRequest) -> Result<(), PipelineError> {
        let (prompt, model) = (request.prompt.trim(), &request.model);
        if !self.has_prompt() {
            if !prompt.is_empty() {
                return refuse(format!(
                    "{model} draws what it learned and reads no prompt: leave the prompt out"
                ));
            }
            return Ok(());
        }
        // A GAN draws without one too: some picture of all that it knows.
        let needed = self.classes.is_empty() && self.kind()? != Kind::Gan;
        if prompt.is_empty() && needed {
            return Err(PipelineError::EmptyPrompt);
        }
        if !self.classes.is_empty() && self.text_encoder.is_none() {
            self.class_of(prompt, model)?;
        }
        Ok(())
    }

    /// The class that a prompt names.
    pub(super) fn class_of(&self, prompt: &str, model: &str) -> Result<u32, PipelineError> {
        const SHOWN: usize = 12;
        let wanted = prompt.trim().to_lowercase();
        let found = self
            .classes
            .iter()
            .position(|name| name.to_lowercase() == wanted);
        if let Some(index) = found {
            return Ok(index as u32);
        }
        let mut names = self
            .classes
            .iter()
            .take(SHOWN)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        if self.classes.len() > SHOWN {
            names.push_str(&format!(" and {} more", self.classes.len() - SHOWN));
        }
        refuse(format!(
            "{model} draws by class, and {prompt:?} is none: there are {names}"
        ))
    }

    fn complete_diffusion(&self, full: &mut ImageRequest) -> Result<(), PipelineError> {
        let model = &full.model;
        if full.truncation.is_some() {
            return refuse(format!("{model} is no GAN: it has no truncation"));
        }
        if full.walk.is_some() {
            return refuse(format!(
                "{model} is no GAN: a walk needs a latent space that gives a picture at once, as icon-gan has"
            ));
        }
        let defaults = &self.sampler;
        let guidance = *full.guidance.get_or_insert(defaults.guidance);
        if !self.has_prompt() && guidance != 1.0 {
            return refuse(format!(
                "{model} reads no prompt: guidance means nothing to it"
            ));
        }
        if !full.negative.is_empty() && guidance == 1.0 {
            return refuse("a negative prompt counts only with guidance: give --guidance above 1");
        }
        let steps = *full.steps.get_or_insert(defaults.steps) as usize;
        let name = full
            .sampler
            .get_or_insert_with(|| defaults.name.name().to_owned());
        let strength = full.init.as_ref().map_or(1.0, |init| init.strength);
        self.scheduler(name.parse()?)?.build_from(steps, strength)?;
        Ok(())
    }

    fn complete_gan(&self, full: &mut ImageRequest) -> Result<(), PipelineError> {
        for (given, what) in [
            (full.steps.is_some(), "steps"),
            (full.guidance.is_some(), "guidance"),
            (full.sampler.is_some(), "sampler"),
            (!full.negative.is_empty(), "negative prompt"),
            (full.init.is_some(), "picture to start from"),
            (!full.loras.is_empty(), "LoRA"),
        ] {
            if given {
                return refuse(format!(
                    "{} is a GAN, which makes a picture in one pass: it has no {what}",
                    full.model
                ));
            }
        }
        full.truncation.get_or_insert(self.sampler.truncation);
        Ok(())
    }

    fn draws(&self, size: [u32; 2]) -> bool {
        let fits = |rule: super::SizeRule| {
            let fits = |side: u32| {
                side.is_multiple_of(rule.multiple) && (rule.min..=rule.max).contains(&side)
            };
            size.iter().all(|&side| fits(side))
        };
        size == self.size || self.sizes.is_some_and(fits)
    }

    /// The size that is drawn and how it is upscaled. A size without an upscaling is that of the file: it is drawn, or
    /// drawn smaller and enlarged as the model is by default. With an upscaling it is the size that is drawn.
    fn sizes_for(
        &self,
        size: Option<[u32; 2]>,
        upscale: Option<u32>,
    ) -> Result<([u32; 2], u32), PipelineError> {
        let usual = self.sampler.upscale;
        let Some(wanted) = size else {
            return Ok((self.size, upscale.unwrap_or(usual)));
        };
        if self.draws(wanted) {
            return Ok((wanted, upscale.unwrap_or(1)));
        }
        let smaller = wanted.map(|side| side / usual);
        let whole = wanted.iter().all(|side| side.is_multiple_of(usual));
        if upscale.is_none() && whole && self.draws(smaller) {
            return Ok((smaller, usual));
        }
        let [w, h] = wanted;
        let nearest = self.nearest(wanted, if upscale.is_some() { 1 } else { usual });
        let names: Vec<String> = nearest.iter().map(|[w, h]| format!("{w}x{h}")).collect();
        refuse(format!(
            "this model cannot draw {w}x{h}; the nearest it can is {}",
            names.join(" or ")
        ))
    }

    /// Up to two sizes that can be had, nearest first.
    fn nearest(&self, wanted: [u32; 2], usual: u32) -> Vec<[u32; 2]> {
        let snap = |side: u32| match self.sizes {
            Some(rule) => {
                let (least, most) = (rule.min.div_ceil(rule.multiple), rule.max / rule.multiple);
                let steps = (side + rule.multiple / 2) / rule.multiple;
                steps.clamp(least, most) * rule.multiple
            }
            None => 0,
        };
        let mut found = vec![self.size, self.size.map(|side| side * usual)];
        if self.sizes.is_some() {
            found.push(wanted.map(snap));
            found.push(wanted.map(|side| snap(side / usual) * usual));
        }
        let distance = |size: &[u32; 2]| -> u64 {
            size.iter()
                .zip(wanted)
                .map(|(&a, b)| u64::from(a.abs_diff(b)))
                .sum()
        };
        found.sort_by_key(distance);
        found.dedup();
        found.truncate(2);
        found
    }
}

#[cfg(test)]
mod tests {
    use medley_types::{InitPicture, InputFile};
    use serde_json::json;

    use super::*;

    fn icons() -> ImageConfig {
        ImageConfig::from_json(json!({
            "medium": "image", "architecture": "dit", "size": [32, 32], "text_encoder": "encoder",
            "sampler": { "steps": 20, "guidance": 3.0, "upscale": 4 },
        }))
        .unwrap()
    }

    fn gan() -> ImageConfig {
        let value = json!({
            "medium": "image", "architecture": "stylegan2", "size": [32, 32], "sampler": { "truncation": 0.7 },
        });
        ImageConfig::from_json(value).unwrap()
    }

    fn apple() -> ImageRequest {
        ImageRequest {
            model: "icons".into(),
            prompt: "a red apple".into(),
            seed: 1,
            count: 1,
            ..ImageRequest::default()
        }
    }

    fn line(result: Result<ImageRequest, PipelineError>) -> String {
        let text = result.unwrap_err().to_string();
        assert!(!text.contains('\n'), "{text}");
        text
    }

    #[test]
    fn defaults_are_filled_in() {
        let full = icons().complete(&apple()).unwrap();
        assert_eq!(full.steps, Some(20));
        assert_eq!(full.guidance, Some(3.0));
        assert_eq!(full.sampler.as_deref(), Some("flow_euler"));
        assert_eq!((full.size, full.upscale), (Some([32, 32]), Some(4)));
        // A completed request stays as it is, so that a recipe runs as it did.
        assert_eq!(icons().complete(&full).unwrap(), full);
        let full = gan()
            .complete(&ImageRequest {
                prompt: String::new(),
                ..apple()
            })
            .unwrap();
        assert_eq!((full.truncation, full.steps), (Some(0.7), None));
    }

    #[test]
    fn sizes_are_drawn_enlarged_or_refused_with_the_nearest() {
        let sized = |size, upscale| {
            let full = icons().complete(&ImageRequest {
                size: Some(size),
                upscale,
                ..apple()
            })?;
            Ok((full.size.unwrap(), full.upscale.unwrap()))
        };
        assert_eq!(sized([32, 32], None).unwrap(), ([32, 32], 1));
        assert_eq!(sized([128, 128], None).unwrap(), ([32, 32], 4));
        assert_eq!(sized([32, 32], Some(2)).unwrap(), ([32, 32], 2));
        let error: PipelineError = sized([100, 100], None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this model cannot draw 100x100; the nearest it can is 128x128 or 32x32"
        );
        assert!(sized([128, 128], Some(4)).is_err());
        let mut free = icons();
        free.sizes = Some(super::super::SizeRule {
            multiple: 8,
            min: 16,
            max: 64,
        });
        let request = ImageRequest {
            size: Some([37, 500]),
            ..apple()
        };
        let text = line(free.complete(&request));
        assert!(text.ends_with("64x256 or 40x64"), "{text}");
        let request = ImageRequest {
            size: Some([24, 64]),
            ..apple()
        };
        assert_eq!(free.complete(&request).unwrap().size, Some([24, 64]));
    }

    #[test]
    fn what_cannot_be_is_refused_in_one_line() {
        let a = apple;
        let file = || InputFile {
            sha256: "0".repeat(64),
        };
        let init = |strength| {
            Some(InitPicture {
                file: file(),
                strength,
            })
        };
        for (request, words) in [
            (
                ImageRequest {
                    prompt: " ".into(),
                    ..a()
                },
                "the prompt is empty",
            ),
            (
                ImageRequest {
                    prompt: "x".repeat(70_000),
                    ..a()
                },
                "65536",
            ),
            (
                ImageRequest {
                    size: Some([0, 32]),
                    ..a()
                },
                "0x32",
            ),
            (
                ImageRequest {
                    size: Some([32, 1 << 30]),
                    ..a()
                },
                "8192",
            ),
            (
                ImageRequest {
                    steps: Some(0),
                    ..a()
                },
                "steps is 0",
            ),
            (
                ImageRequest {
                    steps: Some(5000),
                    ..a()
                },
                "5000",
            ),
            (ImageRequest { count: 0, ..a() }, "count is 0"),
            (
                ImageRequest {
                    count: 1_000_000,
                    ..a()
                },
                "1 to 1000",
            ),
            (
                ImageRequest {
                    guidance: Some(f64::NAN),
                    ..a()
                },
                "guidance scale is NaN",
            ),
            (
                ImageRequest {
                    guidance: Some(-1.0),
                    ..a()
                },
                "guidance scale is -1",
            ),
            (
                ImageRequest {
                    sampler: Some("eulr".into()),
                    ..a()
                },
                "there are ddpm",
            ),
            (
                ImageRequest {
                    sampler: Some("ddim".into()),
                    ..a()
                },
                "flow_euler",
            ),
            (
                ImageRequest {
                    init: init(0.0),
                    ..a()
                },
                "strength is 0",
            ),
            (
                ImageRequest {
                    init: init(f64::NAN),
                    ..a()
                },
                "strength is NaN",
            ),
            (
                ImageRequest {
                    mask: Some(file()),
                    ..a()
                },
                "--init",
            ),
            (
                ImageRequest {
                    upscale: Some(3),
                    ..a()
                },
                "2 or 4",
            ),
            (
                ImageRequest {
                    truncation: Some(0.5),
                    ..a()
                },
                "no truncation",
            ),
            (
                ImageRequest {
                    walk: Some(24),
                    ..a()
                },
                "no GAN",
            ),
            (
                ImageRequest {
                    walk: Some(1),
                    ..a()
                },
                "2 to 1000",
            ),
            (
                ImageRequest {
                    negative: "blue".into(),
                    guidance: Some(1.0),
                    ..a()
                },
                "--guidance",
            ),
        ] {
            let text = line(icons().complete(&request));
            assert!(text.contains(words), "{words:?} is not in {text:?}");
        }
        let none = || ImageRequest {
            prompt: String::new(),
            ..a()
        };
        for (request, words) in [
            (a(), "leave the prompt out"),
            (
                ImageRequest {
                    steps: Some(4),
                    ..none()
                },
                "no steps",
            ),
            (
                ImageRequest {
                    sampler: Some("ddim".into()),
                    ..none()
                },
                "no sampler",
            ),
            (
                ImageRequest {
                    init: init(0.5),
                    ..none()
                },
                "no picture to start from",
            ),
            (
                ImageRequest {
                    truncation: Some(f64::INFINITY),
                    ..none()
                },
                "truncation is inf",
            ),
            (
                ImageRequest {
                    walk: Some(4),
                    count: 2,
                    ..none()
                },
                "one animation",
            ),
        ] {
            let text = line(gan().complete(&request));
            assert!(text.contains(words), "{words:?} is not in {text:?}");
        }
    }

    #[test]
    fn classes_are_named() {
        let mut config = gan();
        config.classes = vec!["Apple".into(), "Pear".into()];
        let text = line(config.complete(&ImageRequest {
            prompt: "a tree".into(),
            ..apple()
        }));
        assert!(text.contains("Apple, Pear"), "{text}");
        assert_eq!(config.class_of(" pear", "x").unwrap(), 1);
    }
}
