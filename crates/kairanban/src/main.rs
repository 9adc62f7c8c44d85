//! The program: runs the command line, and returns the exit code.

use std::process::ExitCode;

use kairanban::cli::Cli;
use mimalloc::MiMalloc;

/// Returns memory that many connections took while they were opened, and takes a quarter less for
/// each that stays; docs/BENCHMARKS.md has the figures.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match Cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
