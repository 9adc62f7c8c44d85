//! The program: reads the command line, does what it says, and gives the exit code.

use std::process::ExitCode;

use clap::Parser as _;
use kairanban::cli::Cli;
use mimalloc::MiMalloc;

/// Gives memory back that a crowd of connections took while it came in, and takes a quarter less for each
/// that stays; docs/BENCHMARKS.md has the figures.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
