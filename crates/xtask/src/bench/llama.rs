//! The peer for text: llama.cpp, from the source package of llama-cpp-python, built outside the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::measure;
use crate::process;
use crate::python::{self, Venv};

/// Release of llama-cpp-python whose bundled llama.cpp is the peer.
pub const PACKAGE_VERSION: &str = "0.3.36";

/// Programs of llama.cpp that the benchmarks and the reference scripts use.
const TARGETS: &[&str] = &[
    "llama-bench",
    "llama-batched-bench",
    "llama-perplexity",
    "llama-quantize",
    "llama-tokenize",
];

/// llama.cpp, built and ready.
pub struct Llama {
    bin: PathBuf,
    /// Headers, when the peer was built from source here.
    source: Option<PathBuf>,
}

/// One line of `llama-bench -o json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct BenchEntry {
    pub build_commit: String,
    pub model_size: u64,
    pub model_n_params: u64,
    pub n_prompt: u64,
    pub n_gen: u64,
    pub avg_ts: f64,
}

/// What one run of llama-bench measured.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchRun {
    pub commit: String,
    pub model_bytes: u64,
    pub prefill_tok_s: f64,
    pub decode_tok_s: f64,
    pub peak_rss_bytes: u64,
}

/// What llama_load.cpp prints.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct LoadTimes {
    pub load_s: f64,
    pub first_token_s: f64,
}

impl Llama {
    /// Use the build that `MEDLEY_LLAMA_BIN` names (the folder, or llama-bench in it), else the one in the developer
    /// folder, else build it there: some fifteen minutes on two cores.
    pub fn open() -> Result<Self> {
        let home = process::ref_dir()?;
        let source = python::find_entry(&home, "llama_cpp_python-")
            .map(|dir| dir.join("vendor/llama.cpp"))
            .ok();
        if let Some(named) = std::env::var_os("MEDLEY_LLAMA_BIN") {
            let mut bin = PathBuf::from(named);
            if bin.is_file() {
                bin.pop();
            }
            let llama = Self { bin, source };
            if !llama.program("llama-bench").is_file() {
                bail!(
                    "MEDLEY_LLAMA_BIN names {}, where there is no llama-bench",
                    llama.bin.display()
                );
            }
            return Ok(llama);
        }
        let llama = Self {
            bin: home.join("llama-build/bin"),
            source,
        };
        if TARGETS.iter().all(|name| llama.program(name).is_file()) {
            return Ok(llama);
        }
        Self::build(&home)
    }

    fn build(home: &Path) -> Result<Self> {
        let venv = Venv::open()?;
        // scikit-build-core must be there first: without build isolation pip runs the package's own metadata step.
        let tools = ["install", "--quiet", "cmake", "ninja", "scikit-build-core"];
        process::run(&mut venv.pip(&tools)?)?;
        let sources = Self::fetch(home, &venv)?;
        let build = home.join("llama-build");
        println!("building llama.cpp in {}", build.display());
        process::run(
            venv.command(venv.program("cmake"))?
                .args(["-G", "Ninja", "-B"])
                .arg(&build)
                .arg("-S")
                .arg(&sources)
                .args([
                    "-DCMAKE_BUILD_TYPE=Release",
                    "-DGGML_NATIVE=ON",
                    "-DGGML_OPENMP=ON",
                    "-DLLAMA_CURL=OFF",
                    "-DLLAMA_BUILD_TESTS=OFF",
                    "-DLLAMA_BUILD_SERVER=OFF",
                    "-DLLAMA_BUILD_EXAMPLES=OFF",
                    "-DLLAMA_BUILD_TOOLS=ON",
                ]),
        )?;
        process::run(
            venv.command(venv.program("cmake"))?
                .arg("--build")
                .arg(&build)
                .arg("--target")
                .args(TARGETS),
        )?;
        Ok(Self {
            bin: build.join("bin"),
            source: Some(sources),
        })
    }

    /// Download and unpack the source package; the folder of llama.cpp in it.
    fn fetch(home: &Path, venv: &Venv) -> Result<PathBuf> {
        let unpacked = home.join(format!("llama_cpp_python-{PACKAGE_VERSION}"));
        let sources = unpacked.join("vendor/llama.cpp");
        if sources.is_dir() {
            return Ok(sources);
        }
        let sdist = home.join("sdist");
        let wanted = format!("llama-cpp-python=={PACKAGE_VERSION}");
        process::run(
            venv.pip(&[
                "download",
                "--quiet",
                "--no-deps",
                "--no-build-isolation",
                // Only this package from source: asking it of all would build cmake itself.
                "--no-binary",
                "llama-cpp-python",
                "--dest",
            ])?
            .arg(&sdist)
            .arg(&wanted),
        )?;
        let archive = python::find_entry(&sdist, "llama_cpp_python-")?;
        process::run(
            venv.command(venv.python())?
                .args(["-m", "tarfile", "-e"])
                .arg(&archive)
                .arg(home),
        )?;
        if !sources.is_dir() {
            bail!(
                "{} holds no vendor/llama.cpp: has the package changed?",
                archive.display()
            );
        }
        Ok(sources)
    }

