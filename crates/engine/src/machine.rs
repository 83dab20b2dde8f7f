//! Threads, instruction set and device of this process.

pub use medley_kernels::pool::{only_this_pool, set_threads, threads};
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
            let device = Device::new_cuda(index)
                .map_err(|_| "there is no such GPU, or this build has no CUDA".to_owned())?;
            medley_nn::gpu::keep_memory(&device).map_err(|e| e.to_string())?;
            Ok(device)
        }
        ("metal", "0") => Device::new_metal(0)
            .map_err(|_| "there is no Metal GPU, or this build has no Metal".to_owned()),
        _ => Err("it must be cpu, cuda:N or metal".to_owned()),
    }
}

/// A row of `/proc/meminfo` in bytes; 0 where the system does not tell.
pub(crate) fn meminfo(key: &str) -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|l| l.strip_prefix(key));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or(0, |kb| kb * 1024)
}

/// Bytes of memory that this process may still take: what the machine has free, or what is left of the limit of the
/// control group it runs in. 0 where the system does not tell.
pub fn available_memory() -> u64 {
    let number = |file: &str| -> Option<u64> {
        let text = std::fs::read_to_string(format!("/sys/fs/cgroup/{file}")).ok()?;
        text.trim().parse().ok()
    };
    let free = meminfo("MemAvailable:");
    match (number("memory.max"), number("memory.current")) {
        // Pages of files count as used there, and are given back when they are asked for.
        (Some(limit), Some(used)) => {
            let files = number_of_files().min(used);
            let left = limit.saturating_sub(used - files);
            if free == 0 { left } else { free.min(left) }
        }
        _ => free,
    }
}

/// Bytes of the control group that are pages of files.
fn number_of_files() -> u64 {
    let stat = std::fs::read_to_string("/sys/fs/cgroup/memory.stat").unwrap_or_default();
    let row = stat.lines().find_map(|line| line.strip_prefix("file "));
    row.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0)
}
