//! The table of kinds: names in `tokenizer.ggml.pre`, what they imply, and their steps.

use super::{Cl100k, O200k, Step};
use crate::error::Result;

/// What a name in `tokenizer.ggml.pre` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Default,
    Gpt2,
    Llama3,
    Jais2,
    DeepseekLlm,
    DeepseekCoder,
    DeepseekV3,
    Spark,
    Youtu,
    Falcon,
    Starcoder,
    Qwen2,
    Qwen35,
    Bloom,
    Viking,
    Tekken,
    Chameleon,
    Gpt4o,
    GraniteEmbedding,
    TinyAya,
    KimiK2,
    Superbpe,
    Bailing,
    SeedCoder,
    Ufakzeka,
    Afmoe,
    Laguna,
    ExaoneMoe,
    Lines,
    Minicpm5,
    Whitespace,
}

/// A kind with the defaults that its name brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) kind: Kind,
    /// A word that is a token needs no merging.
    pub(crate) ignore_merges: bool,
    /// A text starts with BOS unless the file says otherwise.
    pub(crate) add_bos: bool,
    /// The vocabulary writes a space as U+2581, and bytes as `<0xXX>`, instead of GPT-2's alphabet.
    pub(crate) plain: bool,
    /// Runs of line feeds that are a token need no merging, and a text always starts with BOS (Gemma 4).
    pub(crate) newline_runs: bool,
    /// The default BOS is taken away.
    pub(crate) no_bos: bool,
}

/// Looks a name up; `None` if it is unknown.
pub(crate) fn kind(name: &str) -> Option<Named> {
    use Kind::*;
    let kind = match name {
        "default" => Default,
        "gpt-2" | "phi-2" | "jina-es" | "jina-de" | "gigachat" | "jina-v2-es" | "jina-v2-de"
        | "a.x-4.0" | "mellum" | "modern-bert" | "jina-v1-en" | "jina-v2-code" | "roberta-bpe"
        | "exaone4" | "mpt" | "olmo" | "jais" | "trillion" | "granite-docling" => Gpt2,
        "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0"
        | "lfm2" | "jina-v5-nano" | "dbrx" | "smaug-bpe" | "chatglm-bpe" | "glm4" | "glm5" => {
            Llama3
        }
        "jais-2" => Jais2,
        "deepseek-llm" => DeepseekLlm,
        "deepseek-coder" => DeepseekCoder,
        "deepseek-v3" | "hunyuan-dense" | "joyai-llm" | "hy_v4" => DeepseekV3,
        "spark2_5" => Spark,
        "youtu" => Youtu,
        "falcon" => Falcon,
        "starcoder" | "refact" | "command-r" | "smollm" | "codeshell" | "exaone" | "minerva-7b"
        | "mellum2" => Starcoder,
        "qwen2" | "deepseek-r1-qwen" | "kormo" | "f2llmv2" | "stablelm2" | "megrez" | "hunyuan"
        | "solar-open" | "grok-2" => Qwen2,
        "qwen35" => Qwen35,
        "poro-chat" | "bloom" | "gpt3-finnish" => Bloom,
        "viking" => Viking,
        "tekken" => Tekken,
        "chameleon" => Chameleon,
        "gpt-4o" | "llama4" | "kanana2" | "talkie" | "minimax-m2" => Gpt4o,
        "granite-embed-multi-97m" => GraniteEmbedding,
        "tiny_aya" | "cohere2moe" => TinyAya,
        "kimi-k2" => KimiK2,
        "superbpe" => Superbpe,
        "bailingmoe" | "bailingmoe2" | "llada-moe" => Bailing,
        "seed-coder" => SeedCoder,
        "ufakzeka" => Ufakzeka,
        "afmoe" => Afmoe,
        "laguna" => Laguna,
        "exaone-moe" => ExaoneMoe,
        "gemma4" | "granite-embed-multi-311m" | "sarvam-moe" => Lines,
        "minicpm5" => Minicpm5,
        "whitespace" => Whitespace,
        _ => return None,
    };
    let llama3 = matches!(
        name,
        "llama3"
            | "llama-v3"
            | "llama-bpe"
            | "falcon3"
            | "falcon-h1"
            | "pixtral"
            | "midm-2.0"
            | "lfm2"
            | "jina-v5-nano"
    );
    Some(Named {
        kind,
        ignore_merges: llama3
            || matches!(
                name,
                "minicpm5" | "youtu" | "glm4" | "glm5" | "tekken" | "granite-embed-multi-97m"
            ),
        add_bos: llama3 || matches!(name, "tekken" | "chameleon"),
        plain: matches!(kind, Lines),
        newline_runs: matches!(name, "gemma4" | "granite-embed-multi-311m"),
        no_bos: matches!(name, "chatglm-bpe" | "glm4" | "glm5"),
    })
}

