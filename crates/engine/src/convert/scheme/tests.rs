use super::*;
use crate::convert::write::Rows;

/// A dense model's tensors, as llama.cpp names them.
fn model(layers: usize, kv_heads: usize, row: usize, tied: bool) -> (Metadata, Vec<Planned>) {
    let mut metadata = Metadata::default();
    metadata.insert("general.architecture", "llama");
    metadata.insert("llama.block_count", layers as u32);
    metadata.insert("llama.attention.head_count", 8u32);
    metadata.insert("llama.attention.head_count_kv", kv_heads as u32);
    let mut names = vec!["token_embd.weight".to_owned(), "output_norm.weight".into()];
    if !tied {
        names.push("output.weight".into());
    }
    // Two digits before one: an order of the file that is not that of the layers.
    for layer in (0..layers).rev() {
        for part in [
            "attn_norm",
            "attn_q",
            "attn_k",
            "attn_v",
            "attn_output",
            "ffn_gate",
            "ffn_down",
        ] {
            names.push(format!("blk.{layer}.{part}.weight"));
        }
        names.push(format!("blk.{layer}.attn_q.bias"));
    }
    let planned = names.into_iter().map(|name| {
        let vector = name.contains("norm") || name.ends_with("bias");
        Planned {
            shape: if vector { vec![row] } else { vec![64, row] },
            rows: Rows::Plain {
                source: name.clone(),
            },
            dtype: DType::F16,
            add: 0.0,
            name,
        }
    });
    (metadata, planned.collect())
}

fn assigned(scheme: &str, model: (Metadata, Vec<Planned>)) -> impl Fn(&str) -> String {
    let (metadata, mut planned) = model;
    let scheme: Scheme = scheme.parse().unwrap();
    scheme.assign(&metadata, &mut planned, &mut |_| {});
    move |name: &str| {
        let tensor = planned.iter().find(|t| t.name == name).unwrap();
        tensor.dtype.name().to_owned()
    }
}

#[test]
fn the_table_is_ordered_as_the_enum_and_agrees_with_the_format() {
    for (i, scheme) in Scheme::all().enumerate() {
        assert_eq!(scheme as usize, i);
        assert_eq!(scheme.name().to_lowercase().parse(), Ok(scheme));
        let known = medley_formats::gguf::file_type_name(scheme.file_type()).unwrap();
        assert!(
            known.starts_with(scheme.name()),
            "{known} {}",
            scheme.name()
        );
    }
    assert_eq!("q4_k".parse(), Ok(Scheme::Q4_K_M));
    let error = "Q7_0".parse::<Scheme>().unwrap_err().to_string();
    assert!(
        error.contains("\"Q7_0\"") && error.contains("Q4_K_M") && error.contains("BF16"),
        "{error}"
    );
}

#[test]
fn vectors_and_norms_are_singles_and_matrices_have_the_base_type() {
    let ty = assigned("Q4_0", model(4, 8, 256, false));
    assert_eq!(ty("blk.0.attn_norm.weight"), "F32");
    assert_eq!(ty("blk.0.attn_q.bias"), "F32");
    assert_eq!(ty("output_norm.weight"), "F32");
    assert_eq!(ty("token_embd.weight"), "Q4_0");
    assert_eq!(ty("blk.3.ffn_down.weight"), "Q4_0");
    assert_eq!(ty("output.weight"), "Q6_K");
    let tied = assigned("Q4_0", model(4, 8, 256, true));
    assert_eq!(tied("token_embd.weight"), "Q6_K");
    let eight = assigned("Q8_0", model(4, 8, 256, false));
    assert_eq!(eight("output.weight"), "Q8_0");
    let half = assigned("F16", model(4, 8, 256, false));
    assert_eq!(half("output.weight"), "F16");
    assert_eq!(half("output_norm.weight"), "F32");
}

/// The layers whose matrix of this kind is of this type.
fn layers_of(ty: &impl Fn(&str) -> String, part: &str, wanted: &str, layers: usize) -> Vec<usize> {
    (0..layers)
        .filter(|i| ty(&format!("blk.{i}.{part}.weight")) == wanted)
        .collect()
}

#[test]
fn the_medium_recipes_give_more_to_the_layers_that_llama_cpp_gives_more() {
    let ty = assigned("Q4_K_M", model(16, 2, 256, false));
    // Of 16 layers: the first two, the last two, and every third between.
    let more = [0, 1, 4, 7, 10, 13, 14, 15];
    assert_eq!(layers_of(&ty, "attn_v", "Q6_K", 16), more);
    assert_eq!(layers_of(&ty, "ffn_down", "Q6_K", 16), more);
    assert_eq!(layers_of(&ty, "attn_k", "Q4_K", 16).len(), 16);
    assert_eq!(ty("output.weight"), "Q6_K");
    let small = assigned("Q4_K_S", model(16, 2, 256, false));
    assert_eq!(layers_of(&small, "attn_v", "Q5_K", 16), [0, 1, 2, 3]);
    assert_eq!(layers_of(&small, "ffn_down", "Q5_K", 16), [0, 1]);
    let three = assigned("Q3_K_M", model(16, 2, 256, false));
    assert_eq!(layers_of(&three, "attn_v", "Q5_K", 16), [0, 1]);
    assert_eq!(layers_of(&three, "ffn_down", "Q5_K", 16), [0]);
    assert_eq!(three("blk.5.attn_output.weight"), "Q4_K");
    let two = assigned("Q2_K", model(16, 2, 256, false));
    assert_eq!(two("blk.5.attn_v.weight"), "Q4_K");
    let shared_less = assigned("Q2_K", model(16, 4, 256, false));
    assert_eq!(shared_less("blk.5.attn_v.weight"), "Q3_K");
}

#[test]
fn rows_that_are_not_whole_blocks_get_the_next_type() {
    let mut notes = Vec::new();
    let (metadata, mut planned) = model(8, 8, 576, true);
    Scheme::Q4_K_M.assign(&metadata, &mut planned, &mut |e| notes.push(e));
    let ty = |name: &str| {
        planned
            .iter()
            .find(|t| t.name == name)
            .unwrap()
            .dtype
            .name()
    };
    assert_eq!(ty("blk.2.attn_q.weight"), "Q5_0");
    assert_eq!(ty("blk.0.attn_v.weight"), "Q8_0");
    assert_eq!(ty("token_embd.weight"), "Q8_0");
    assert!(matches!(&notes[..], [ConvertEvent::Note(note)] if note.contains("whole blocks")));
    for (scheme, wanted) in [
        ("IQ4_XS", "IQ4_NL"),
        ("Q3_K_S", "Q4_0"),
        ("Q5_K_S", "Q5_1"),
        ("Q6_K", "Q8_0"),
    ] {
        let ty = assigned(scheme, model(8, 8, 576, false));
        assert_eq!(ty("blk.2.attn_q.weight"), wanted, "{scheme}");
    }
    let odd = assigned("Q8_0", model(8, 8, 40, false));
    assert_eq!(odd("blk.2.attn_q.weight"), "F16");
}
