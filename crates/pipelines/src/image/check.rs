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
/// Most latent vectors that are mixed.
const MAX_MIXED: usize = 16;

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
        && ![1, 2, 4, 8, 16].contains(&factor)
    {
        return refuse(format!(
            "pictures are upscaled 2, 4, 8 or 16 times (1 leaves them), not {factor}"
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
    validate_mix(request)
}

fn validate_mix(request: &ImageRequest) -> Result<(), PipelineError> {
    let mix = &request.mix;
    if mix.is_empty() {
        return Ok(());
    }
    within("the number of seeds in the mix", mix.len(), 1, MAX_MIXED)?;
    for share in mix {
        within("a weight in the mix", share.weight, -10.0, 10.0)?;
    }
    if mix.iter().all(|share| share.weight == 0.0) {
        return refuse("all weights in the mix are 0: give one of them more");
    }
    if request.count > 1 || request.walk.is_some() {
        return refuse("a mix is one place in the latent space: leave out the count and the walk");
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
        if kind == Kind::Gan && request.prompt.trim().is_empty() {
            full.prompt.clone_from(&self.sampler.prompt);
        }
        self.check_prompt(&full)?;
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
        if !full.mix.is_empty() {
            return refuse(format!("{model} is no GAN: seeds are not mixed in it"));
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
mod tests;