const CONTRACTION: &str = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const SPACES: &str = r"\s+(?!\S)|\s+";
const CJK: &str = r"[[\u{4E00}-\u{9FA5}\u{800}-\u{4E00}\u{AC00}-\u{D7FF}]--\s]+";
const HAN_KANA: &str = r"[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+";
/// DeepSeek V3's last pattern up to what may follow a run of symbols.
const SYMBOL_WORD: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+"##;
const NOT_SENTENCE: &str = r" ?[^(\s|.,!?\u{2026}\u{3002}\u{FF0C}\u{3001}\u{964}\u{6D4}\u{60C})]+";
/// The Latin, Greek, Cyrillic, Armenian, Georgian, Cherokee, Deseret, Osage, Old Hungarian, Warang Citi and Adlam
/// letters with case, as DeepSeek LLM lists them.
const CASED: &str = "A-Za-z\u{B5}\u{C0}-\u{D6}\u{D8}-\u{F6}\u{F8}-\u{1BA}\u{1BC}-\u{1BF}\u{1C4}-\u{293}\u{295}-\u{2AF}\
    \u{370}-\u{373}\u{376}\u{377}\u{37B}-\u{37D}\u{37F}\u{386}\u{388}-\u{38A}\u{38C}\u{38E}-\u{3A1}\
    \u{3A3}-\u{3F5}\u{3F7}-\u{481}\u{48A}-\u{52F}\u{531}-\u{556}\u{10A0}-\u{10C5}\u{13A0}-\u{13F5}\
    \u{13F8}-\u{13FD}\u{1C90}-\u{1CBA}\u{1CBD}-\u{1CBF}\u{1D00}-\u{1D2B}\u{1D6B}-\u{1D77}\u{1D79}-\u{1D9A}\
    \u{1E00}-\u{1F15}\u{1F18}-\u{1F1D}\u{1F20}-\u{1F45}\u{1F48}-\u{1F4D}\u{1F50}-\u{1F57}\u{1F59}\u{1F5B}\
    \u{1F5D}\u{1F5F}-\u{1F7D}\u{1F80}-\u{1FB4}\u{1FB6}-\u{1FBC}\u{1FBE}\u{1FC2}-\u{1FC4}\u{1FC6}-\u{1FCC}\
    \u{1FD0}-\u{1FD3}\u{1FD6}-\u{1FDB}\u{1FE0}-\u{1FEC}\u{1FF2}-\u{1FF4}\u{1FF6}-\u{1FFC}\u{2102}\u{2107}\
    \u{210A}-\u{2113}\u{2115}\u{2119}-\u{211D}\u{2124}\u{2126}\u{2128}\u{212A}-\u{212D}\u{212F}-\u{2134}\
    \u{2139}\u{213C}-\u{213F}\u{2145}-\u{2149}\u{214E}\u{2183}\u{2184}\u{2C00}-\u{2C7B}\u{2C7E}-\u{2CE4}\
    \u{2CEB}-\u{2CEE}\u{2CF2}\u{2CF3}\u{A640}-\u{A66D}\u{A680}-\u{A69B}\u{A722}-\u{A76F}\u{A771}-\u{A787}\
    \u{A78B}-\u{A78E}\u{AB70}-\u{ABBF}\u{FB00}-\u{FB06}\u{FB13}-\u{FB17}\u{FF21}-\u{FF3A}\u{FF41}-\u{FF5A}\
    \u{10400}-\u{1044F}\u{104B0}-\u{104D3}\u{104D8}-\u{104FB}\u{10C80}-\u{10CB2}\u{10CC0}-\u{10CF2}\
    \u{118A0}-\u{118DF}\u{1E900}-\u{1E943}";
