//! Weights by name, out of a file or out of memory, as the layers that a model is built from.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use candle_core::{Device, Tensor, Var};
use medley_formats::gguf::Metadata;
use medley_formats::{DType, WeightFile};
use medley_kernels::{BlockType, Int8Matrix, PackedMatrix};

use crate::{Error, LayerNorm, Linear, Result, RmsNorm};

/// Shape and numbers of each tensor, for weights that come from no file.
pub type Tensors = HashMap<String, (Vec<usize>, Vec<f32>)>;

/// Parameters in training by name. What changes a [`Var`] changes the model that was made from it.
pub type Vars = BTreeMap<String, Var>;

enum Source {
    File(WeightFile),
    Memory(Tensors),
    Vars(Vars),
}

/// Where a model's layers come from. Models ask by the names of the published checkpoints; a key map translates them
/// into the names of the container.
#[derive(Clone)]
pub struct Weights {
    source: Arc<Source>,
    path: PathBuf,
    device: Device,
    trainable: bool,
    frozen: bool,
    key_map: Arc<dyn Fn(&str) -> String + Send + Sync>,
    /// Packed matrices by name, so that tied layers share one.
    packed: Arc<Mutex<HashMap<String, Arc<PackedMatrix>>>>,
    used: Arc<Mutex<HashSet<String>>>,
}

impl Weights {
    /// Weights of a file or folder that was opened.
    pub fn from_file(file: WeightFile, path: &Path, device: &Device) -> Self {
        Self::new(Source::File(file), path, device)
    }

    /// Weights that are in memory already.
    pub fn from_tensors(tensors: Tensors, device: &Device) -> Self {
        Self::new(Source::Memory(tensors), Path::new("(memory)"), device)
    }

    /// Parameters in training: layers made from these hold the variables themselves, so gradients reach them.
    pub fn from_vars(vars: Vars, device: &Device) -> Self {
        Self::new(Source::Vars(vars), Path::new("(training)"), device).plain()
    }

    fn new(source: Source, path: &Path, device: &Device) -> Self {
        Self {
            source: Arc::new(source),
            path: path.to_owned(),
            device: device.clone(),
            trainable: false,
            frozen: false,
            key_map: Arc::new(str::to_owned),
            packed: Arc::default(),
            used: Arc::default(),
        }
    }

    /// Translates every name that is asked for.
    pub fn with_key_map(mut self, map: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.key_map = Arc::new(map);
        self
    }

    /// Makes matrices as plain tensors, which gradients flow through, and not as packed ones.
    pub fn plain(mut self) -> Self {
        self.trainable = true;
        self
    }

    /// Makes layers of parameters in training that follow them but learn nothing themselves: gradients pass through to
    /// their inputs alone. One network of a pair is trained through the other so.
    pub fn frozen(mut self) -> Self {
        self.frozen = true;
        self
    }

    /// The device that layers are made on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether matrices are packed for the CPU kernels.
    pub fn packs(&self) -> bool {
        self.device.is_cpu() && !self.trainable
    }

    /// Whether these are parameters in training.
    pub fn trains(&self) -> bool {
        matches!(&*self.source, Source::Vars(_))
    }

    /// Metadata of a GGUF file.
    pub fn metadata(&self) -> Option<&Metadata> {
        match &*self.source {
            Source::File(file) => file.metadata(),
            Source::Memory(_) | Source::Vars(_) => None,
        }
    }

    /// What the container calls a tensor that published checkpoints call `name`.
    pub fn stored_name(&self, name: &str) -> String {
        (self.key_map)(name)
    }

