//! Threads, instruction set and device of this process.

pub use medley_kernels::pool::{set_threads, threads};
pub use medley_kernels::{Limits as MachineLimits, limits, requested_isa};
pub use medley_nn::Device;

/// The device that `--device` names: `cpu`, `cuda:N` or `metal`.
///
/// # Errors
/// One line where the name is unknown, this build lacks the device, or the machine does.
pub fn device(name: &str) -> Result<Device, String> {
    match name.split_once(':').unwrap_or((name, "0")) {
        ("cpu", "0") => Ok(Device::Cpu),
        ("cuda", index) => {
            let index = index
                .parse::<usize>()
                .map_err(|_| format!("{index:?} is no number of a GPU"))?;
            Device::new_cuda(index)
                .map_err(|_| "there is no such GPU, or this build has no CUDA".to_owned())
        }
        ("metal", "0") => Device::new_metal(0)
            .map_err(|_| "there is no Metal GPU, or this build has no Metal".to_owned()),
        _ => Err("it must be cpu, cuda:N or metal".to_owned()),
    }
}