/// Han as llama.cpp lists it for Kimi.
const HAN: &str = r"\u{4E00}-\u{9FFF}\u{3400}-\u{4DBF}\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B820}-\u{2CEAF}\u{2CEB0}-\u{2EBEF}\u{F900}-\u{FAFF}\u{2F800}-\u{2FA1F}";

const LLAMA3: Cl100k = Cl100k {
    digits: 3,
    marks: false,
    contractions: true,
};

/// The steps of a kind.
pub(super) fn steps(kind: Kind) -> Result<Vec<Step>> {
    let p = Step::pattern;
    let steps = match kind {
        Kind::Default => vec![
            p(r"[\p{P}\$\+<=>\^~\|]+")?,
            Step::Gpt2,
            p(r"\p{N}+")?,
            p("[0-9][0-9][0-9]")?,
        ],
        Kind::Gpt2 => vec![Step::Gpt2],
        Kind::Starcoder => vec![Step::SingleNumbers, Step::Gpt2],
        Kind::Falcon => vec![
            p(r"[\p{P}\$\+<=>\^~\|`]+")?,
            Step::Gpt2,
            p("[0-9][0-9][0-9]")?,
        ],
        Kind::Llama3 => vec![Step::Cl100k(LLAMA3)],
        Kind::Qwen2 => vec![Step::Cl100k(Cl100k {
            digits: 1,
            ..LLAMA3
        })],
        Kind::Qwen35 => vec![Step::Cl100k(Cl100k {
            digits: 1,
            marks: true,
            ..LLAMA3
        })],
        Kind::Ufakzeka => vec![Step::Cl100k(Cl100k {
            digits: 1,
            contractions: false,
            ..LLAMA3
        })],
        Kind::Laguna => vec![
            Step::Lines,
            Step::Cl100k(Cl100k {
                digits: 1,
                ..LLAMA3
            }),
        ],
        Kind::Minicpm5 => vec![
            p(r"\p{N}{1,3}")?,
            Step::Cl100k(Cl100k {
                digits: usize::MAX,
                ..LLAMA3
            }),
        ],
        Kind::Tekken => vec![Step::O200k(O200k {
            digits: 1,
            marks: false,
            contractions: false,
        })],
        Kind::Gpt4o => vec![Step::O200k(O200k {
            digits: 3,
            marks: false,
            contractions: true,
        })],
        Kind::GraniteEmbedding => vec![Step::O200k(O200k {
            digits: 3,
            marks: true,
            contractions: true,
        })],
        Kind::Lines => vec![Step::Lines],
        Kind::Whitespace => vec![p(r"\S+")?],
        _ => patterns(kind)?
            .iter()
            .map(|pattern| match pattern.as_str() {
                GROUPED => Ok(Step::GroupedNumbers),
                GPT2 => Ok(Step::Gpt2),
                _ => p(pattern),
            })
            .collect::<Result<_>>()?,
    };
    Ok(steps)
}

/// Stand-ins for steps that are scanners.
const GROUPED: &str = "grouped numbers";
const GPT2: &str = "gpt2";

