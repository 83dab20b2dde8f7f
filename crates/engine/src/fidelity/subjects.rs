//! What a model draws so that it is recognised.

use medley_media::Filter;
use medley_pipelines::image::{ImageGenerator, ImageInputs};
use medley_pipelines::{CancelToken, Run};
use medley_train::scorer::Scorer;
use medley_types::ImageRequest;

use super::FidelityError;

/// Pictures that are looked at together.
const TOGETHER: usize = 64;

/// For each prompt, how many of the others come nearer to its pictures than it does itself, on the average over `count`
/// pictures with the seeds of `request` and after: 0 where it is always recognised.
///
/// # Errors
/// [`FidelityError`]; a cancelled run ends with [`PipelineError::Cancelled`](medley_pipelines::PipelineError::Cancelled).
pub fn ranks(
    generator: &dyn ImageGenerator,
    request: &ImageRequest,
    prompts: &[String],
    scorer: &Scorer,
    count: u32,
    cancel: &CancelToken,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<f64>, FidelityError> {
    let texts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    let said = scorer.read(&texts)?;
    let dim = said.len() / prompts.len().max(1);
    let size = request.size.unwrap_or(generator.config().size);
    let mut pictures = Vec::new();
    let mut ranks = vec![0.0; prompts.len()];
    let mut looked = 0;
    for (at, prompt) in prompts.iter().enumerate() {
        let request = ImageRequest {
            prompt: prompt.clone(),
            count,
            ..request.clone()
        };
        let request = generator.config().complete(&request)?;
        let mut run = Run::new(cancel.clone(), |_| {});
        let images = generator.generate(&request, &ImageInputs::default(), &mut run)?;
        for picture in images.pictures {
            let opaque = picture.over([255; 3]);
            pictures.push(opaque.resize(size[0], size[1], Filter::default())?);
        }
        if pictures.len() >= TOGETHER || at + 1 == prompts.len() {
            let seen = scorer.look(&pictures)?.embedded;
            for picture in seen.chunks_exact(dim) {
                let own = looked / count as usize;
                ranks[own] += nearer(picture, &said, own) as f64 / f64::from(count);
                looked += 1;
            }
            pictures.clear();
        }
        progress(at + 1, prompts.len());
    }
    Ok(ranks)
}

/// How many rows of `said` come nearer to a picture than its own.
fn nearer(picture: &[f32], said: &[f32], own: usize) -> usize {
    let dim = picture.len();
    let dot = |row: &[f32]| -> f32 { row.iter().zip(picture).map(|(a, b)| a * b).sum() };
    let right = dot(&said[own * dim..][..dim]);
    let rows = said.chunks_exact(dim).enumerate();
    rows.filter(|(at, row)| *at != own && dot(row) >= right)
        .count()
}

#[cfg(test)]
mod tests {
    use super::nearer;

    #[test]
    fn a_picture_is_found_where_its_own_words_come_nearest() {
        let said = [1.0, 0.0, 0.0, 1.0, 0.6, 0.8];
        assert_eq!(nearer(&[1.0, 0.1], &said, 0), 0);
        assert_eq!(nearer(&[1.0, 0.1], &said, 1), 2);
        assert_eq!(nearer(&[0.5, 0.5], &said, 2), 0);
    }
}
