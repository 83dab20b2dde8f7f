//! The names of Python that a checkpoint may use, and what stands for them here.

use crate::dtype::DType;
use crate::error::Problem;

/// A name on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// `OrderedDict`, `defaultdict`, `dict`: a dictionary.
    Mapping,
    /// `set`, kept as a list.
    Set,
    /// `torch.Size`, kept as a tuple.
    Size,
    /// `torch.device`, kept as its name.
    Device,
    /// `torch._utils._rebuild_tensor` and `_v2`: type of the storage.
    RebuildTensor,
    /// `torch._utils._rebuild_tensor_v3`: a type of its own over an untyped storage.
    RebuildTensorV3,
    /// `torch._utils._rebuild_parameter` and `_with_state`: the tensor in it.
    RebuildParameter,
    /// `_codecs.encode`, as which protocol 2 writes bytes.
    Encode,
    /// A class of storages.
    Storage(DType),
    /// A type, such as `torch.float16`.
    DType(DType),
}

/// Looks a name up.
pub(super) fn lookup(module: &str, name: &str) -> Result<Global, Problem> {
    let found = match module {
        "collections" => match name {
            "OrderedDict" | "defaultdict" => Some(Global::Mapping),
            _ => None,
        },
        "builtins" | "__builtin__" => match name {
            "dict" => Some(Global::Mapping),
            "set" => Some(Global::Set),
            _ => None,
        },
        "_codecs" => (name == "encode").then_some(Global::Encode),
        "torch._utils" => match name {
            "_rebuild_tensor" | "_rebuild_tensor_v2" => Some(Global::RebuildTensor),
            "_rebuild_tensor_v3" => Some(Global::RebuildTensorV3),
            "_rebuild_parameter" | "_rebuild_parameter_with_state" => {
                Some(Global::RebuildParameter)
            }
            _ => None,
        },
        "torch" | "torch.cuda" | "torch.storage" => torch(name),
        _ => None,
    };
    if let Some(global) = found {
        return Ok(global);
    }
    let name = format!("{module}.{name}");
    if name.starts_with("torch.") && name.ends_with("Storage") {
        return Err(Problem::unsupported(
            format!("a tensor of {name}"),
            "save it as float32, float16, bfloat16, float8 or an integer type",
        ));
    }
    Err(Problem::ForbiddenGlobal { name })
}

fn torch(name: &str) -> Option<Global> {
    if let Some(class) = name.strip_suffix("Storage") {
        let dtype = match class {
            "Double" => DType::F64,
            "Float" => DType::F32,
            "Half" => DType::F16,
            "BFloat16" => DType::BF16,
            "Long" => DType::I64,
            "Int" => DType::I32,
            "Short" => DType::I16,
            "Char" => DType::I8,
            "Byte" | "Untyped" => DType::U8,
            "Bool" => DType::Bool,
            _ => return None,
        };
        return Some(Global::Storage(dtype));
    }
    let dtype = match name {
        "Size" => return Some(Global::Size),
        "device" => return Some(Global::Device),
        "float64" | "double" => DType::F64,
        "float32" | "float" => DType::F32,
        "float16" | "half" => DType::F16,
        "bfloat16" => DType::BF16,
        "int64" | "long" => DType::I64,
        "int32" | "int" => DType::I32,
        "int16" | "short" => DType::I16,
        "int8" => DType::I8,
        "uint64" => DType::U64,
        "uint32" => DType::U32,
        "uint16" => DType::U16,
        "uint8" => DType::U8,
        "bool" => DType::Bool,
        "float8_e4m3fn" => DType::F8E4M3,
        "float8_e5m2" => DType::F8E5M2,
        _ => return None,
    };
    Some(Global::DType(dtype))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_names_pass() {
        assert_eq!(lookup("collections", "OrderedDict"), Ok(Global::Mapping));
        assert_eq!(
            lookup("torch", "BFloat16Storage"),
            Ok(Global::Storage(DType::BF16))
        );
        for (module, name) in [
            ("os", "system"),
            ("posix", "system"),
            ("builtins", "eval"),
            ("torch", "load"),
            ("torch._utils", "_import_dotted_name"),
            ("collections", "Storage.OrderedDict"),
            ("", ""),
        ] {
            let name_in_full = format!("{module}.{name}");
            assert_eq!(
                lookup(module, name),
                Err(Problem::ForbiddenGlobal { name: name_in_full })
            );
        }
    }
}
