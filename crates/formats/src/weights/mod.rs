//! One face over every container.

mod convert;
mod locate;
mod place;
mod summary;

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use summary::TypeShare;

pub(crate) use place::{Place, Strided};

use crate::dtype::TensorInfo;
use crate::error::{FormatError, Problem, quote};
use crate::gguf::{self, Metadata};
use crate::map::Bytes;
use crate::{ctranslate2, ggml, pickle, safetensors};

/// The kind of a weight file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Container {
    /// GGUF, of llama.cpp.
    Gguf,
    /// safetensors, of Hugging Face.
    SafeTensors,
    /// A checkpoint of PyTorch.
    PyTorch,
    /// `model.bin` of CTranslate2.
    CTranslate2,
    /// `ggml-*.bin` of whisper.cpp.
    Ggml,
}

impl Container {
    /// The name people know it by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gguf => "GGUF",
            Self::SafeTensors => "safetensors",
            Self::PyTorch => "PyTorch checkpoint",
            Self::CTranslate2 => "CTranslate2 model",
            Self::Ggml => "whisper.cpp model",
        }
    }
}

impl std::fmt::Display for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The tensors of a model, in one file or several, memory-mapped.
///
/// ```no_run
/// # fn main() -> Result<(), medley_formats::FormatError> {
/// let file = medley_formats::WeightFile::open("model.safetensors".as_ref())?;
/// for tensor in file.tensors() {
///     println!("{} {} {:?}", tensor.name, tensor.dtype, tensor.shape);
/// }
/// # Ok(())
/// # }
/// ```
pub struct WeightFile {
    path: PathBuf,
    kind: Container,
    parts: Vec<Part>,
    tensors: Vec<TensorInfo>,
    /// Where each tensor is, in the order of `tensors`.
    slots: Vec<Slot>,
    index: HashMap<String, usize>,
    metadata: Option<Metadata>,
    notes: Vec<(String, String)>,
}

/// One file of a model.
struct Part {
    path: PathBuf,
    bytes: Bytes,
}

struct Slot {
    part: usize,
    place: Place,
}

/// What is read from one file.
struct Contents {
    kind: Container,
    tensors: Vec<TensorInfo>,
    places: Vec<Place>,
    metadata: Option<Metadata>,
    notes: Vec<(String, String)>,
}

impl WeightFile {
    /// Opens a file, an index of several files (`*.index.json`), the first file of a split GGUF, or a
    /// folder that holds one model.
    ///
    /// In a folder, the first of these is taken: `model.safetensors.index.json`, `model.safetensors`,
    /// the same with `diffusion_pytorch_model`, the only `*.gguf`, the only `*.safetensors`,
    /// `pytorch_model.bin.index.json`, `pytorch_model.bin`, `model.bin`.
    ///
    /// # Errors
    /// [`FormatError`] where there is no such file, its contents are damaged, hostile or unsupported,
    /// or the files of a set do not fit each other.
    pub fn open(path: &Path) -> Result<Self, FormatError> {
        let about = std::fs::metadata(path).map_err(|e| FormatError::io(path, "open", e))?;
        if about.is_dir() {
            return Self::open_file(&locate::in_folder(path)?);
        }
        Self::open_file(path)
    }

