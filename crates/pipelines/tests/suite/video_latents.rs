//! Clips of a model whose samples are latents of fewer frames: a tiny transformer and autoencoder in a folder.

use std::path::Path;

use medley_formats::DType;
use medley_formats::safetensors::{TensorData, write};
use medley_kernels::BlockType;
use medley_media::Picture;
use medley_media::film::{Clip, Rate};
use medley_models::dit::DitConfig;
use medley_models::parameters::Parameter;
use medley_models::vae3d::{Vae3d, Vae3dConfig};
use medley_nn::{Device, Tensor, Weights};
use medley_pipelines::image::{Sources, read_config};
use medley_pipelines::video::{self, Video, VideoGenerator, VideoInputs, VideoModel};
use medley_pipelines::{PipelineError, Run};
use medley_testkit::fill::fill;
use medley_types::{ClipInit, InputFile, VideoRequest};
use serde_json::{Value, json};

const SIZE: [u32; 2] = [12, 8];

fn vae() -> Value {
    json!({
        "model_type": "vae3d", "base_dim": 8, "z_dim": 4, "dim_mult": [1, 2], "num_res_blocks": 1,
        "temperal_downsample": [true], "latents_mean": [0.5, -0.25, 0.125, 0.0], "latents_std": [2.0, 1.5, 0.5, 1.0],
    })
}

/// Draws `frames` frames out of `latents`.
fn config(frames: usize, latents: usize) -> Value {
    json!({
        "medium": "video", "architecture": "dit", "size": SIZE, "sampler": { "steps": 2 },
        "channels": 4, "vae": "vae",
        "model": {
            "model_type": "dit", "channels": 4, "sample_height": 4, "sample_width": 6, "patch_size": 2,
            "stem_channels": [], "hidden_size": 48, "num_hidden_layers": 1, "num_attention_heads": 3,
            "intermediate_size": 80, "text": "none", "text_width": 0, "num_classes": 0, "shared_modulation": false,
            "rope_theta": 100.0, "norm_eps": 1e-6, "time": "factorised", "sample_frames": latents,
            "frame_patch_size": 1, "loop": false,
        },
        "clip": { "frames": frames, "rate": 2.0 },
    })
}

/// Norms around 1, everything else small.
fn values(p: &Parameter) -> Vec<f32> {
    let mean = if p.name.contains("norm") { 1.0 } else { 0.0 };
    fill(&p.name, p.shape.iter().product(), mean, 0.25)
}

fn save(folder: &Path, config: &Value, parameters: &[Parameter]) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let bytes: Vec<Vec<u8>> = parameters
        .iter()
        .map(|p| values(p).iter().flat_map(|x| x.to_le_bytes()).collect())
        .collect();
    let tensors: Vec<TensorData> = parameters
        .iter()
        .zip(&bytes)
        .map(|(p, bytes)| TensorData {
            name: &p.name,
            dtype: DType::Block(BlockType::F32),
            shape: &p.shape,
            bytes,
        })
        .collect();
    write(&folder.join("model.safetensors"), &tensors, &[]).unwrap();
}

fn model(frames: usize, latents: usize) -> Result<VideoModel, PipelineError> {
    let folder = tempfile::tempdir().unwrap();
    let own = config(frames, latents);
    let dit = DitConfig::from_json(&own["model"]).unwrap();
    save(folder.path(), &own, &dit.parameters());
    let inner = folder.path().join("vae");
    save(
        &inner,
        &vae(),
        &Vae3dConfig::from_json(&vae()).unwrap().parameters(),
    );
    let sources = Sources {
        model: folder.path().to_owned(),
        vae: Some(inner),
        ..Sources::default()
    };
    video::load(read_config(folder.path()).unwrap(), &sources, &Device::Cpu)
}

fn draw(model: &VideoModel, init: Option<Picture>) -> Video {
    let request = VideoRequest {
        model: "test".into(),
        seed: 3,
        frames: Some(5),
        init: init.as_ref().map(|_| ClipInit {
            file: InputFile {
                sha256: String::new(),
            },
            pad: false,
        }),
        ..VideoRequest::default()
    };
    let inputs = VideoInputs {
        init: init.map(|frame| Clip::new(vec![frame], Rate::new(2, 1).unwrap(), None).unwrap()),
        preview_every: Some(1),
    };
    let full = video::complete(model.config(), &request).unwrap();
    model.generate(&full, &inputs, &mut Run::quiet()).unwrap()
}

/// What the autoencoder alone makes of a picture.
fn through(picture: &Picture) -> Picture {
    let c = Vae3dConfig::from_json(&vae()).unwrap();
    let tensors = c
        .parameters()
        .iter()
        .map(|p| (p.name.clone(), (p.shape.clone(), values(p))))
        .collect();
    let vae = Vae3d::new(c, &Weights::from_tensors(tensors, &Device::Cpu)).unwrap();
    let shape = [1, 3, 1, SIZE[1] as usize, SIZE[0] as usize];
    let pixels = Tensor::from_vec(picture.to_planes(), &shape, &Device::Cpu).unwrap();
    let decoded = vae.decode(&vae.encode(&pixels).unwrap().mean).unwrap();
    let planes: Vec<f32> = decoded.flatten_all().unwrap().to_vec1().unwrap();
    Picture::from_planes(&planes, SIZE[0], SIZE[1]).unwrap()
}

#[test]
fn clips_are_decoded_together_and_a_given_frame_stays() {
    let model = model(5, 3).unwrap();
    let free = draw(&model, None).clip;
    assert_eq!(free.frames().len(), 5);
    assert_eq!([free.width(), free.height()], SIZE);
    assert!(free.frames().windows(2).all(|pair| pair[0] != pair[1]));
    let levels = fill("picture", 3 * 12 * 8, 0.0, 1.0);
    let given = Picture::from_planes(&levels, SIZE[0], SIZE[1]).unwrap();
    let kept = draw(&model, Some(given.clone())).clip;
    let (first, expected) = (&kept.frames()[0], through(&given));
    let pairs = first.pixels().iter().zip(expected.pixels());
    assert!(pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap() <= 1);
    assert_ne!(first, &free.frames()[0]);
    assert_ne!(first, &kept.frames()[1]);
}

#[test]
fn frames_that_the_autoencoder_cannot_make_are_refused() {
    let told = |frames, latents| model(frames, latents).err().unwrap().to_string();
    assert!(told(4, 3).contains("makes no clips of so many"));
    assert!(told(5, 5).contains("takes 3 of the transformer"));
}
