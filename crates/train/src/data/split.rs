//! What is trained on and what is held out.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::DataError;
use super::error::setting;

/// A side of the split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What is learned from.
    Train,
    /// What is only measured on.
    HeldOut,
}

/// A split by group: what has one group is on one side, whatever else the dataset holds, on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Split {
    held_out: f64,
    /// 0 for the common split, another number for one that has nothing to do with it.
    #[serde(default)]
    salt: u64,
}

impl Default for Split {
    /// Nothing held out.
    fn default() -> Self {
        Self {
            held_out: 0.0,
            salt: 0,
        }
    }
}

impl Split {
    /// A split that holds out about this share of the groups, 0 to 1.
    ///
    /// # Errors
    /// [`DataError::Setting`] for another number.
    pub fn new(held_out: f64) -> Result<Self, DataError> {
        setting(
            (0.0..=1.0).contains(&held_out),
            "the held-out share",
            held_out,
            "between 0 and 1",
        )?;
        Ok(Self { held_out, salt: 0 })
    }

    /// A split whose sides have nothing to do with those of [`Split::new`], nor with those of another `salt`: what
    /// measures a model must not be blind for what the model was kept from.
    ///
    /// # Errors
    /// As [`Split::new`].
    pub fn apart(held_out: f64, salt: u64) -> Result<Self, DataError> {
        Ok(Self {
            salt,
            ..Self::new(held_out)?
        })
    }

    /// The share.
    pub fn held_out(&self) -> f64 {
        self.held_out
    }

    /// The side of a group: held out if the first 64 bits of its SHA-256 (after the eight bytes of a salt that is not 0),
    /// as a fraction of 1, are below the share. A larger share holds out all that a smaller one does.
    pub fn side(&self, group: &str) -> Side {
        let mut hash = Sha256::new();
        if self.salt != 0 {
            hash.update(self.salt.to_le_bytes());
        }
        hash.update(group.as_bytes());
        let digest = hash.finalize();
        let bits = digest
            .iter()
            .take(8)
            .fold(0u64, |sum, &byte| sum << 8 | u64::from(byte));
        // 53 bits, so that the quotient is exact and below 1.
        let fraction = (bits >> 11) as f64 / (1u64 << 53) as f64;
        if fraction < self.held_out {
            Side::HeldOut
        } else {
            Side::Train
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_met_and_grows_steadily() {
        let groups: Vec<String> = (0..4000).map(|i| format!("group {i}")).collect();
        let held = |share: f64| -> Vec<bool> {
            let split = Split::new(share).unwrap();
            groups
                .iter()
                .map(|g| split.side(g) == Side::HeldOut)
                .collect()
        };
        let (few, more) = (held(0.05), held(0.1));
        let count = |side: &[bool]| side.iter().filter(|&&held| held).count();
        assert!((140..260).contains(&count(&few)), "{}", count(&few));
        assert!((330..470).contains(&count(&more)), "{}", count(&more));
        assert!(few.iter().zip(&more).all(|(few, more)| !few || *more));
        assert_eq!(count(&held(0.0)), 0);
        assert_eq!(count(&held(1.0)), 4000);
    }

    #[test]
    fn splits_of_other_salts_are_independent() {
        let (one, other) = (Split::new(0.2).unwrap(), Split::apart(0.2, 1).unwrap());
        let held = |split: Split, i: i32| split.side(&format!("group {i}")) == Side::HeldOut;
        let both = (0..4000)
            .filter(|&i| held(one, i) && held(other, i))
            .count();
        // A fifth of a fifth of 4000.
        assert!((110..210).contains(&both), "{both}");
        assert_eq!(Split::apart(0.2, 0).unwrap(), one);
    }

    #[test]
    fn the_sides_are_the_same_for_ever() {
        // SHA-256 of "abc" begins with ba7816bf, which is 0.728…
        assert_eq!(Split::new(0.72).unwrap().side("abc"), Side::Train);
        assert_eq!(Split::new(0.73).unwrap().side("abc"), Side::HeldOut);
        assert!(Split::new(1.5).is_err());
        assert!(Split::new(f64::NAN).is_err());
    }
}
