//! Golden cases on disk.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors, View};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::fill::fill;

/// The path of `name` below the repository's `golden/`.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../golden")
        .join(name)
}

/// Why a case cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// A file is missing or unreadable.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what its name says.
    #[error("{path}: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The case has no such tensor.
    #[error("the case {case} has no tensor {name}; it has {known}")]
    NoTensor {
        /// The case's folder.
        case: PathBuf,
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The tensor holds other elements.
    #[error("the case {case} has {name} as {actual}, not as {wanted}")]
    WrongType {
        /// The case's folder.
        case: PathBuf,
        /// The tensor.
        name: String,
        /// Its element type.
        actual: &'static str,
        /// The element type asked for.
        wanted: &'static str,
    },
}

/// Elements of a stored tensor. f16 is widened to f32, every integer type to i64.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Floating point.
    F32(Vec<f32>),
    /// Integers.
    I64(Vec<i64>),
}

/// A stored array, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Shape, outermost first.
    pub shape: Vec<usize>,
    /// The elements.
    pub values: Values,
}

/// One row of tensors.json: a weight that is filled, not stored.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Weight {
    /// Its name in a published checkpoint.
    pub name: String,
    /// Its shape, outermost first.
    pub shape: Vec<usize>,
    /// Middle of its values.
    pub mean: f32,
    /// Half the width of their range.
    pub scale: f32,
}

impl Weight {
    /// Its elements, row-major.
    pub fn values(&self) -> Vec<f32> {
        fill(
            &self.name,
            self.shape.iter().product(),
            self.mean,
            self.scale,
        )
    }
}

/// Filled weights by name: shape (outermost first) and values (row-major).
pub type Weights = HashMap<String, (Vec<usize>, Vec<f32>)>;

/// A golden case: stored arrays, and where they are made from a tiny model its configuration and
/// weights.
#[derive(Clone, Debug)]
pub struct Case {
    folder: PathBuf,
    tensors: BTreeMap<String, Tensor>,
    reference: String,
}

impl Case {
    /// Reads the case `name` below `golden/`, such as `decoder/llama`.
    ///
    /// # Errors
    /// As [`Case::load`].
    pub fn open(name: &str) -> Result<Self, CaseError> {
        Self::load(golden(name))
    }

    /// Reads a case from its folder (its `case.safetensors`), or from a `.safetensors` file.
    ///
    /// # Errors
    /// [`CaseError`] if the file is missing or is not safetensors.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, CaseError> {
        let path = path.as_ref();
        let (folder, file) = if path.extension().is_some_and(|e| e == "safetensors") {
            let folder = path.parent().unwrap_or(Path::new("."));
            (folder.to_path_buf(), path.to_path_buf())
        } else {
            (path.to_path_buf(), path.join("case.safetensors"))
        };
        let bytes = read(&file)?;
        let malformed = |error: safetensors::SafeTensorError| CaseError::Malformed {
            path: file.clone(),
            reason: error.to_string(),
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(malformed)?;
        let reference = header
            .metadata()
            .as_ref()
            .and_then(|m| m.get("reference").cloned())
            .unwrap_or_default();
        let mut tensors = BTreeMap::new();
        for (name, view) in SafeTensors::deserialize(&bytes)
            .map_err(malformed)?
            .tensors()
        {
            let values = decode(view.dtype(), view.data()).ok_or(CaseError::Malformed {
                path: file.clone(),
                reason: format!("{name} has the unused type {:?}", view.dtype()),
            })?;
            let shape = view.shape().to_vec();
            tensors.insert(name, Tensor { shape, values });
        }
        Ok(Self {
            folder,
            tensors,
            reference,
        })
    }

    /// The case's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What computed the case, with versions.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The names of the stored arrays.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether an array of this name is stored.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// A stored array.
    ///
    /// # Errors
    /// [`CaseError::NoTensor`] with the names there are.
    pub fn tensor(&self, name: &str) -> Result<&Tensor, CaseError> {
        self.tensors.get(name).ok_or_else(|| CaseError::NoTensor {
            case: self.folder.clone(),
            name: name.to_owned(),
            known: self.names().collect::<Vec<_>>().join(", "),
        })
    }

    /// The shape of a stored array.
    ///
    /// # Errors
    /// As [`Case::tensor`].
    pub fn shape(&self, name: &str) -> Result<&[usize], CaseError> {
        Ok(&self.tensor(name)?.shape)
    }

    /// The elements of a stored floating-point array.
    ///
    /// # Errors
    /// [`CaseError::NoTensor`], or [`CaseError::WrongType`] for an integer array.
    pub fn f32s(&self, name: &str) -> Result<&[f32], CaseError> {
        match &self.tensor(name)?.values {
            Values::F32(values) => Ok(values),
            Values::I64(_) => Err(self.wrong_type(name, "integers", "floats")),
        }
    }