    fn open_file(path: &Path) -> Result<Self, FormatError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".index.json") {
            return Self::open_index(path);
        }
        let bytes = Bytes::map(path)?;
        let contents = read(path, &bytes).map_err(|p| p.at(path))?;
        let shards = locate::split_gguf(path, contents.metadata.as_ref())?;
        let mut file = Self::empty(path, contents.kind);
        let announced = contents
            .metadata
            .as_ref()
            .and_then(|m| m.u64("split.tensors.count"));
        file.add(path, bytes, contents)?;
        for (number, shard) in shards.iter().enumerate() {
            let bytes = Bytes::map(shard)?;
            let contents = read(shard, &bytes).map_err(|p| p.at(shard))?;
            let found = contents.metadata.as_ref().and_then(|m| m.usize("split.no"));
            if found != Some(number + 1) {
                return Err(Problem::Shards {
                    what: format!("its split.no is {found:?} and not {}", number + 1),
                    hint: "fetch all files of the model again from one source".into(),
                }
                .at(shard));
            }
            file.add(shard, bytes, contents)?;
        }
        let count = file.tensors.len() as u64;
        match announced {
            Some(announced) if !shards.is_empty() && announced != count => Err(Problem::invalid(
                "split.tensors.count",
                announced,
                format!("{count}, the tensors of all files"),
            )
            .at(path)),
            _ => Ok(file),
        }
    }

    fn open_index(path: &Path) -> Result<Self, FormatError> {
        let index = safetensors::Index::open(path)?;
        let folder = safetensors::folder_of(path);
        let mut file: Option<Self> = None;
        for name in &index.shards {
            let shard = folder.join(name);
            let bytes = Bytes::map(&shard)?;
            let contents = read(&shard, &bytes).map_err(|p| p.at(&shard))?;
            for tensor in &contents.tensors {
                if index.weight_map.get(&tensor.name) != Some(name) {
                    return Err(Problem::Shards {
                        what: format!(
                            "the index does not place tensor {} here",
                            quote(&tensor.name)
                        ),
                        hint: "fetch index and files again from one source".into(),
                    }
                    .at(&shard));
                }
            }
            let file = file.get_or_insert_with(|| Self::empty(path, contents.kind));
            file.add(&shard, bytes, contents)?;
        }
        let Some(file) = file else {
            return Err(Problem::invalid("weight_map", "empty", "a map of tensors").at(path));
        };
        match index
            .weight_map
            .keys()
            .find(|name| !file.index.contains_key(*name))
        {
            Some(missing) => Err(Problem::Shards {
                what: format!(
                    "tensor {} is not in {}, where the index places it",
                    quote(missing),
                    quote(&index.weight_map[missing])
                ),
                hint: "fetch index and files again from one source".into(),
            }
            .at(path)),
            None => Ok(file),
        }
    }

    /// Reads a file that is in memory. `label` stands for its path in messages.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(label: &Path, bytes: Vec<u8>) -> Result<Self, FormatError> {
        let contents = read(label, &bytes).map_err(|p| p.at(label))?;
        let mut file = Self::empty(label, contents.kind);
        file.add(label, Bytes::Owned(bytes), contents)?;
        Ok(file)
    }

    fn empty(path: &Path, kind: Container) -> Self {
        Self {
            path: path.to_owned(),
            kind,
            parts: Vec::new(),
            tensors: Vec::new(),
            slots: Vec::new(),
            index: HashMap::new(),
            metadata: None,
            notes: Vec::new(),
        }
    }

    fn add(&mut self, path: &Path, bytes: Bytes, contents: Contents) -> Result<(), FormatError> {
        if contents.kind != self.kind {
            return Err(Problem::Shards {
                what: format!("it is a {} beside a {}", contents.kind, self.kind),
                hint: "keep files of one kind together".into(),
            }
            .at(path));
        }
        let part = self.parts.len();
        self.parts.push(Part {
            path: path.to_owned(),
            bytes,
        });
        for (info, place) in contents.tensors.into_iter().zip(contents.places) {
            if self
                .index
                .insert(info.name.clone(), self.tensors.len())
                .is_some()
            {
                return Err(Problem::Duplicate {
                    what: "tensor",
                    name: info.name,
                }
                .at(path));
            }
            self.tensors.push(info);
            self.slots.push(Slot { part, place });
        }
        // The first file of a set describes the model; of the others only the tensors are wanted.
        if part == 0 {
            self.metadata = contents.metadata;
            self.notes = contents.notes;
        }
        Ok(())
    }

    /// What was opened: the file, the index, or the file found in a folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that hold tensors.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().map(|part| part.path.as_path())
    }

    /// The container's kind.
    #[must_use]
    pub fn kind(&self) -> Container {
        self.kind
    }

    /// The typed metadata of a GGUF file, and what whisper.cpp's files say of themselves; `None` for other containers.
    #[must_use]
    pub fn metadata(&self) -> Option<&Metadata> {
        self.metadata.as_ref()
    }

    /// The free text pairs of a safetensors file, and the kind of a CTranslate2 model; empty for other containers.
    #[must_use]
    pub fn notes(&self) -> &[(String, String)] {
        &self.notes
    }

    /// All tensors, file by file, in file order.
    #[must_use]
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// Name, type and shape of a tensor.
    #[must_use]
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(*self.index.get(name)?)
    }

    /// Name, type and shape of a tensor that must be there.
    ///
    /// # Errors
    /// [`FormatError::MissingTensor`].
    pub fn require(&self, name: &str) -> Result<&TensorInfo, FormatError> {
        self.find(name).map(|i| &self.tensors[i])
    }

    fn find(&self, name: &str) -> Result<usize, FormatError> {
        self.index
            .get(name)
            .copied()
            .ok_or_else(|| FormatError::MissingTensor {
                path: self.path.clone(),
                name: name.to_owned(),
                nearest: summary::nearest(name, &self.tensors),
            })
    }

    /// The data of a tensor, contiguous and row-major, little endian. It stays in the memory map, save
    /// for strided views of PyTorch, which are copied once.
    ///
    /// # Errors
    /// [`FormatError::MissingTensor`].
    pub fn bytes(&self, name: &str) -> Result<&[u8], FormatError> {
        let i = self.find(name)?;
        let slot = &self.slots[i];
        let part = &self.parts[slot.part];
        let bytes = match &slot.place {
            Place::Plain(range) => part.bytes.get(range.clone()),
            Place::Strided(strided) => strided.contiguous(&part.bytes),
        };
        bytes.ok_or_else(|| {
            Problem::OutOfFile {
                name: name.to_owned(),
                start: 0,
                end: 0,
                len: part.bytes.len() as u64,
            }
            .at(&part.path)
        })
    }

    /// The elements of a tensor as singles, row-major: blocks dequantised as ggml does, wider types
    /// rounded, booleans as 0 and 1.
    ///
    /// # Errors
    /// [`FormatError::MissingTensor`].
    pub fn to_f32(&self, name: &str) -> Result<Vec<f32>, FormatError> {
        let bytes = self.bytes(name)?;
        let info = self.require(name)?;
        convert::to_f32(name, info.dtype, info.elements(), bytes).map_err(|p| p.at(&self.path))
    }

    /// Gives the memory that backs a tensor's data back to the system, after it was repacked; it is
    /// read from the file again when used again. Does nothing for an unknown name.
    pub fn release(&self, name: &str) {
        if let Some((part, range)) = self.stretch(name) {
            part.bytes.release(range);
        }
    }

    /// [`WeightFile::release`] of a part of a tensor's bytes as [`WeightFile::bytes`] gives them. Does nothing for a
    /// part that is not there.
    pub fn release_part(&self, name: &str, part: Range<usize>) {
        if let Some((file, range)) = self.stretch(name)
            && part.start <= part.end
            && part.end <= range.len()
        {
            let at = range.start;
            file.bytes.release(at + part.start..at + part.end);
        }
    }

    /// Hints that a tensor's data is needed soon, so that it is read ahead. Does nothing for an
    /// unknown name.
    pub fn prefetch(&self, name: &str) {
        if let Some((part, range)) = self.stretch(name) {
            part.bytes.prefetch(range);
        }
    }

    fn stretch(&self, name: &str) -> Option<(&Part, Range<usize>)> {
        let slot = self.slots.get(*self.index.get(name)?)?;
        let range = match &slot.place {
            Place::Plain(range) => range.clone(),
            Place::Strided(strided) => strided.range.clone(),
        };
        Some((&self.parts[slot.part], range))
    }
}

