//! The `drg` program: everything is in `drg::cli`.

fn main() -> std::process::ExitCode {
    drg::cli::run()
}
