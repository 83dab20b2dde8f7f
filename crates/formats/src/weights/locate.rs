//! Finding the files of a model.

use std::path::{Path, PathBuf};

use crate::error::{FormatError, Problem, quote, quote_bytes};
use crate::gguf::Metadata;
use crate::safetensors::folder_of;

/// The file to open in a folder; see [`WeightFile::open`](super::WeightFile::open).
pub(super) fn in_folder(folder: &Path) -> Result<PathBuf, FormatError> {
    const PREFERRED: [&str; 4] = [
        "model.safetensors.index.json",
        "model.safetensors",
        "diffusion_pytorch_model.safetensors.index.json",
        "diffusion_pytorch_model.safetensors",
    ];
    const LAST: [&str; 3] = [
        "pytorch_model.bin.index.json",
        "pytorch_model.bin",
        "model.bin",
    ];
    let named = |names: &[&str]| names.iter().map(|n| folder.join(n)).find(|p| p.is_file());
    if let Some(path) = named(&PREFERRED) {
        return Ok(path);
    }
    for extension in ["gguf", "safetensors"] {
        if let Some(path) = only(folder, extension)? {
            return Ok(path);
        }
    }
    named(&LAST).ok_or_else(|| {
        Problem::Shards {
            what: "the folder holds no weights".into(),
            hint: "it should hold model.safetensors, a .gguf file, pytorch_model.bin or model.bin"
                .into(),
        }
        .at(folder)
    })
}

/// The only file with this extension, counting only the first file of a split GGUF.
fn only(folder: &Path, extension: &str) -> Result<Option<PathBuf>, FormatError> {
    let list = |e| FormatError::io(folder, "list", e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(list)? {
        let path = entry.map_err(list)?.path();
        let later = split_name(&path).is_some_and(|(_, number, _)| number > 1);
        if path.extension().is_some_and(|e| e == extension) && path.is_file() && !later {
            found.push(path);
        }
    }
    found.sort();
    match &found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        [first, second, ..] => Err(Problem::Shards {
            what: format!(
                "the folder holds {} .{extension} files, such as {} and {}",
                found.len(),
                quote(&file_name(first)),
                quote(&file_name(second))
            ),
            hint: "name one of them".into(),
        }
        .at(folder)),
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The stem, number and total of `stem-00001-of-00003.gguf`.
fn split_name(path: &Path) -> Option<(String, u32, u32)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".gguf")?;
    let (front, total) = name.rsplit_once("-of-")?;
    let (stem, number) = front.rsplit_once('-')?;
    let digits = |s: &str| s.len() == 5 && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(number) || !digits(total) {
        return None;
    }
    Some((stem.to_owned(), number.parse().ok()?, total.parse().ok()?))
}

/// The files after the first one of a GGUF that llama.cpp's `gguf-split` has split; empty for a
/// file that is whole.
pub(super) fn split_gguf(
    path: &Path,
    metadata: Option<&Metadata>,
) -> Result<Vec<PathBuf>, FormatError> {
    let count = metadata.and_then(|m| m.u32("split.count")).unwrap_or(0);
    if count <= 1 {
        return Ok(Vec::new());
    }
    let refuse = |what: String, hint: &str| {
        let hint = hint.into();
        Err(Problem::Shards { what, hint }.at(path))
    };
    let Some((stem, number, total)) = split_name(path) else {
        return refuse(
            format!("it is one of {count} files, but its name does not say which"),
            "give the files their names back: name-00001-of-0000N.gguf and so on",
        );
    };
    let in_file = metadata.and_then(|m| m.u32("split.no"));
    if number != 1 || in_file != Some(0) {
        return refuse(
            format!("it is file {number} of {count}"),
            "open the first one, whose name ends in -00001-of-…",
        );
    }
    if total != count {
        return refuse(
            format!("it is one of {count} files by its metadata and of {total} by its name"),
            "fetch all files of the model again from one source",
        );
    }
    let mut shards = Vec::new();
    for number in 2..=total {
        let shard = folder_of(path).join(format!("{stem}-{number:05}-of-{total:05}.gguf"));
        if !shard.is_file() {
            let what = format!(
                "the file {} that belongs to it is missing",
                quote(&file_name(&shard))
            );
            return refuse(what, "put it beside this one");
        }
        shards.push(shard);
    }
    Ok(shards)
}

/// What a file is that is no weight file: people meet these often enough to be told.
pub(super) fn unknown(file: &[u8]) -> Problem {
    const TAR_MAGIC_AT: usize = 257;
    let pointer = b"version https://git-lfs.github.com";
    let trimmed = file.trim_ascii_start();
    if file.starts_with(pointer) {
        return Problem::unsupported(
            "a pointer of Git LFS, which stands for the real file,",
            "fetch the real one with \"git lfs pull\" or \"medley models pull\"",
        );
    }
    if trimmed.starts_with(b"<") {
        return Problem::unsupported("a web page", "fetch the weight file itself");
    }
    if file
        .get(TAR_MAGIC_AT..)
        .is_some_and(|rest| rest.starts_with(b"ustar"))
    {
        return Problem::unsupported(
            "a tar archive (checkpoints of PyTorch before 0.1.10 are such)",
            "load it with an old PyTorch and save it again, or unpack the archive first",
        );
    }
    if file.starts_with(b"\x89HDF") {
        return Problem::unsupported("HDF5", "convert it to safetensors");
    }
    if [b"ggjt", b"tjgg", b"lmgg", b"fmgg"]
        .iter()
        .any(|magic| file.starts_with(*magic))
    {
        return Problem::unsupported("the GGML format before GGUF", "convert the model to GGUF");
    }
    if file.first() == Some(&0x80) {
        return Problem::unsupported(
            "a pickle that is no PyTorch checkpoint",
            "save it with torch.save, or as safetensors",
        );
    }
    Problem::invalid(
        "the start of the file",
        quote_bytes(file.get(..8).unwrap_or(file)),
        "that of a GGUF, safetensors or PyTorch file",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_names_are_recognised() {
        let of = |name: &str| split_name(Path::new(name));
        assert_eq!(of("a/m-b-00002-of-00003.gguf"), Some(("m-b".into(), 2, 3)));
        assert_eq!(of("m-2-of-3.gguf"), None);
        assert_eq!(of("m.gguf"), None);
        assert_eq!(of("m-00002-of-00003.safetensors"), None);
    }
}