/// Reads the contents of a file of any kind.
fn read(path: &Path, file: &[u8]) -> Result<Contents, Problem> {
    if file.starts_with(&gguf::MAGIC) {
        let header = gguf::Header::parse(file)?;
        return Ok(Contents {
            kind: Container::Gguf,
            tensors: header.tensors,
            places: header.ranges.into_iter().map(Place::Plain).collect(),
            metadata: Some(header.metadata),
            notes: Vec::new(),
        });
    }
    if pickle::is_checkpoint(file) {
        let contents = pickle::parse(file)?;
        return Ok(Contents {
            kind: Container::PyTorch,
            tensors: contents.tensors,
            places: contents.places,
            metadata: None,
            notes: Vec::new(),
        });
    }
    if ctranslate2::is_model(file) {
        let contents = ctranslate2::parse(file)?;
        return Ok(Contents {
            kind: Container::CTranslate2,
            tensors: contents.tensors,
            places: contents.ranges.into_iter().map(Place::Plain).collect(),
            metadata: None,
            notes: contents.notes,
        });
    }
    if ggml::is_whisper(file) {
        let contents = ggml::parse(file)?;
        return Ok(Contents {
            kind: Container::Ggml,
            tensors: contents.tensors,
            places: contents.ranges.into_iter().map(Place::Plain).collect(),
            metadata: Some(contents.metadata),
            notes: Vec::new(),
        });
    }
    if looks_like_safetensors(path, file) {
        let header = safetensors::Header::parse(file)?;
        return Ok(Contents {
            kind: Container::SafeTensors,
            tensors: header.tensors,
            places: header.ranges.into_iter().map(Place::Plain).collect(),
            metadata: None,
            notes: header.metadata,
        });
    }
    Err(locate::unknown(file))
}

/// A length and a brace; or the name says so, for a better message about a damaged file.
fn looks_like_safetensors(path: &Path, file: &[u8]) -> bool {
    file.get(8) == Some(&b'{') || path.extension().is_some_and(|e| e == "safetensors")
}