    /// The elements of a stored integer array.
    ///
    /// # Errors
    /// [`CaseError::NoTensor`], or [`CaseError::WrongType`] for a floating-point array.
    pub fn i64s(&self, name: &str) -> Result<&[i64], CaseError> {
        match &self.tensor(name)?.values {
            Values::I64(values) => Ok(values),
            Values::F32(_) => Err(self.wrong_type(name, "floats", "integers")),
        }
    }

    /// Token ids: an integer array as u32.
    ///
    /// # Errors
    /// As [`Case::i64s`], and [`CaseError::Malformed`] for a value outside u32.
    pub fn ids(&self, name: &str) -> Result<Vec<u32>, CaseError> {
        self.i64s(name)?
            .iter()
            .map(|&id| {
                u32::try_from(id).map_err(|_| CaseError::Malformed {
                    path: self.folder.join("case.safetensors"),
                    reason: format!("{name} has {id}, which is no token id"),
                })
            })
            .collect()
    }

    fn wrong_type(&self, name: &str, actual: &'static str, wanted: &'static str) -> CaseError {
        CaseError::WrongType {
            case: self.folder.clone(),
            name: name.to_owned(),
            actual,
            wanted,
        }
    }

    /// config.json, in the form of published checkpoints.
    ///
    /// # Errors
    /// [`CaseError`] if the case has none or it is not JSON.
    pub fn config(&self) -> Result<serde_json::Value, CaseError> {
        self.json("config.json")
    }

    /// Any JSON file of the case's folder.
    ///
    /// # Errors
    /// [`CaseError`] if it is missing or is not such JSON.
    pub fn json<T: DeserializeOwned>(&self, file: &str) -> Result<T, CaseError> {
        let path = self.folder.join(file);
        serde_json::from_slice(&read(&path)?).map_err(|error| CaseError::Malformed {
            path,
            reason: error.to_string(),
        })
    }

    /// The rows of tensors.json: names, shapes and fill of the weights.
    ///
    /// # Errors
    /// [`CaseError`] if the case has none.
    pub fn weight_list(&self) -> Result<Vec<Weight>, CaseError> {
        self.json("tensors.json")
    }

    /// All weights by their published names: shape (outermost first) and values (row-major).
    ///
    /// # Errors
    /// As [`Case::weight_list`].
    pub fn weights(&self) -> Result<Weights, CaseError> {
        let fill = |w: Weight| (w.name.clone(), (w.shape.clone(), w.values()));
        Ok(self.weight_list()?.into_iter().map(fill).collect())
    }

    /// Writes the model as a published checkpoint into `folder`: config.json, an f32
    /// model.safetensors, and for a sentence encoder its pooling files.
    ///
    /// # Errors
    /// [`CaseError`] if the case has no weights or the folder cannot be written.
    pub fn write_checkpoint(&self, folder: impl AsRef<Path>) -> Result<(), CaseError> {
        let folder = folder.as_ref();
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |source| CaseError::Io { path, source }
        };
        for file in ["config.json", "modules.json", "1_Pooling/config.json"] {
            let (from, to) = (self.folder.join(file), folder.join(file));
            if file == "config.json" || from.exists() {
                let parent = to.parent().unwrap_or(folder);
                std::fs::create_dir_all(parent).map_err(io(parent))?;
                std::fs::copy(&from, &to).map_err(io(&to))?;
            }
        }
        let weights = self.weight_list()?;
        let filled = weights.iter().map(|w| {
            let bytes = w.values().iter().flat_map(|x| x.to_le_bytes()).collect();
            (w.name.clone(), Filled(w.shape.clone(), bytes))
        });
        let model = folder.join("model.safetensors");
        let bytes = safetensors::serialize(filled, None).map_err(|error| CaseError::Malformed {
            path: self.folder.join("tensors.json"),
            reason: error.to_string(),
        })?;
        std::fs::write(&model, bytes).map_err(io(&model))
    }
}

struct Filled(Vec<usize>, Vec<u8>);

