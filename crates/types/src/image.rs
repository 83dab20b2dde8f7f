use serde::{Deserialize, Serialize};

/// A file that a request refers to: known by its content, never by its path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// SHA-256 of the file in lower-case hexadecimal digits.
    pub sha256: String,
}

/// A picture that a request starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InitPicture {
    /// The picture's file.
    #[serde(flatten)]
    pub file: InputFile,
    /// How much of it is made anew: above 0 (hardly anything) to 1 (all).
    pub strength: f64,
}

/// An adapter that is added to the model's weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoraUse {
    /// The adapter's file.
    #[serde(flatten)]
    pub file: InputFile,
    /// How strongly it counts; 1 as it was trained.
    pub weight: f64,
}

/// A share of a seed's latent vector in a mixture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatentShare {
    /// The seed.
    pub seed: u64,
    /// How much of its vector; 1 for one seed alone.
    pub weight: f64,
}

fn one() -> u32 {
    1
}

fn is_one(count: &u32) -> bool {
    *count == 1
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A request for pictures. What is absent is the model's default; a generator fills it in, so that the recipe in a
/// file holds every value that counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageRequest {
    /// Name in the catalog; for a model in a folder of the user's, that folder's own name.
    pub model: String,
    /// What is to be seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// What is not to be seen.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub negative: String,
    /// Width and height that are drawn, in pixels, before any upscaling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<[u32; 2]>,
    /// Steps of the sampler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Scale of classifier-free guidance; 1 is the prompt alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f64>,
    /// Name of the sampler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler: Option<String>,
    /// Seed of the first picture; each further one has the next number.
    pub seed: u64,
    /// Pictures that are made.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u32,
    /// Whether they go side by side into one file.
    #[serde(default, skip_serializing_if = "is_false")]
    pub grid: bool,
    /// The picture to start from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<InitPicture>,
    /// What of that picture is painted anew: white all, black nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<InputFile>,
    /// Adapters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<LoraUse>,
    /// How many times larger an upscaler makes the sides; 1 leaves them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upscale: Option<u32>,
    /// Truncation ψ of a GAN: 1 as trained, 0 its average picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncation: Option<f64>,
    /// Frames of a closed walk through a GAN's latent space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub walk: Option<u32>,
    /// Where between the latent vectors of other seeds a GAN's picture lies, instead of `seed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mix: Vec<LatentShare>,
}

/// Where the time went, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageTimings {
    /// Loading the models; 0 where they were there already.
    pub load_s: f64,
    /// Reading the prompt.
    pub encode_s: f64,
    /// The sampler's steps, or the GAN's pass.
    pub sample_s: f64,
    /// From latents to pixels.
    pub decode_s: f64,
    /// Upscaling.
    pub upscale_s: f64,
    /// All of it but the loading.
    pub total_s: f64,
}

/// What is known of pictures that were made; the pixels are the generator's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageWork {
    /// Width of each picture in pixels.
    pub width: u32,
    /// Height of each picture in pixels.
    pub height: u32,
    /// Seeds of the pictures, in order; of a walk the one.
    pub seeds: Vec<u64>,
    /// Evaluations of the denoising model, for one picture; 0 for a GAN.
    pub evaluations: usize,
    /// Where the time went.
    pub timings: ImageTimings,
}

/// What a run will take, as foreseen before it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImagePlan {
    /// Most memory in bytes, weights included.
    pub memory_bytes: u64,
    /// Floating-point operations of everything.
    pub flops: f64,
    /// Seconds on this machine.
    pub seconds: f64,
}