/// The patterns of the kinds that regular expressions serve.
fn patterns(kind: Kind) -> Result<Vec<String>> {
    let cl100k = |number: &str, symbols: &str, lines: &str, spaces: &str| {
        format!(
            r"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{number}| ?{symbols}|{lines}|{spaces}"
        )
    };
    let symbols = r"[^\s\p{L}\p{N}]+[\r\n]*";
    let lines = r"\s*[\r\n]+";
    // llama.cpp knows no case beyond ASCII's here: the capitals' and the small letters' run are one.
    let word = |number: &str| {
        format!(
            r"[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+{CONTRACTION}?|{number}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{lines}|{SPACES}"
        )
    };
    let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let list = match kind {
        Kind::Jais2 => vec![cl100k(
            r"\p{N}{1,3}",
            symbols,
            lines,
            r"\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}",
        )],
        Kind::DeepseekLlm => vec![
            r"[\r\n]".to_owned(),
            format!(r"\s?[{CASED}]+"),
            // The ideographic space of the published class is white space to llama.cpp and matches only in front.
            r"\s?[!-/:-~\u{FF01}-\u{FF0F}\u{FF1A}-\u{FF5E}\u{2018}-\u{201F}\u{3001}\u{3002}]+".to_owned(),
            r"\s+$".to_owned(),
            CJK.to_owned(),
            r"\p{N}+".to_owned(),
        ],
        Kind::DeepseekCoder => own(&[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, r"\p{N}"]),
        Kind::DeepseekV3 => vec![
            r"\p{N}{1,3}".to_owned(),
            HAN_KANA.to_owned(),
            format!(r"{SYMBOL_WORD}[\r\n]*|{lines}|{SPACES}"),
        ],
        Kind::Spark => vec![
            r"\p{N}{1,3}".to_owned(),
            HAN_KANA.to_owned(),
            format!(r"{SYMBOL_WORD}|[\r\n]|{SPACES}"),
            r"\p{N}".to_owned(),
        ],
        Kind::Youtu => vec![
            format!(
                r"[\u{{AC00}}-\u{{D7A3}}\u{{3131}}-\u{{318E}}]+|[\u{{FF01}}\u{{2026}}\u{{201C}}\u{{201D}}\u{{2018}}\u{{2019}}\u{{2014}}\u{{FF1A}}\u{{FF1B}}\u{{FF0C}}\u{{3001}}-\u{{303F}}\u{{FE30}}-\u{{FE4F}}]+|[\u{{3105}}-\u{{312F}}]+|{HAN_KANA}"
            ),
            word(r"\p{N}"),
        ],
        Kind::Bloom => own(&[NOT_SENTENCE]),
        Kind::Viking => own(&[NOT_SENTENCE, r"\p{N}"]),
        Kind::Chameleon => own(&[
            "<sentinel:[0-9]+>",
            "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
            r"([\t\n]|    |  )",
            r"\p{N}",
            r"[\p{P}!-/:-@\[-`{-~]",
            GPT2,
        ]),
        Kind::TinyAya => vec![GROUPED.to_owned(), word(r"\p{N}{1,3}")],
        Kind::KimiK2 => vec![format!(
            r"[{HAN}]+|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}--[{HAN}]]+{CONTRACTION}?|\p{{N}}{{1,3}}| ?{symbols}|{lines}|{SPACES}"
        )],
        Kind::Superbpe => own(&[r"\p{N}+", "(?=([0-9]{3})+(?![0-9]))"]),
        Kind::Bailing => vec![format!(
            r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?{symbols}|\s*[\r\n]|{SPACES}"
        )],
        Kind::SeedCoder => vec![cl100k(r"\p{N}{1}", r"[^\s\p{L}\p{N}\r\n]+", lines, SPACES)],
        Kind::Afmoe => vec![
            GROUPED.to_owned(),
            r"[\u{4E00}-\u{9FFF}\u{3400}-\u{4DBF}\u{8C48}-\u{FAFF}\u{3040}-\u{309F}\u{30A0}-\u{30FF}\u{FF65}-\u{FF9F}\u{2F00}-\u{2FDF}\u{0E40}-\u{0E7F}\u{0E80}-\u{0EFF}\u{1780}-\u{17FF}\u{1000}-\u{109F}\u{AA60}-\u{AA7F}\u{A9E0}-\u{A9FF}\u{AC00}-\u{D7AF}\u{1100}-\u{11FF}]+".to_owned(),
            format!(r"{SYMBOL_WORD}[\r\n]*|{lines}|{SPACES}"),
        ],
        Kind::ExaoneMoe => vec![format!(
            r"{CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]?|\s*[\r\n]|{SPACES}"
        )],
        _ => Vec::new(),
    };
    Ok(list)
}