impl View for Filled {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.0
    }
    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        (&self.1).into()
    }
    fn data_len(&self) -> usize {
        self.1.len()
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CaseError> {
    std::fs::read(path).map_err(|source| CaseError::Io {
        path: path.to_path_buf(),
        source,
    })
}

fn decode(dtype: Dtype, bytes: &[u8]) -> Option<Values> {
    fn chunks<const N: usize, T>(bytes: &[u8], decode: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (whole, _) = bytes.as_chunks::<N>();
        whole.iter().map(|chunk| decode(*chunk)).collect()
    }
    Some(match dtype {
        Dtype::F32 => Values::F32(chunks(bytes, f32::from_le_bytes)),
        Dtype::F16 => Values::F32(chunks(bytes, |b| half::f16::from_le_bytes(b).to_f32())),
        Dtype::I64 => Values::I64(chunks(bytes, i64::from_le_bytes)),
        Dtype::I32 => Values::I64(chunks(bytes, |b| i32::from_le_bytes(b).into())),
        Dtype::U32 => Values::I64(chunks(bytes, |b| u32::from_le_bytes(b).into())),
        Dtype::U16 => Values::I64(chunks(bytes, |b| u16::from_le_bytes(b).into())),
        Dtype::U8 => Values::I64(bytes.iter().map(|b| i64::from(*b)).collect()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decoder_case_is_whole() {
        let folders: Vec<_> = std::fs::read_dir(golden("decoder"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_dir())
            .collect();
        assert!(folders.len() >= 24, "{}", folders.len());
        for folder in folders {
            let case = Case::load(&folder).unwrap();
            let config = case.config().unwrap();
            let size = |key: &str| config[key].as_u64().unwrap() as usize;
            let (vocab, hidden) = (size("vocab_size"), size("hidden_size"));
            assert_eq!(case.shape("input_ids").unwrap(), [2, 12]);
            assert_eq!(case.shape("logits").unwrap(), [2, 12, vocab]);
            assert_eq!(case.ids("positions").unwrap(), [0, 11]);
            for name in ["embedding", "layer.0", "norm"] {
                let name = format!("activation.{name}");
                assert_eq!(
                    case.shape(&name).unwrap(),
                    [2, 2, hidden],
                    "{folder:?} {name}"
                );
            }
            // The Python side drew its ids from the same stream.
            let ids = crate::fill::ids("input_ids", 24, vocab as u32);
            assert_eq!(case.ids("input_ids").unwrap(), ids);
            let weights = case.weights().unwrap();
            let (shape, values) = &weights["model.embed_tokens.weight"];
            assert_eq!(
                (shape[0], shape[1], values.len()),
                (vocab, hidden, vocab * hidden)
            );
            assert!(case.reference().starts_with("transformers 5."));
        }
    }

    /// The stored embedding is a row of the filled table: the fill that Python's model used is ours.
    #[test]
    fn stored_activations_come_from_the_filled_weights() {
        let case = Case::open("decoder/llama").unwrap();
        let (shape, table) = &case.weights().unwrap()["model.embed_tokens.weight"];
        let ids = case.ids("input_ids").unwrap();
        let stored = case.f32s("activation.embedding").unwrap();
        for (row, token) in [ids[0], ids[11], ids[12], ids[23]].into_iter().enumerate() {
            let width = shape[1];
            let expected = &table[token as usize * width..][..width];
            assert_eq!(&stored[row * width..][..width], expected, "row {row}");
        }
    }

    #[test]
    fn a_checkpoint_holds_the_filled_weights() {
        let case = Case::open("decoder/llama_linear").unwrap();
        let folder = tempfile::tempdir().unwrap();
        case.write_checkpoint(&folder).unwrap();
        let saved = Case::load(folder.path().join("model.safetensors")).unwrap();
        assert_eq!(saved.config().unwrap(), case.config().unwrap());
        let weights = case.weights().unwrap();
        assert_eq!(saved.names().count(), weights.len());
        for (name, (shape, values)) in &weights {
            assert_eq!(saved.shape(name).unwrap(), shape);
            assert_eq!(saved.f32s(name).unwrap(), values);
        }
    }

    #[test]
    fn encoder_cases_are_whole() {
        for name in ["minilm", "bge", "nomic"] {
            let case = Case::open(&format!("bert/{name}")).unwrap();
            assert_eq!(case.shape("last_hidden_state").unwrap(), [2, 12, 64]);
            let mask = case.i64s("attention_mask").unwrap();
            assert_eq!(mask.iter().sum::<i64>(), 12 + 7);
            for row in case.f32s("embedding").unwrap().chunks(64) {
                let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
                assert!((norm - 1.0).abs() < 1e-5, "{norm}");
            }
            let folder = tempfile::tempdir().unwrap();
            case.write_checkpoint(&folder).unwrap();
            assert!(folder.path().join("1_Pooling/config.json").exists());
        }
        let case = Case::open("minilm").unwrap();
        let texts: Vec<String> = case.json("texts.json").unwrap();
        assert_eq!(case.shape("embeddings").unwrap(), [texts.len(), 384]);
        let lengths = case.ids("lengths").unwrap();
        assert_eq!(
            lengths.iter().sum::<u32>() as usize,
            case.ids("input_ids").unwrap().len()
        );
        assert_eq!(lengths.iter().max(), Some(&256));
    }

    #[test]
    fn errors_name_what_is_missing() {
        let case = Case::open("decoder/llama").unwrap();
        let error = case.f32s("logit").unwrap_err().to_string();
        assert!(
            error.contains("has no tensor logit") && error.contains("input_ids, logits"),
            "{error}"
        );
        let error = case.f32s("input_ids").unwrap_err().to_string();
        assert!(
            error.ends_with("has input_ids as integers, not as floats"),
            "{error}"
        );
        assert!(matches!(
            Case::open("decoder/no_such"),
            Err(CaseError::Io { .. })
        ));
    }
}