    /// The unpacked source package.
    pub fn package(&self) -> Result<PathBuf> {
        self.source
            .as_deref()
            .and_then(|source| Some(source.parent()?.parent()?.to_owned()))
            .context("the sources of llama.cpp are not here: unset MEDLEY_LLAMA_BIN to fetch them")
    }

    /// The folder that CMake built it in.
    pub fn build_dir(&self) -> Result<PathBuf> {
        let dir = self.bin.parent().map(Path::to_owned);
        dir.with_context(|| format!("{} is in no folder", self.bin.display()))
    }

    /// The path of one of its programs.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin
            .join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    /// Its server, which is built first where it is missing.
    pub fn server(&self) -> Result<PathBuf> {
        let server = self.program("llama-server");
        if server.is_file() {
            return Ok(server);
        }
        let source = self.source.as_deref();
        let source =
            source.context("the sources of llama.cpp are not here, to build llama-server")?;
        let (venv, build) = (Venv::open()?, self.build_dir()?);
        println!("building llama-server in {}", build.display());
        process::run(
            venv.command(venv.program("cmake"))?
                .arg("-B")
                .arg(&build)
                .arg("-S")
                .arg(source)
                .args([
                    "-DLLAMA_BUILD_SERVER=ON",
                    "-DLLAMA_BUILD_UI=OFF",
                    "-DLLAMA_USE_PREBUILT_UI=OFF",
                ]),
        )?;
        process::run(
            venv.command(venv.program("cmake"))?
                .arg("--build")
                .arg(&build)
                .args(["--target", "llama-server"]),
        )?;
        Ok(server)
    }

    /// Prefill 512 and decode 128, once, after its own warm-up.
    pub fn bench(&self, model: &Path, threads: usize, options: &[String]) -> Result<BenchRun> {
        let mut command = Command::new(self.program("llama-bench"));
        command
            .arg("-m")
            .arg(model)
            .args(["-t", &threads.to_string()])
            .args(["-p", "512", "-n", "128", "-r", "1", "-o", "json"])
            .args(options);
        let measured = measure::run(&mut command)?;
        let mut run = parse_bench(&measured.stdout)?;
        run.peak_rss_bytes = measured.peak_rss_bytes;
        Ok(run)
    }

    /// Tokens per second of `sequences` sequences generating together, each after a prompt of 64 tokens.
    pub fn batch(
        &self,
        model: &Path,
        threads: usize,
        sequences: usize,
        options: &[String],
    ) -> Result<f64> {
        let mut command = Command::new(self.program("llama-batched-bench"));
        command
            .arg("-m")
            .arg(model)
            .args(["-t", &threads.to_string()])
            .args(["-c", &(sequences * 128).to_string()])
            .args(["-npp", "64", "-ntg", "64", "-npl", &sequences.to_string()])
            .args(["--output-format", "jsonl"])
            .args(options);
        parse_batch(&process::capture(&mut command)?)
    }

    /// Load times through a small program of ours that links to llama.cpp; `None` where only its programs are at hand.
    pub fn load_times(&self, model: &Path, threads: usize) -> Result<Option<LoadTimes>> {
        let Some(source) = &self.source else {
            return Ok(None);
        };
        let program = self.build_loader(source)?;
        let text = process::capture(Command::new(program).arg(model).arg(threads.to_string()))?;
        Ok(Some(serde_json::from_str(&text).with_context(|| {
            format!("llama_load printed {text:?}, not its times")
        })?))
    }

    fn build_loader(&self, source: &Path) -> Result<PathBuf> {
        let program = process::ref_dir()?.join("llama_load");
        let ours = process::root().join("crates/xtask/peer/llama_load.cpp");
        let changed = |path: &Path| {
            std::fs::metadata(path)
                .and_then(|data| data.modified())
                .ok()
        };
        let library = self.program("llama-bench");
        if changed(&program) > changed(&ours).max(changed(&library)) {
            return Ok(program);
        }
        let include = |folder: &str| {
            let mut flag = std::ffi::OsString::from("-I");
            flag.push(source.join(folder));
            flag
        };
        let with_bin = |flag: &str| {
            let mut flag = std::ffi::OsString::from(flag);
            flag.push(&self.bin);
            flag
        };
        process::run(
            Command::new("c++")
                .args(["-O2", "-std=c++17", "-o"])
                .arg(&program)
                .arg(&ours)
                .arg(include("include"))
                .arg(include("ggml/include"))
                .arg(with_bin("-L"))
                .arg(with_bin("-Wl,-rpath,"))
                .args(["-lllama", "-lggml", "-lggml-base"]),
        )?;
        Ok(program)
    }

