//! What GPUs are told beside what to compute.

#[cfg(feature = "cuda")]
mod launch;
#[cfg(feature = "cuda")]
pub(crate) mod ops;
#[cfg(all(test, feature = "cuda"))]
mod tests;

use candle_core::{Device, Tensor};
use medley_kernels::optim::{SCHULZ, sum_of_squares};

use crate::Result;

/// Whether products of `f32` on NVIDIA GPUs may round their factors to TF32 (10 bits of fraction), which is several times as
/// fast; sums stay `f32`. Without it they do not.
pub fn allow_tf32(allow: bool) {
    candle_core::cuda::set_gemm_reduced_precision_f32(allow);
}

/// Keeps freed memory of an NVIDIA GPU for the next operation, as long as this process runs: the driver otherwise takes all
/// of it back whenever the program waits for a result, and training steps spend their time getting it anew. Nothing for other
/// devices.
///
/// # Errors
/// [`crate::Error::Candle`] where the driver refuses.
pub fn keep_memory(device: &Device) -> Result<()> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        keep(device)?;
    }
    let _ = device;
    Ok(())
}

/// The matrix of `rows × cols` with its singular values brought near 1 by Newton–Schulz iteration on `device`, as
/// [`medley_kernels::optim::muon`] does it on the CPU.
///
/// # Errors
/// [`crate::Error::Candle`] where the device refuses.
pub fn orthogonal(
    values: Vec<f32>,
    (rows, cols): (usize, usize),
    steps: usize,
    device: &Device,
) -> Result<Vec<f32>> {
    let norm = sum_of_squares(&values).sqrt().max(1e-7);
    let whole = (Tensor::from_vec(values, (rows, cols), device)? / norm)?;
    let tall = rows > cols;
    let mut x = match tall {
        true => whole.t()?.contiguous()?,
        false => whole,
    };
    let [a, b, c] = [SCHULZ.0, SCHULZ.1, SCHULZ.2].map(f64::from);
    for _ in 0..steps {
        let gram = x.matmul(&x.t()?)?;
        let update = ((&gram * b)? + (gram.matmul(&gram)? * c)?)?;
        x = ((&x * a)? + update.matmul(&x)?)?;
    }
    let x = if tall { x.t()?.contiguous()? } else { x };
    Ok(x.flatten_all()?.to_vec1()?)
}

#[cfg(feature = "cuda")]
#[allow(unsafe_code)]
fn keep(device: &candle_core::CudaDevice) -> candle_core::Result<()> {
    use candle_core::cuda::WrapErr;
    use candle_core::cuda::cudarc::driver::result::{device as driver, mem_pool};
    use candle_core::cuda::cudarc::driver::sys::CUmemPool_attribute;

    let mut all = u64::MAX;
    let context = device.cuda_stream().context().clone();
    // SAFETY: the device belongs to a living context, whose pool is valid as long; the attribute is a 64-bit number that the
    // driver reads before the call returns.
    unsafe {
        let pool = driver::get_mem_pool(context.cu_device()).w()?;
        let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        mem_pool::set_attribute(pool, attribute, (&raw mut all).cast()).w()
    }
}

#[cfg(test)]
mod updates {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use medley_kernels::optim::{Muon, muon};

    #[test]
    fn a_device_makes_the_updates_that_the_cpu_makes() {
        for size in [(12, 20), (20, 12), (16, 16)] {
            let count = size.0 * size.1;
            let gradient: Vec<f32> = (0..count).map(|i| (i as f32 * 0.7).sin()).collect();
            let settings = Muon {
                lr: 1.0,
                weight_decay: 0.0,
                momentum: 0.0,
                rounded: false,
                ..Muon::default()
            };
            let (mut moved, mut means) = (vec![0.0; count], vec![0.0; count]);
            muon(&settings, 1.0, size, &mut moved, &gradient, &mut means);
            let there = orthogonal(gradient, size, settings.steps, &Device::Cpu).unwrap();
            let rate = (size.0 as f32 / size.1 as f32).max(1.0).sqrt();
            for (moved, there) in moved.iter().zip(&there) {
                assert!((moved + rate * there).abs() < 1e-4, "{size:?}");
            }
        }
    }
}