    /// Whether there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.shape(name).is_ok()
    }

    /// Shape of a tensor, outermost dimension first.
    pub fn shape(&self, name: &str) -> Result<Vec<usize>> {
        let key = (self.key_map)(name);
        let shape = match &*self.source {
            Source::File(file) => file.info(&key).map(|info| info.shape.clone()),
            Source::Memory(tensors) => tensors.get(&key).map(|(shape, _)| shape.clone()),
            Source::Vars(vars) => vars.get(&key).map(|var| var.dims().to_vec()),
        };
        shape.ok_or_else(|| Error::MissingTensor {
            path: self.path.clone(),
            name: key,
        })
    }

    /// The numbers of a tensor of exactly this shape, in `f32`.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.expect(name, shape)?;
        let key = (self.key_map)(name);
        self.mark(&key);
        match &*self.source {
            Source::File(file) => Ok(file.to_f32(&key)?),
            Source::Memory(tensors) => match tensors.get(&key) {
                Some((_, values)) => Ok(values.clone()),
                None => Err(self.missing(key)),
            },
            Source::Vars(vars) => match vars.get(&key) {
                Some(var) => Ok(var
                    .to_dtype(candle_core::DType::F32)?
                    .flatten_all()?
                    .to_vec1()?),
                None => Err(self.missing(key)),
            },
        }
    }

    fn missing(&self, name: String) -> Error {
        Error::MissingTensor {
            path: self.path.clone(),
            name,
        }
    }

    /// A tensor in `f32` of exactly this shape; a parameter in training is that variable, or shares its numbers where
    /// it is [frozen](Weights::frozen).
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        if let Source::Vars(vars) = &*self.source {
            self.expect(name, shape)?;
            let key = (self.key_map)(name);
            self.mark(&key);
            return match vars.get(&key) {
                Some(var) if self.frozen => Ok(var.as_detached_tensor()),
                Some(var) => Ok(var.as_tensor().clone()),
                None => Err(self.missing(key)),
            };
        }
        Ok(Tensor::from_vec(
            self.values(name, shape)?,
            shape,
            &self.device,
        )?)
    }

    /// A matrix `[out, in]` and, where it is there, its bias. Where `name.weight_scale` is there as well, one number or
    /// one of each output, the matrix holds whole numbers of a byte and meets activations in bytes.
    pub fn linear(&self, name: &str, out: usize, inputs: usize) -> Result<Linear> {
        let bias = format!("{name}.bias");
        if self.trains() {
            let weight = self.tensor(&format!("{name}.weight"), &[out, inputs])?;
            let bias = self.optional(&bias, &[out])?;
            return Ok(Linear::Dense { weight, bias });
        }
        let bias = if self.has(&bias) {
            Some(self.values(&bias, &[out])?)
        } else {
            None
        };
        let scale = format!("{name}.weight_scale");
        if self.packs() && self.has(&scale) {
            return self.int8(
                name,
                &self.values(&scale, &self.shape(&scale)?)?,
                out,
                inputs,
                bias,
            );
        }
        self.matrix(
            &format!("{name}.weight"),
            &[out, inputs],
            0..out,
            inputs,
            bias,
        )
    }

    fn int8(
        &self,
        name: &str,
        scales: &[f32],
        out: usize,
        inputs: usize,
        bias: Option<Vec<f32>>,
    ) -> Result<Linear> {
        let name = format!("{name}.weight");
        let values = self.values(&name, &[out, inputs])?;
        let byte = |v: &f32| (f32::from(*v as i8) == *v).then_some(*v as i8);
        let bytes: Option<Vec<i8>> = values.iter().map(byte).collect();
        let bytes = bytes.ok_or_else(|| {
            Error::Config(format!(
                "`{name}` has a scale, but its numbers are not whole ones from -128 to 127"
            ))
        })?;
        Ok(Linear::Int8 {
            weight: Arc::new(Int8Matrix::pack(out, inputs, &bytes, scales)?),
            bias: bias.map(Into::into),
        })
    }

    /// Rows of a matrix that holds several layers one below the other, with the same rows of its bias.
    pub fn linear_rows(
        &self,
        name: &str,
        total: usize,
        rows: std::ops::Range<usize>,
        inputs: usize,
    ) -> Result<Linear> {
        let bias = format!("{name}.bias");
        if self.trains() {
            let part = |all: Tensor| all.narrow(0, rows.start, rows.len());
            let weight = part(self.tensor(&format!("{name}.weight"), &[total, inputs])?)?;
            let bias = self.optional(&bias, &[total])?.map(part).transpose()?;
            return Ok(Linear::Dense { weight, bias });
        }
        let bias = if self.has(&bias) {
            Some(self.values(&bias, &[total])?[rows.clone()].to_vec())
        } else {
            None
        };
        self.matrix(
            &format!("{name}.weight"),
            &[total, inputs],
            rows,
            inputs,
            bias,
        )
    }

    /// One matrix `[rows, inputs]` out of a tensor whose outer dimensions are stacked: `rows` counts through all of them.
    pub fn matrix(
        &self,
        name: &str,
        shape: &[usize],
        rows: std::ops::Range<usize>,
        inputs: usize,
        bias: Option<Vec<f32>>,
    ) -> Result<Linear> {
        self.expect(name, shape)?;
        if self.packs() {
            return Ok(Linear::Packed {
                weight: self.pack(name, rows, inputs)?,
                bias: bias.map(Into::into),
            });
        }
        let count = rows.len();
        let weight = if self.trains() {
            let all = self.tensor(name, shape)?.reshape(((), inputs))?;
            all.narrow(0, rows.start, count)?
        } else {
            let all = self.values(name, shape)?;
            let part = all[rows.start * inputs..rows.end * inputs].to_vec();
            Tensor::from_vec(part, (count, inputs), &self.device)?
        };
        let bias = bias
            .map(|b| Tensor::from_vec(b, count, &self.device))
            .transpose()?;
        Ok(Linear::Dense { weight, bias })
    }

    /// A norm's weight `[width]`; `offset` is added for families that store `weight − 1`.
    pub fn rms_norm(&self, name: &str, width: usize, eps: f32, offset: f32) -> Result<RmsNorm> {
        let mut weight = self.tensor(&format!("{name}.weight"), &[width])?;
        if offset != 0.0 {
            if self.trains() {
                // The sum would be made once and not follow the variable.
                return Err(Error::Config(
                    "norms that store weight − 1 cannot be trained".into(),
                ));
            }
            weight = (weight + f64::from(offset))?;
        }
        Ok(RmsNorm { weight, eps })
    }

    /// Weight and bias `[width]` of a layer norm.
    pub fn layer_norm(&self, name: &str, width: usize, eps: f32) -> Result<LayerNorm> {
        Ok(LayerNorm {
            weight: self.tensor(&format!("{name}.weight"), &[width])?,
            bias: self.optional(&format!("{name}.bias"), &[width])?,
            eps,
        })
    }

    /// A tensor in `f32` of exactly this shape, where it is there.
    pub fn optional(&self, name: &str, shape: &[usize]) -> Result<Option<Tensor>> {
        self.has(name).then(|| self.tensor(name, shape)).transpose()
    }

    /// Names in the container that no layer has asked for.
    pub fn unused(&self) -> Vec<String> {
        let used = self.used.lock().unwrap_or_else(|e| e.into_inner());
        let names: Vec<&String> = match &*self.source {
            Source::File(file) => file.tensors().iter().map(|info| &info.name).collect(),
            Source::Memory(tensors) => tensors.keys().collect(),
            Source::Vars(vars) => vars.keys().collect(),
        };
        names
            .into_iter()
            .filter(|name| !used.contains(*name))
            .cloned()
            .collect()
    }

    fn mark(&self, key: &str) {
        self.used
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .insert(key.to_owned());
    }

    fn expect(&self, name: &str, shape: &[usize]) -> Result<()> {
        let found = self.shape(name)?;
        if found != shape {
            return Err(Error::Shape {
                name: (self.key_map)(name),
                found,
                expected: shape.to_vec(),
            });
        }
        Ok(())
    }

    fn pack(
        &self,
        name: &str,
        rows: std::ops::Range<usize>,
        inputs: usize,
    ) -> Result<Arc<PackedMatrix>> {
        let key = (self.key_map)(name);
        self.mark(&key);
        let slot = format!("{key}#{}", rows.start);
        let mut packed = self.packed.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(matrix) = packed.get(&slot) {
            return Ok(matrix.clone());
        }
        let count = rows.len();
        let matrix = match &*self.source {
            Source::File(file) => {
                let dtype = file.info(&key).map(|info| info.dtype);
                match dtype {
                    Some(DType::Block(ty)) => {
                        let row_bytes = ty.bytes_for(inputs).ok_or_else(|| {
                            Error::Config(format!(
                                "rows of {inputs} elements are no whole {} blocks",
                                ty.name()
                            ))
                        })?;
                        let at = rows.start * row_bytes;
                        let bytes = &file.bytes(&key)?[at..rows.end * row_bytes];
                        PackedMatrix::pack_consuming(ty, count, inputs, bytes, |part| {
                            file.release_part(&key, at + part.start..at + part.end);
                        })?
                    }
                    _ => {
                        let all = file.to_f32(&key)?;
                        pack_f32(&all[rows.start * inputs..rows.end * inputs], count, inputs)?
                    }
                }
            }
            Source::Memory(tensors) => match tensors.get(&key) {
                Some((_, values)) => pack_f32(
                    &values[rows.start * inputs..rows.end * inputs],
                    count,
                    inputs,
                )?,
                None => return Err(self.missing(key)),
            },
            Source::Vars(_) => return Err(self.missing(key)),
        };
        let matrix = Arc::new(matrix);
        packed.insert(slot, matrix.clone());
        Ok(matrix)
    }
}

pub(crate) fn pack_f32(values: &[f32], rows: usize, cols: usize) -> Result<PackedMatrix> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Ok(PackedMatrix::pack(BlockType::F32, rows, cols, &bytes)?)
}
