//! What GPUs are told beside what to compute.

use candle_core::Device;

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
/// [`crate::Error::Tensor`] where the driver refuses.
pub fn keep_memory(device: &Device) -> Result<()> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        keep(device)?;
    }
    let _ = device;
    Ok(())
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
