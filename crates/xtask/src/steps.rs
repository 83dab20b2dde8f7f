//! Named steps with one line of outcome each, in the form that cargo's own tests print.

use std::time::Instant;

use anyhow::{Result, bail};

/// Runs steps one after the other and counts them.
#[derive(Default)]
pub struct Steps {
    passed: usize,
    failed: Vec<String>,
    only: Vec<String>,
}

impl Steps {
    /// Steps restricted to the named groups (the part before `::`); none named means all.
    pub fn only(groups: &[String]) -> Self {
        Self {
            only: groups.to_vec(),
            ..Self::default()
        }
    }

    /// Whether a step of this name is to run.
    pub fn wants(&self, name: &str) -> bool {
        let group = name.split("::").next().unwrap_or(name);
        self.only.is_empty()
            || self
                .only
                .iter()
                .any(|wanted| wanted == group || wanted == name)
    }

    /// Run one step, print its outcome, and go on whatever it was. Returns whether it passed.
    pub fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> bool {
        if !self.wants(name) {
            return false;
        }
        let start = Instant::now();
        let result = work();
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                println!("test xtask::{name} ... ok ({seconds:.1} s)");
                self.passed += 1;
                true
            }
            Err(error) => {
                println!("test xtask::{name} ... FAILED ({seconds:.1} s)\n    {error:#}");
                self.failed.push(name.to_owned());
                false
            }
        }
    }

    /// Print the closing line; an error when a step failed or none ran.
    pub fn finish(self) -> Result<()> {
        if !self.failed.is_empty() {
            println!("failed: {}", self.failed.join(", "));
        }
        println!("{} passed, {} failed", self.passed, self.failed.len());
        if !self.failed.is_empty() {
            bail!("{} of the steps failed", self.failed.len());
        }
        if self.passed == 0 {
            bail!("no step is called {}", self.only.join(", "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_selects() {
        let mut steps = Steps::only(&["fmt".into(), "check::layers".into()]);
        assert!(steps.step("check::layers", || Ok(())));
        assert!(!steps.step("check::words", || panic!("not asked for")));
        assert!(!steps.step("fmt", || bail!("untidy")));
        assert_eq!((steps.passed, steps.failed.len()), (1, 1));
        assert!(steps.finish().is_err());
    }

    #[test]
    fn a_misspelt_selection_is_an_error() {
        let mut steps = Steps::only(&["fnt".into()]);
        steps.step("fmt", || Ok(()));
        assert!(steps.finish().is_err());
    }
}
