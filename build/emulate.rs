//! Feature `emulate`: compiles the kernels as C++ for the host, with the emulator, and links them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use super::prototypes::Source;
use super::{shims, work};

/// Compiles what has changed and links everything.
///
/// # Errors
/// What the compiler says.
pub fn build(sources: &[Source], kernels: &Path, out: &Path) -> Result<(), String> {
    let out = out.join("emulate");
    fs::create_dir_all(&out).map_err(|e| cannot("create", &out, &e))?;
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(2).debug(false).warnings(false).include(kernels).define("DRG_EMULATE", None);
    // One rounding an operation on every host, as the CPU code has it; kernels look at bytes through other types.
    build.flag("-ffp-contract=off").flag("-fno-strict-aliasing").flag("-g0");
    let compiler = build.try_get_compiler().map_err(|e| format!("feature emulate: expected a C++ compiler: {e}"))?;
    if compiler.is_like_msvc() {
        return Err("feature emulate: expected a compiler like g++ or clang++, found MSVC".into());
    }
    let said = Command::new(compiler.path()).arg("--version").output();
    let version = said.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let flags = format!("{:?} {:?} {version}", compiler.path(), compiler.args());

    let mut files = vec![kernels.join("emulate").join("emulate.cpp")];
    for source in sources {
        let file = out.join(format!("{}.cpp", source.stem));
        fs::write(&file, shims::text(source)).map_err(|e| cannot("write", &file, &e))?;
        files.push(file);
    }
    let compile = |file: &PathBuf| {
        let (object, seal) = (out.join(name(file, "o")), out.join(name(file, "hash")));
        let hash = work::hash(&work::with_headers(file, kernels), &[&flags]);
        if object.is_file() && fs::read_to_string(&seal).ok().as_ref() == Some(&hash) {
            return Ok(object);
        }
        let _ = fs::remove_file(&seal);
        run(compiler.to_command().arg("-c").arg(file).arg("-o").arg(&object))?;
        fs::write(&seal, hash).map_err(|e| cannot("write", &seal, &e))?;
        Ok(object)
    };
    let objects = work::parallel(&files, compile).into_iter().collect::<Result<Vec<PathBuf>, String>>()?;

    let archive = out.join("libdrg_kernels.a");
    // `ar` would keep objects of files that are no more.
    let _ = fs::remove_file(&archive);
    let mut archiver = build.try_get_archiver().map_err(|e| format!("feature emulate: expected ar: {e}"))?;
    run(archiver.arg("crs").arg(&archive).args(objects))?;
    println!("cargo:rustc-link-search=native={}", out.display());
    println!("cargo:rustc-link-lib=static=drg_kernels");
    let target = env::var("TARGET").unwrap_or_default();
    let clang = ["apple", "freebsd", "openbsd", "android"].iter().any(|system| target.contains(system));
    println!("cargo:rustc-link-lib={}", if clang { "c++" } else { "stdc++" });
    Ok(())
}

fn name(file: &Path, end: &str) -> PathBuf {
    PathBuf::from(file.file_name().unwrap_or_default()).with_extension(end)
}

fn cannot(what: &str, path: &Path, e: &std::io::Error) -> String {
    format!("cannot {what} {}: {e}", path.display())
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("cannot run {:?}: {e}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    // Not the command as Rust shows it, which has the whole environment.
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|w| w.to_string_lossy()).collect();
    Err(format!("{}\n{}", words.join(" "), String::from_utf8_lossy(&[output.stdout, output.stderr].concat())))
}
