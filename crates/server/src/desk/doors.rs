//! How often visitors of desks may ask.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use medley_engine::desk::Desk;

use crate::error::{Answer, ApiError};

const MINUTE: Duration = Duration::from_secs(60);

/// Visitors that are remembered at most; those whose minute is over are forgotten first.
const VISITORS: usize = 10_000;

/// Questions of all visitors of a desk together in a minute, for each that one visitor may ask.
const TOGETHER: u32 = 50;

/// The counts of all desks.
#[derive(Default)]
pub(crate) struct Doors(Mutex<HashMap<(String, String), (Instant, u32)>>);

impl Doors {
    /// Counts a question of a visitor, and refuses one that is too many: of one visitor, or of all together.
    pub(crate) fn pass(&self, desk: &Desk, visitor: &str) -> Answer<()> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= VISITORS {
            counts.retain(|_, (begun, _)| begun.elapsed() < MINUTE);
        }
        let all = desk.rate.saturating_mul(TOGETHER);
        let visitors = [
            (format!("visitor {visitor}"), desk.rate),
            ("all".to_owned(), all),
        ];
        for (who, limit) in visitors {
            let key = (desk.name.clone(), who);
            if counts.len() >= VISITORS && !counts.contains_key(&key) {
                return Err(too_many());
            }
            let count = counts.entry(key).or_insert((Instant::now(), 0));
            if count.0.elapsed() >= MINUTE {
                *count = (Instant::now(), 0);
            }
            if count.1 >= limit {
                return Err(too_many());
            }
            count.1 += 1;
        }
        Ok(())
    }
}

fn too_many() -> ApiError {
    let message = "Too many questions; please wait a minute.".to_owned();
    ApiError::too_many("rate_limit_exceeded", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_visitor_has_a_number_of_questions_and_all_have_one_together() {
        let doors = Doors::default();
        let desk = Desk {
            rate: 2,
            ..Desk::new("shop", "help")
        };
        let pass = |visitor: &str| doors.pass(&desk, visitor).is_ok();
        assert!(pass("a") && pass("a") && !pass("a") && pass("b"));
        let through = (0..200).filter(|n| pass(&format!("v{n}"))).count();
        assert_eq!(through, 2 * 50 - 3);
    }
}
