//! Which instruction set the kernels use.
//!
//! Chosen once per process from what the processor has; `MEDLEY_ISA` forces one. A kernel reads
//! [`isa`] on the calling thread, before it enters the pool, and hands the value to its tasks.

use std::cell::Cell;
use std::sync::OnceLock;

use crate::KernelError;

/// An instruction set that kernels are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Plain Rust, written so that the compiler vectorises it.
    Scalar,
    /// AVX2 with FMA and F16C (x86-64-v3).
    Avx2,
    /// AVX-512 F, BW, DQ and VL with VNNI, beside AVX2. BF16 is asked for where a kernel has use for it.
    Avx512,
}

impl Isa {
    /// Every instruction set, plainest first.
    pub const ALL: &'static [Isa] = &[Isa::Scalar, Isa::Avx2, Isa::Avx512];

    /// The name that `MEDLEY_ISA` takes.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// Whether this processor has it.
    pub fn available(self) -> bool {
        match self {
            Isa::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("fma")
                    && std::arch::is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                Isa::Avx2.available()
                    && std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512dq")
                    && std::arch::is_x86_feature_detected!("avx512vl")
                    && std::arch::is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => false,
        }
    }

    /// Whether code compiled for AVX2, FMA and F16C may run.
    pub fn has_avx2(self) -> bool {
        matches!(self, Isa::Avx2 | Isa::Avx512)
    }

    /// The best that this processor has.
    pub fn best() -> Isa {
        let usable = |isa: &Isa| isa.available();
        Isa::ALL
            .iter()
            .rev()
            .copied()
            .find(usable)
            .unwrap_or(Isa::Scalar)
    }
}

/// What `MEDLEY_ISA` asks for, or the best of this processor where it is unset or empty.
///
/// # Errors
/// The variable holds an unknown name, or one that this processor cannot run.
pub fn requested_isa() -> Result<Isa, KernelError> {
    match std::env::var_os("MEDLEY_ISA") {
        None => Ok(Isa::best()),
        Some(value) => parse(&value.to_string_lossy()),
    }
}

fn parse(value: &str) -> Result<Isa, KernelError> {
    let wanted = value.trim();
    if wanted.is_empty() {
        return Ok(Isa::best());
    }
    let isa = Isa::ALL
        .iter()
        .copied()
        .find(|isa| isa.name().eq_ignore_ascii_case(wanted))
        .ok_or_else(|| KernelError::UnknownIsa {
            value: wanted.to_owned(),
        })?;
    if isa.available() {
        Ok(isa)
    } else {
        Err(KernelError::IsaUnavailable { value: isa.name() })
    }
}

thread_local! {
    static FORCED: Cell<Option<Isa>> = const { Cell::new(None) };
}

/// The instruction set in use. Where `MEDLEY_ISA` is wrong this is the best of the processor;
/// a program that should refuse a wrong value asks [`requested_isa`] when it starts.
pub fn isa() -> Isa {
    static CHOSEN: OnceLock<Isa> = OnceLock::new();
    match FORCED.get() {
        Some(forced) => forced,
        None => *CHOSEN.get_or_init(|| requested_isa().unwrap_or_else(|_| Isa::best())),
    }
}

/// Runs `f` with another instruction set on this thread (for tests and benchmarks); one that the
/// processor lacks becomes [`Isa::Scalar`].
pub fn with_isa<R>(isa: Isa, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Isa>);
    impl Drop for Restore {
        fn drop(&mut self) {
            FORCED.set(self.0);
        }
    }
    let usable = if isa.available() { isa } else { Isa::Scalar };
    let _restore = Restore(FORCED.replace(Some(usable)));
    f()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_wrong_ones_refused() {
        assert_eq!(parse("scalar"), Ok(Isa::Scalar));
        assert_eq!(parse(" Scalar "), Ok(Isa::Scalar));
        assert_eq!(parse(""), Ok(Isa::best()));
        let wrong = parse("avx9000");
        assert!(matches!(&wrong, Err(KernelError::UnknownIsa { value }) if value == "avx9000"));
        match parse("avx2") {
            Ok(isa) => assert_eq!(isa, Isa::Avx2),
            Err(e) => assert_eq!(e, KernelError::IsaUnavailable { value: "avx2" }),
        }
    }

    #[test]
    fn forcing_ends_with_the_closure() {
        let before = isa();
        with_isa(Isa::Scalar, || {
            assert_eq!(isa(), Isa::Scalar);
            with_isa(before, || assert_eq!(isa(), before));
            assert_eq!(isa(), Isa::Scalar);
        });
        assert_eq!(isa(), before);
    }
}
