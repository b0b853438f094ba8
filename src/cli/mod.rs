//! The command line: thin verbs; the only place that prints, exits or reads arguments.

/// Runs the program.
pub fn run() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
