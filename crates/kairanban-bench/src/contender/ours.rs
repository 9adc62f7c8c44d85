//! kairanban, and the floor beneath it.

use std::{env, net::SocketAddr, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::{Bounds, Contender, any_bytes_will_do, ask, nothing_to_prepare};
use crate::wire::{self, Door};

/// What a reader of patches asks kairanban for.
pub const PATCH: fn(&Door) -> Vec<u8> = |door| wire::get(door, "/b/main/stream?format=patch", "");
/// The same of one of whole lists.
pub const LIST: fn(&Door) -> Vec<u8> = |door| wire::get(door, "/b/main/stream?format=list", "");

/// How kairanban is run.
#[derive(Clone, Debug, Default)]
pub struct Kairanban {
    /// A database of its own; SQLite in the folder if there is none.
    pub database_url: Option<String>,
    /// Further settings, as in `("STREAM__DETACHED", "false")`.
    pub settings: Vec<(&'static str, String)>,
}

impl Kairanban {
    /// The command that starts it. The program is the one beside this one.
    ///
    /// # Errors
    /// If this program does not know where it lies.
    pub fn command(&self, folder: &Path, address: SocketAddr) -> Result<Command> {
        let own = env::current_exe()?;
        let mut command = Command::new(own.parent().context("no folder")?.join("kairanban"));
        command
            .env("KAIRANBAN_SERVER__LISTEN", address.to_string())
            .env("KAIRANBAN_SERVER__DATA_DIR", folder)
            // All readers come from here; the limits stay on.
            .env("KAIRANBAN_LIMITS__STREAMS_MAX", "18000")
            .env("KAIRANBAN_LIMITS__STREAMS_PER_CLIENT_MAX", "18000")
            .env("KAIRANBAN_LIMITS__CONNECTIONS_PER_CLIENT_MAX", "18000")
            .env("KAIRANBAN_LIMITS__POSTS_PER_CLIENT_PER_S", "1000000")
            .env("KAIRANBAN_LIMITS__POSTS_PER_CLIENT_BURST", "1000000")
            // The server refuses variables that it does not know.
            .env_remove("KAIRANBAN_BENCH_PYTHON")
            .env("RUST_LOG", "warn")
            .stderr(std::process::Stdio::inherit());
        if let Some(url) = &self.database_url {
            command.env("DATABASE_URL", url);
        }
        command.envs(
            self.settings
                .iter()
                .map(|(key, value)| (format!("KAIRANBAN_{key}"), value)),
        );
        Ok(command)
    }
}

/// kairanban, read as `format=patch`.
#[must_use]
pub fn kairanban(name: &'static str, how: Kairanban) -> Contender {
    Contender {
        name,
        missing: None,
        command: Box::new(move |folder, address| how.command(folder, address)),
        ready: "/readyz",
        prepare: nothing_to_prepare,
        subscribe: PATCH,
        greet: any_bytes_will_do,
        publish: |door, text| wire::post(door, "/", "text/plain", "", text),
        publish_port: 0,
        text_bytes: 140,
        is_ours: true,
        bounds: Bounds::NONE,
    }
}

/// The same, of a board that only those may read who show a token.
#[must_use]
pub fn kairanban_private() -> Contender {
    Contender {
        prepare: make_private,
        ..kairanban("kairanban with a private board", Kairanban::default())
    }
}

fn make_private(folder: &Path, address: SocketAddr) -> Result<Door> {
    let output = Kairanban::default()
        .command(folder, address)?
        .args(["token", "create", "--scope", "admin"])
        .output()?;
    ensure!(output.status.success(), "no token: {}", output.status);
    let door = Door {
        address,
        token: Some(String::from_utf8(output.stdout)?.trim().to_owned()),
    };
    let private = r#"{"read":"token","post":"token"}"#;
    ask(
        address,
        &wire::with_body(
            "PATCH",
            &door,
            "/api/v1/boards/main",
            "application/json",
            "",
            private,
        ),
    )?;
    Ok(door)
}

/// This program itself, as nothing but a write loop.
#[must_use]
pub fn floor() -> Contender {
    Contender {
        name: "floor: one bare write loop",
        missing: None,
        command: Box::new(|_, address| {
            let mut command = Command::new(env::current_exe()?);
            command.args(["floor", &address.to_string()]);
            Ok(command)
        }),
        ready: "/sub",
        prepare: nothing_to_prepare,
        subscribe: |door| wire::get(door, "/sub", ""),
        greet: any_bytes_will_do,
        publish: |door, text| wire::post(door, "/pub", "text/plain", "", text),
        publish_port: 0,
        // What kairanban's patch of a comment of 140 bytes comes to; see the column of bytes.
        text_bytes: 426,
        is_ours: false,
        bounds: Bounds::NONE,
    }
}
