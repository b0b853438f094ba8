//! Compiles `kernels/*.cu` with nvcc: one fatbin a file, with machine code for several GPUs. Nothing here needs a GPU.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use super::prototypes::Source;
use super::ptxas::{self, Usage};
use super::work;

/// Machine code that is made where `DRG_CUDA_ARCHS` does not say: data centre and desktop GPUs since 2020.
const ARCHS: &str = "80,86,89,90a";
/// For GPUs that none of the machine code is for, the driver compiles this itself.
const PTX: &str = "compute_80";
/// Exists in 9.0 only.
const HOPPER: &str = "90a";

/// The compiler.
pub struct Nvcc {
    /// Its program.
    pub path: PathBuf,
    /// All that it says of its version.
    version: String,
}

/// What came of a file.
pub struct Compiled {
    /// Where its fatbin is; none if there is no code in it.
    pub fatbin: Option<PathBuf>,
    /// What every entry needs, for every GPU.
    pub usage: Vec<Usage>,
    /// What makes kernels slow, and errors: lines of text.
    pub complaints: Vec<String>,
    /// Warnings of the compiler: lines of text.
    pub warnings: Vec<String>,
}

impl Nvcc {
    /// Looks for it: `DRG_NVCC`, `CUDA_HOME`, `CUDA_PATH`, `PATH`.
    ///
    /// # Errors
    /// If `DRG_NVCC` names something that does not run.
    pub fn find() -> Result<Option<Self>, String> {
        let var = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(path) = var("DRG_NVCC") {
            let version = version(&path).map_err(|what| format!("DRG_NVCC={}: {what}", path.display()))?;
            return Ok(Some(Self { path, version }));
        }
        let mut folders: Vec<PathBuf> =
            ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(var).map(|home| home.join("bin")).collect();
        folders.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
        let paths = folders.into_iter().map(|f| f.join(format!("nvcc{}", env::consts::EXE_SUFFIX)));
        Ok(paths.filter(|p| p.is_file()).find_map(|path| {
            let version = version(&path).ok()?;
            Some(Self { path, version })
        }))
    }

    /// Its release, e.g. `13.0, V13.0.88`.
    pub fn release(&self) -> &str {
        let after = self.version.split("release ").nth(1).unwrap_or(&self.version);
        after.lines().next().unwrap_or("").trim()
    }

    /// 13 of `13.0, V13.0.88`.
    fn release_number(&self) -> u32 {
        self.release().split('.').next().and_then(|n| n.trim().parse().ok()).unwrap_or(0)
    }

    /// Makes `<out>/<stem>.fatbin`, unless the one that is there is still right.
    pub fn compile(&self, source: &Source, archs: &[String], kernels: &Path, out: &Path) -> Compiled {
        let archs: Vec<&str> = archs.iter().map(String::as_str).filter(|&a| !source.sm90() || a == HOPPER).collect();
        let mut compiled = Compiled { fatbin: None, usage: vec![], complaints: vec![], warnings: vec![] };
        if archs.is_empty() {
            return compiled;
        }
        let mut flags: Vec<String> =
            ["-O3", "-std=c++17", "-lineinfo", "--fatbin", "-Xptxas=-warn-spills,-v"].map(String::from).into();
        // An eighth of the size. Drivers for the CUDA of such an nvcc unpack it; older ones are refused anyhow.
        if self.release_number() >= 13 {
            flags.push("--compress-mode=size".into());
        }
        flags.extend(archs.iter().flat_map(|a| ["-gencode".into(), format!("arch=compute_{a},code=sm_{a}")]));
        if !source.sm90() {
            flags.extend(["-gencode".into(), format!("arch={PTX},code={PTX}")]);
        }
        let path = |end: &str| out.join(format!("{}.{end}", source.stem));
        let (fatbin, log, seal) = (path("fatbin"), path("log"), path("hash"));
        let file = kernels.join(format!("{}.cu", source.stem));
        let mut files = work::with_headers(&file, kernels);
        // The emulator's header is named in ours, but nvcc does not read it.
        files.retain(|f| !f.starts_with(kernels.join("emulate")));
        let hash = work::hash(&files, &[&flags.join(" "), &self.version]);
        if !fatbin.is_file() || !log.is_file() || fs::read_to_string(&seal).ok().as_ref() != Some(&hash) {
            // While this is not done, what is there counts as nothing.
            let _ = fs::remove_file(&seal);
            let mut command = Command::new(&self.path);
            command.args(&flags).arg("-I").arg(kernels).arg(&file).arg("-o").arg(&fatbin);
            let said = match command.output() {
                Ok(output) => {
                    let text = [output.stdout, output.stderr].concat();
                    let text = String::from_utf8_lossy(&text).into_owned();
                    if output.status.success() { Ok(text) } else { Err(text) }
                }
                Err(e) => Err(format!("cannot run {}: {e}", self.path.display())),
            };
            let written = said.and_then(|text| {
                let all = fs::write(&log, text).and_then(|()| fs::write(&seal, hash));
                all.map_err(|e| format!("cannot write to {}: {e}", out.display()))
            });
            if let Err(what) = written {
                compiled.complaints.push(format!("nvcc cannot compile kernels/{}.cu", source.stem));
                compiled.complaints.extend(what.lines().filter(|l| !l.trim().is_empty()).map(String::from));
                return compiled;
            }
        }
        let text = fs::read_to_string(&log).unwrap_or_default();
        compiled.usage = ptxas::usage(&text);
        compiled.complaints = ptxas::complaints(&text, &compiled.usage);
        compiled.warnings = text.lines().filter(|l| l.contains("warning #")).map(String::from).collect();
        compiled.fatbin = Some(fatbin);
        compiled
    }
}

fn version(nvcc: &Path) -> Result<String, String> {
    let output = Command::new(nvcc).arg("--version").output().map_err(|e| format!("expected nvcc: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() && text.contains("release ") {
        Ok(text)
    } else {
        Err(format!("expected nvcc, found a program whose --version says '{}'", text.lines().next().unwrap_or("")))
    }
}

/// The list of `DRG_CUDA_ARCHS`, such as `80,90a`.
///
/// # Errors
/// If one of them is not a compute capability of 8.0 or later.
pub fn archs() -> Result<Vec<String>, String> {
    let text = env::var("DRG_CUDA_ARCHS").ok().filter(|t| !t.trim().is_empty()).unwrap_or_else(|| ARCHS.into());
    let archs: Vec<String> = text.split(',').map(|a| a.trim().to_string()).collect();
    for (i, arch) in archs.iter().enumerate() {
        let number: Option<u32> = arch.strip_suffix(['a', 'f']).unwrap_or(arch).parse().ok();
        if number.is_none_or(|n| n < 80) || archs[..i].contains(arch) {
            return Err(format!(
                "DRG_CUDA_ARCHS={text}: expected different compute capabilities of 80 or more between commas, e.g. {ARCHS}; \
                 found '{arch}'"
            ));
        }
    }
    Ok(archs)
}
