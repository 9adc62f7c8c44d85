//! Programs that are not ours: libraries that read streams, linters of the OpenAPI document, and
//! clients made from it.
//!
//! They take what `scripts/setup clients` installs, so they run only when they are asked for:
//! `scripts/test clients`.

mod document;
mod following;
mod generated;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The folder of the programs' sources, and of their Node modules.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// Returns the command for a program in the folder of what `scripts/setup clients` installed.
fn installed(program: &str) -> Command {
    let tools = env::var("KAIRANBAN_TEST_CLIENTS")
        .expect("KAIRANBAN_TEST_CLIENTS; scripts/test clients sets it");
    alone(Command::new(Path::new(&tools).join(program)))
}

/// Returns the command for a program of the Node modules.
fn node_module(program: &str) -> Command {
    alone(Command::new(source("npm/node_modules/.bin").join(program)))
}

fn source(name: &str) -> PathBuf {
    Path::new(SOURCES).join(name)
}

/// Whatever proxy the machine uses, the board is on the machine itself; nothing is written beside
/// the sources, or reported.
fn alone(mut command: Command) -> Command {
    command
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-buildvcs=false")
        .env("REDOCLY_TELEMETRY", "off")
        .env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true");
    command
}

fn run(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; scripts/test clients installs it"))
}

/// Runs a command. Returns what it said, as an error if it failed.
fn attempt(command: &mut Command) -> Result<String, String> {
    let output = run(command);
    let said = said(&output);
    if output.status.success() {
        Ok(said)
    } else {
        Err(format!("{command:?}\n{said}"))
    }
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .concat()
}
