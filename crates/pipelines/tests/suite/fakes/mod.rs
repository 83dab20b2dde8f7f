//! Networks whose output is known exactly.

use medley_nn::{Device, Tensor};
use medley_pipelines::image::*;
use medley_pipelines::{PipelineError, Run};
use medley_types::ImageRequest;
use serde_json::{Value, json};

pub fn tensor(values: Vec<f32>, shape: &[usize]) -> Tensor {
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

pub fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// A denoiser that is a function of the sample, the timestep and the condition of each of a batch.
pub struct Function<F>(pub F);

impl<F> Denoise for Function<F>
where
    F: Fn(&[f32], f32, usize) -> Vec<f32> + Send + Sync,
{
    fn predict(
        &self,
        x: &Tensor,
        timestep: f32,
        _known: &[bool],
        conditioning: &Conditioning,
    ) -> Result<Tensor, PipelineError> {
        let batch = x.dim(0).unwrap();
        let all = numbers(x);
        let rows = all.chunks(all.len() / batch).enumerate();
        let tokens = |row: usize| conditioning.lengths.get(row).copied().unwrap_or(0);
        let out = rows.flat_map(|(row, sample)| self.0(sample, timestep, tokens(row)));
        Ok(tensor(out.collect(), x.dims()))
    }

    fn cost(&self, width: usize, height: usize, batch: usize, _: usize) -> Cost {
        let values = (width * height * batch) as u64;
        Cost {
            flops: 1e6 * values as f64,
            bytes: 1000 * values,
        }
    }

    fn weight_bytes(&self) -> u64 {
        1 << 20
    }
}

/// A text of n words has n tokens.
pub struct Words;

impl Encode for Words {
    fn encode(&self, texts: &[&str], tokens: usize) -> Result<Vec<TextStates>, PipelineError> {
        let of = |text: &&str| TextStates {
            states: vec![1.0; 2 * text.split_whitespace().count().min(tokens)],
            width: 2,
            pooled: vec![0.0; 2],
        };
        Ok(texts.iter().map(of).collect())
    }

    fn weight_bytes(&self) -> u64 {
        11
    }
}

/// Four latent channels of one pixel each, the first three of which are the colours.
pub struct Colours(pub Vec<f32>);

impl Autoencode for Colours {
    fn factor(&self) -> u32 {
        1
    }

    fn encode(&self, pixels: &Tensor) -> Result<Tensor, PipelineError> {
        let (_, _, h, w) = pixels.dims4().unwrap();
        Ok(tensor(self.0.clone(), &[1, 4, h, w]))
    }

    fn decode(&self, latents: &Tensor) -> Result<Tensor, PipelineError> {
        Ok(latents.narrow(1, 0, 3).unwrap().contiguous().unwrap())
    }

    fn cost(&self, _: usize, _: usize) -> Cost {
        Cost::default()
    }

    fn weight_bytes(&self) -> u64 {
        0
    }
}

pub fn generator(config: Value, denoiser: impl Denoise + 'static) -> DiffusionGenerator {
    DiffusionGenerator {
        config: ImageConfig::from_json(config).unwrap(),
        denoiser: Box::new(denoiser),
        encoder: None,
        autoencoder: None,
        upscaler: None,
        device: Device::Cpu,
        load_s: 0.0,
    }
}

/// A flow whose data is one colour everywhere: velocity ε - x₀ = (x - x₀) / σ.
pub fn one_colour(colour: f32) -> impl Denoise {
    Function(move |x: &[f32], t: f32, _| x.iter().map(|x| (x - colour) / (t / 1000.0)).collect())
}

pub fn flow(size: [u32; 2]) -> Value {
    json!({ "medium": "image", "architecture": "dit", "size": size, "sampler": { "steps": 4 } })
}

pub fn request(seed: u64) -> ImageRequest {
    ImageRequest {
        model: "test".into(),
        seed,
        count: 1,
        ..ImageRequest::default()
    }
}

pub fn draw(
    generator: &DiffusionGenerator,
    request: &ImageRequest,
    inputs: &ImageInputs,
) -> Images {
    let full = generator.config.complete(request).unwrap();
    generator
        .generate(&full, inputs, &mut Run::quiet())
        .unwrap()
}