    /// Perplexity by llama-perplexity's own protocol.
    pub fn perplexity(
        &self,
        model: &Path,
        text: &Path,
        context: usize,
        threads: usize,
    ) -> Result<f64> {
        let output = Command::new(self.program("llama-perplexity"))
            .arg("-m")
            .arg(model)
            .arg("-f")
            .arg(text)
            .args(["-c", &context.to_string(), "-t", &threads.to_string()])
            .stdin(std::process::Stdio::null())
            .output()
            .context("cannot start llama-perplexity")?;
        let all = [output.stdout, output.stderr].concat();
        let all = String::from_utf8_lossy(&all);
        if !output.status.success() {
            bail!("llama-perplexity ended with {}:\n{all}", output.status);
        }
        parse_perplexity(&all)
    }
}

/// Reads the JSON of llama-bench; memory is filled in by the caller.
pub fn parse_bench(text: &str) -> Result<BenchRun> {
    let entries: Vec<BenchEntry> =
        serde_json::from_str(text).context("llama-bench printed something unexpected")?;
    let speed = |wanted: &dyn Fn(&BenchEntry) -> bool, what: &str| {
        entries
            .iter()
            .find(|entry| wanted(entry))
            .map(|entry| entry.avg_ts)
            .with_context(|| format!("llama-bench printed no {what} test"))
    };
    let prefill_tok_s = speed(&|entry| entry.n_prompt > 0 && entry.n_gen == 0, "prompt")?;
    let decode_tok_s = speed(
        &|entry| entry.n_gen > 0 && entry.n_prompt == 0,
        "generation",
    )?;
    let first = &entries[0];
    Ok(BenchRun {
        commit: first.build_commit.clone(),
        model_bytes: first.model_size,
        prefill_tok_s,
        decode_tok_s,
        peak_rss_bytes: 0,
    })
}

/// Reads the generation speed out of the JSON lines of llama-batched-bench.
pub fn parse_batch(text: &str) -> Result<f64> {
    #[derive(Deserialize)]
    struct Line {
        speed_tg: f64,
    }
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with('{'))
        .with_context(|| format!("llama-batched-bench printed no result:\n{text}"))?;
    let line: Line =
        serde_json::from_str(line).context("llama-batched-bench printed something unexpected")?;
    Ok(line.speed_tg)
}

/// Reads `Final estimate: PPL = 12.3456 +/- 0.1`.
pub fn parse_perplexity(text: &str) -> Result<f64> {
    let (_, rest) = text
        .split_once("Final estimate: PPL = ")
        .with_context(|| format!("llama-perplexity printed no final estimate:\n{text}"))?;
    let number = rest.split_whitespace().next().unwrap_or_default();
    number
        .parse()
        .with_context(|| format!("llama-perplexity's estimate {number:?} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BENCH: &str = r#"[
      { "build_commit": "0c1e570", "build_number": 1, "cpu_info": "AMD EPYC", "model_size": 96576768,
        "model_n_params": 134515008, "n_threads": 2, "n_prompt": 512, "n_gen": 0, "avg_ns": 1443612934,
        "avg_ts": 281.5, "stddev_ts": 0.0, "samples_ts": [ 281.5 ] },
      { "build_commit": "0c1e570", "build_number": 1, "cpu_info": "AMD EPYC", "model_size": 96576768,
        "model_n_params": 134515008, "n_threads": 2, "n_prompt": 0, "n_gen": 128, "avg_ns": 734166076,
        "avg_ts": 112.25, "stddev_ts": 0.0, "samples_ts": [ 112.25 ] }
    ]"#;

    #[test]
    fn reads_llama_bench() {
        let run = parse_bench(BENCH).unwrap();
        assert_eq!(run.commit, "0c1e570");
        assert_eq!(run.model_bytes, 96_576_768);
        assert_eq!((run.prefill_tok_s, run.decode_tok_s), (281.5, 112.25));
    }

    #[test]
    fn refuses_incomplete_output() {
        let only_prompt = BENCH.replace("\"n_gen\": 128", "\"n_gen\": 0");
        let error = parse_bench(&only_prompt).unwrap_err().to_string();
        assert_eq!(error, "llama-bench printed no generation test");
        assert!(parse_bench("[]").is_err());
        assert!(parse_bench("error: no model").is_err());
    }

    #[test]
    fn reads_llama_batched_bench() {
        let text = "\nnoise\n{\"n_kv_max\": 1024, \"pp\": 64, \"tg\": 64, \"pl\": 8, \"speed_pp\": 61.7, \"t_tg\": 1.5, \"speed_tg\": 187.5, \"speed\": 53.8}\n";
        assert_eq!(parse_batch(text).unwrap(), 187.5);
        assert!(parse_batch("main: error").is_err());
    }

    #[test]
    fn reads_llama_perplexity() {
        let text = "[1]13.2,[2]14.1,\nFinal estimate: PPL = 17.5322 +/- 0.29410\n";
        assert_eq!(parse_perplexity(text).unwrap(), 17.5322);
        assert!(parse_perplexity("[1]13.2").is_err());
    }
}
