//! Reads the prototypes of the kernels, compiles them where there is nvcc, and writes the tables that `src/device/kernels.rs`
//! includes. CONTRIBUTING.md has the variables that it listens to.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a build script speaks to cargo in this way")]

#[cfg(feature = "emulate")]
#[path = "build/emulate.rs"]
mod emulate;
#[path = "build/nvcc.rs"]
mod nvcc;
#[path = "build/prototypes.rs"]
mod prototypes;
#[path = "build/ptxas.rs"]
mod ptxas;
#[cfg(feature = "emulate")]
#[path = "build/shims.rs"]
mod shims;
#[path = "build/table.rs"]
mod table;
#[path = "build/work.rs"]
mod work;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use nvcc::Nvcc;
use prototypes::Source;

fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=kernels");
    // Not PATH, which differs between a shell and an editor: everything would be compiled again at every change of window.
    for name in ["DRG_NVCC", "CUDA_HOME", "CUDA_PATH", "DRG_CUDA_ARCHS", "DRG_REQUIRE_CUDA", "DRG_PTXAS_REPORT"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("error: {what}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let folder = |name| env::var_os(name).map(PathBuf::from).ok_or_else(|| format!("{name}: cargo sets it"));
    let (kernels, out) = (folder("CARGO_MANIFEST_DIR")?.join("kernels"), folder("OUT_DIR")?);
    let sources = read(&kernels)?;
    compile(&sources, &kernels, &out)?;
    #[cfg(feature = "emulate")]
    emulate::build(&sources, &kernels, &out)?;
    Ok(())
}

/// The prototypes of all files, in the order of their names.
fn read(kernels: &Path) -> Result<Vec<Source>, String> {
    let cannot = |path: &Path, e| format!("cannot read {}: {e}", path.display());
    let mut files: Vec<PathBuf> = vec![];
    for entry in fs::read_dir(kernels).map_err(|e| cannot(kernels, e))? {
        files.push(entry.map_err(|e| cannot(kernels, e))?.path());
    }
    files.sort();
    let (mut sources, mut wrong) = (vec![], vec![]);
    for file in files {
        let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let kind = part(file.extension());
        if kind != "cu" && kind != "cuh" {
            continue;
        }
        let text = fs::read_to_string(&file).map_err(|e| cannot(&file, e))?;
        if kind == "cuh" {
            wrong.extend(prototypes::check_header(&part(file.file_name()), &text).err());
        } else {
            match Source::parse(&part(file.file_stem()), &text) {
                Ok(source) => sources.push(source),
                Err(what) => wrong.push(what),
            }
        }
    }
    wrong.extend(prototypes::check_names(&sources).err());
    if wrong.is_empty() { Ok(sources) } else { Err(wrong.join("\nerror: ")) }
}

/// Compiles the kernels for GPUs and writes the tables.
fn compile(sources: &[Source], kernels: &Path, out: &Path) -> Result<(), String> {
    let required = env::var("DRG_REQUIRE_CUDA").is_ok_and(|v| !["", "0"].contains(&v.as_str()));
    let archs = nvcc::archs()?;
    let nvcc = Nvcc::find()?;
    let (mut fatbins, mut usage, mut complaints) = (vec![], vec![], vec![]);
    if let Some(nvcc) = &nvcc {
        println!("cargo:rerun-if-changed={}", nvcc.path.display());
        let compiled = work::parallel(sources, |source| nvcc.compile(source, &archs, kernels, out));
        for (source, compiled) in sources.iter().zip(compiled) {
            fatbins.extend(compiled.fatbin.map(|_| source.stem.as_str()));
            usage.extend(compiled.usage);
            complaints.extend(compiled.complaints);
            for line in compiled.warnings {
                println!("cargo:warning={line}");
            }
        }
    } else {
        complaints.push(
            "no nvcc, so no kernels for GPUs: set DRG_NVCC to its path, or CUDA_HOME, and build again; CONTRIBUTING.md says how \
             to get one without a GPU"
                .into(),
        );
    }
    let built = table::Built {
        release: nvcc.as_ref().map(Nvcc::release),
        archs: if nvcc.is_some() { &archs } else { &[] },
        fatbins: &fatbins,
    };
    write(&out.join("kernels.rs"), &table::rust(sources, &built))?;
    usage.sort_by(|a, b| (&a.entry, &a.arch).cmp(&(&b.entry, &b.arch)));
    let report = ptxas::table(&usage);
    write(&out.join("ptxas.txt"), &report)?;
    if let Some(path) = env::var_os("DRG_PTXAS_REPORT").filter(|p| !p.is_empty()) {
        write(Path::new(&path), &report)?;
    }
    if required && !complaints.is_empty() {
        return Err(format!("DRG_REQUIRE_CUDA is set, and\n{}", complaints.join("\n")));
    }
    for line in complaints {
        println!("cargo:warning={line}");
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}
