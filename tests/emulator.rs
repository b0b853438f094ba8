//! The emulator of kernels tests itself: `kernels/emulate/selftest.cpp` compiled and run with several seeds, and what must not
//! compile.

#![cfg(feature = "emulate")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests; a skipped test says so")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn kernels() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels")
}

/// The C++ compiler with the emulator's flags; none, said aloud, where there is no compiler.
fn compiler() -> Option<Command> {
    let program = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    if let Err(e) = Command::new(&program).arg("--version").output() {
        eprintln!("skipped: no C++ compiler `{program}`: {e}");
        return None;
    }
    let mut command = Command::new(program);
    command.args(["-std=c++17", "-O2", "-DDRG_EMULATE", "-Wno-unknown-pragmas"]);
    command.args(["-Wno-psabi", "-fno-strict-aliasing", "-ffp-contract=off", "-I"]).arg(kernels());
    Some(command)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn primitives_work_and_planted_faults_are_found() {
    let Some(mut command) = compiler() else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("selftest");
    let emulate = kernels().join("emulate");
    command.arg(emulate.join("selftest.cpp")).arg(emulate.join("emulate.cpp")).arg("-pthread").arg("-o").arg(&program);
    let compiled = command.output().unwrap();
    assert!(compiled.status.success(), "{}", said(&compiled));
    for seed in ["", "1", "2", "12345678901234567890"] {
        let mut command = Command::new(&program);
        command.env_remove("DRG_EMULATE_SEED");
        if !seed.is_empty() {
            command.env("DRG_EMULATE_SEED", seed);
        }
        let ran = command.output().unwrap();
        assert!(ran.status.success(), "seed `{seed}`: {}\n{}", ran.status, said(&ran));
        assert!(said(&ran).contains(" 0 failed"), "seed `{seed}`: {}", said(&ran));
    }
}

#[test]
fn what_hides_faults_does_not_compile() {
    let body = |line: &str| {
        format!(
            "#include \"sm90.cuh\"\nvoid kernel(float* x, double* y, int* n) {{ {line} (void)x; (void)y; (void)n; }}\n"
        )
    };
    let refused = [
        ("atomicAdd(x, 1.0f);", "atomics take int"),
        ("atomicAdd(y, 1.0);", "atomics take int"),
        ("__shared__ float row[8]; row[0] = 0;", "__shared__"),
        ("cp_async<12>(0, x);", "4, 8 or 16 bytes"),
        ("float d[6]; wgmma_ss<bf16, 12>(d, 0, 0, 0);", "256 columns"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kernel.cpp");
    let compile = |text: String| {
        let mut command = compiler()?;
        std::fs::write(&file, text).unwrap();
        Some(command.arg("-fsyntax-only").arg(&file).output().unwrap())
    };
    let Some(fine) = compile(body("atomicAdd(n, 1);")) else { return };
    assert!(fine.status.success(), "{}", said(&fine));
    for (line, what) in refused {
        let Some(output) = compile(body(line)) else { return };
        assert!(!output.status.success() && said(&output).contains(what), "{line}\n{}", said(&output));
    }
}
