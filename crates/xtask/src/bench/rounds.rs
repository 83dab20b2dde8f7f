//! Which rounds count: those in which the machine ran at its usual speed before and after.

use serde::{Deserialize, Serialize};

/// A round is slow when the arithmetic loop ran below this share of the best seen.
pub const SLOW_BELOW: f64 = 0.85;

/// What one engine did in one round.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Prompt tokens per second, 512 at once.
    pub prefill_tok_s: f64,
    /// Generated tokens per second, 128 after each other.
    pub decode_tok_s: f64,
    /// Seconds from opening the file to being ready for the first token.
    pub load_s: Option<f64>,
    /// Seconds from opening the file until one token is evaluated, when mapped weights have been read too.
    pub first_token_s: Option<f64>,
    /// Highest resident memory of the process, from the operating system.
    pub peak_rss_bytes: u64,
    /// Generated tokens per second of all sequences of a batch together.
    pub batch_decode_tok_s: Option<f64>,
}

/// One round: both engines, with the machine's speed around them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Speed of the arithmetic loop before, operations per second.
    pub pulse_before: f64,
    /// Speed of the arithmetic loop after, operations per second.
    pub pulse_after: f64,
    /// Medley's figures.
    pub medley: Sample,
    /// The peer's figures.
    pub peer: Sample,
}

impl Round {
    fn pulse(&self) -> f64 {
        self.pulse_before.min(self.pulse_after)
    }
}

/// Run rounds until `wanted` of them were good or three times as many were run, and keep the best `wanted` in the
/// order in which they ran. Returns them with the number run and the number of slow ones among those kept.
pub fn collect<E>(
    wanted: usize,
    mut run: impl FnMut(usize) -> Result<Round, E>,
) -> Result<(Vec<Round>, usize, usize), E> {
    let mut rounds: Vec<Round> = Vec::new();
    while good(&rounds) < wanted && rounds.len() < 3 * wanted {
        let round = run(rounds.len())?;
        rounds.push(round);
    }
    let run_in_all = rounds.len();
    let limit = SLOW_BELOW * best_pulse(&rounds);
    let mut order: Vec<usize> = (0..rounds.len()).collect();
    order.sort_by(|a, b| rounds[*b].pulse().total_cmp(&rounds[*a].pulse()));
    // Among good rounds the order is no merit: keep the earliest, so that the choice favours nobody.
    let (good, slow): (Vec<usize>, Vec<usize>) =
        order.iter().partition(|at| rounds[**at].pulse() >= limit);
    let mut good = good;
    good.sort_unstable();
    let mut kept: Vec<usize> = good.into_iter().chain(slow).take(wanted).collect();
    kept.sort_unstable();
    let kept: Vec<Round> = kept.into_iter().map(|at| rounds[at].clone()).collect();
    let slow = kept.iter().filter(|round| round.pulse() < limit).count();
    Ok((kept, run_in_all, slow))
}

fn best_pulse(rounds: &[Round]) -> f64 {
    rounds
        .iter()
        .map(|round| round.pulse_before.max(round.pulse_after))
        .fold(0.0, f64::max)
}

fn good(rounds: &[Round]) -> usize {
    let limit = SLOW_BELOW * best_pulse(rounds);
    rounds.iter().filter(|round| round.pulse() >= limit).count()
}

/// What a report that counts slow rounds says of them; nothing where there were none.
pub fn slow_note(slow: usize) -> String {
    match slow {
        0 => String::new(),
        n => format!("\n{n} of the rounds ran while the machine was slow.\n"),
    }
}

/// The median of what `pick` finds in every round; `None` when it finds nothing.
pub fn median(rounds: &[Round], pick: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
    let mut values: Vec<f64> = rounds.iter().filter_map(pick).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(before: f64, after: f64) -> Round {
        Round {
            pulse_before: before,
            pulse_after: after,
            medley: Sample {
                decode_tok_s: before,
                ..Sample::default()
            },
            peer: Sample::default(),
        }
    }

    fn collect_from(wanted: usize, pulses: &[(f64, f64)]) -> (Vec<f64>, usize, usize) {
        let (kept, run, slow) = collect(wanted, |index| {
            let (before, after) = pulses[index];
            Ok::<_, ()>(round(before, after))
        })
        .unwrap();
        (
            kept.iter().map(|round| round.pulse_before).collect(),
            run,
            slow,
        )
    }

    #[test]
    fn slow_rounds_are_repeated() {
        let pulses = [(100.0, 99.0), (50.0, 98.0), (97.0, 60.0), (96.0, 95.0)];
        assert_eq!(collect_from(2, &pulses), (vec![100.0, 96.0], 4, 0));
    }

    #[test]
    fn a_later_fast_round_unmasks_an_earlier_slow_one() {
        let pulses = [(50.0, 50.0), (100.0, 100.0), (99.0, 99.0)];
        assert_eq!(collect_from(2, &pulses), (vec![100.0, 99.0], 3, 0));
    }

    #[test]
    fn repeats_are_bounded_and_slow_rounds_confessed() {
        let mut pulses = vec![(100.0, 100.0)];
        pulses.extend((0..8).map(|index| (50.0 + f64::from(index), 60.0)));
        let (kept, run, slow) = collect_from(3, &pulses);
        assert_eq!((run, slow), (9, 2));
        assert_eq!(kept, [100.0, 56.0, 57.0]);
    }

    #[test]
    fn medians() {
        let rounds = [round(3.0, 3.0), round(1.0, 1.0), round(2.0, 2.0)];
        let decode = |round: &Round| Some(round.medley.decode_tok_s);
        assert_eq!(median(&rounds, decode), Some(2.0));
        assert_eq!(median(&rounds[..2], decode), Some(2.0));
        assert_eq!(median(&rounds, |round| round.medley.load_s), None);
    }
}
