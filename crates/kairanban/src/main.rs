//! The program: reads the command line, does what it says, and gives the exit code.

use std::process::ExitCode;

use clap::Parser as _;
use kairanban::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
