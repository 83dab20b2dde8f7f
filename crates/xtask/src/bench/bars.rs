//! What the project asks of itself beside llama.cpp, per model and metric.

/// Bars of one model, as ratios to the peer.
struct Bars {
    /// How the model's name begins.
    model: &'static str,
    decode: f64,
    prefill: f64,
    batch: f64,
}

const BARS: &[Bars] = &[
    Bars {
        model: "smollm2-135m-Q",
        decode: 1.5,
        prefill: 2.0,
        batch: 2.0,
    },
    Bars {
        model: "smollm2-135m",
        decode: 2.0,
        prefill: 5.0,
        batch: 3.0,
    },
    Bars {
        model: "gemma3-270m",
        decode: 1.8,
        prefill: 2.5,
        batch: 2.0,
    },
    Bars {
        model: "llama-1b",
        decode: 1.3,
        prefill: 1.8,
        batch: 1.5,
    },
];

/// Shares of the machine's own limit that meet a bar as well.
const DECODE_SHARE: f64 = 0.70;
const PREFILL_SHARE: f64 = 0.45;
/// Most resident memory, as a ratio.
const MEMORY: f64 = 1.15;

/// What is asked of a metric, in words, and whether it is met; `None` where nothing is asked.
pub fn verdict(
    model: &str,
    metric: &str,
    ratio: Option<f64>,
    of_limit: Option<f64>,
) -> Option<(String, bool)> {
    let bars = BARS.iter().find(|bars| model.starts_with(bars.model))?;
    let (bar, share) = match metric {
        "decode_tok_s" => (bars.decode, Some(DECODE_SHARE)),
        "prefill_tok_s" => (bars.prefill, Some(PREFILL_SHARE)),
        "batch_decode_tok_s" => (bars.batch, None),
        "peak_rss_bytes" => {
            return Some((format!("≤ {MEMORY}×"), ratio.is_some_and(|r| r <= MEMORY)));
        }
        "load_s" => return Some(("≤ 1×".into(), ratio.is_some_and(|r| r <= 1.0))),
        _ => return None,
    };
    let fast = ratio.is_some_and(|r| r >= bar);
    let full = share.zip(of_limit).is_some_and(|(least, own)| own >= least);
    let words = match share {
        Some(share) => format!("≥ {bar}× or {:.0} %", share * 100.0),
        None => format!("≥ {bar}×"),
    };
    Some((words, fast || full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_the_ratio_or_the_share_of_the_limit_meets_a_bar() {
        let met = |model, metric, ratio, share| verdict(model, metric, ratio, share).unwrap().1;
        assert!(met("smollm2-135m", "decode_tok_s", Some(2.0), None));
        assert!(!met("smollm2-135m", "decode_tok_s", Some(1.9), Some(0.69)));
        assert!(met(
            "llama-1b-random-Q4_K_M.gguf",
            "decode_tok_s",
            Some(1.0),
            Some(0.7)
        ));
        assert!(met(
            "smollm2-135m-Q8_0.gguf",
            "prefill_tok_s",
            Some(2.0),
            None
        ));
        assert!(!met("gemma3-270m", "peak_rss_bytes", Some(1.2), None));
        assert!(verdict("other", "decode_tok_s", Some(9.0), None).is_none());
    }
}
