//! kairanban, and the floor beneath it.

use std::{env, net::SocketAddr, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::{PublishRequest, StreamRequest, Target, TargetLimits, no_setup, request_once};
use crate::{
    database::Postgres,
    readers::no_greeting,
    wire::{self, Endpoint},
};

/// The stream of a reader of patches.
pub const PATCH_STREAM: StreamRequest = StreamRequest::path("/b/main/stream?format=patch");
/// The stream of a reader of whole lists.
pub const LIST_STREAM: StreamRequest = StreamRequest::path("/b/main/stream?format=list");

/// How kairanban is run.
#[derive(Clone, Debug, Default)]
pub struct Kairanban {
    /// The database; a SQLite file of its own if `None`.
    pub database_url: Option<String>,
    /// Further settings, as in `("STREAM__DETACHED", "false")`.
    pub settings: Vec<(&'static str, String)>,
}

impl Kairanban {
    /// Returns the default set-up with one setting, as in `("STREAM__DETACHED", "false")`.
    #[must_use]
    pub fn with(key: &'static str, value: &str) -> Self {
        Self {
            settings: vec![(key, value.to_owned())],
            ..Self::default()
        }
    }

    /// Returns the default set-up on a new database of `postgres`.
    ///
    /// # Errors
    /// If the database cannot be created.
    pub fn on(postgres: &Postgres) -> Result<Self> {
        Ok(Self {
            database_url: Some(postgres.create_database()?),
            ..Self::default()
        })
    }

    /// Returns the command that starts the `kairanban` beside this program.
    ///
    /// # Errors
    /// If the path of this program is not known.
    pub fn command(&self, folder: &Path, address: SocketAddr) -> Result<Command> {
        let bench = env::current_exe()?;
        let mut command = Command::new(bench.parent().context("no folder")?.join("kairanban"));
        command
            .env("KAIRANBAN_SERVER__LISTEN", address.to_string())
            .env("KAIRANBAN_SERVER__DATA_DIR", folder)
            // All readers come from here; the limits stay on.
            .env("KAIRANBAN_LIMITS__STREAMS_MAX", "16000")
            .env("KAIRANBAN_LIMITS__CONNECTIONS_MAX", "3500")
            .env("KAIRANBAN_LIMITS__STREAMS_PER_CLIENT_MAX", "18000")
            .env("KAIRANBAN_LIMITS__CONNECTIONS_PER_CLIENT_MAX", "18000")
            .env("KAIRANBAN_LIMITS__POSTS_PER_CLIENT_PER_S", "1000000")
            .env("KAIRANBAN_LIMITS__POSTS_PER_CLIENT_BURST", "1000000")
            .env("KAIRANBAN_LIMITS__READS_PER_CLIENT_PER_S", "1000000")
            .env("KAIRANBAN_LIMITS__READS_PER_CLIENT_BURST", "1000000")
            // The server refuses variables that it does not know.
            .env_remove("KAIRANBAN_BENCH_PYTHON")
            .env("RUST_LOG", "warn")
            .stderr(std::process::Stdio::inherit());
        if let Some(url) = &self.database_url {
            command.env("DATABASE_URL", url);
        }
        let settings = self.settings.iter();
        command.envs(settings.map(|(key, value)| (format!("KAIRANBAN_{key}"), value)));
        Ok(command)
    }
}

/// Returns kairanban, with readers of patches.
#[must_use]
pub fn kairanban(name: &'static str, setup: Kairanban) -> Target {
    Target {
        name,
        missing: None,
        command: Box::new(move |folder, address| setup.command(folder, address)),
        ready_path: "/readyz",
        prepare: no_setup,
        stream: PATCH_STREAM,
        greet: no_greeting,
        publish: PublishRequest::text("/"),
        text_bytes: 140,
        is_ours: true,
        limits: TargetLimits::NONE,
    }
}

/// Returns kairanban with a private board, whose readers show a token.
#[must_use]
pub fn kairanban_private() -> Target {
    Target {
        prepare: make_private,
        ..kairanban("kairanban with a private board", Kairanban::default())
    }
}

fn make_private(folder: &Path, address: SocketAddr) -> Result<Endpoint> {
    let output = Kairanban::default()
        .command(folder, address)?
        .args(["token", "create", "--scope", "admin"])
        .output()?;
    ensure!(output.status.success(), "no token: {}", output.status);
    let endpoint = Endpoint {
        address,
        token: Some(String::from_utf8(output.stdout)?.trim().to_owned()),
    };
    let private = r#"{"read":"token","post":"token"}"#;
    let request = wire::with_body(
        "PATCH",
        &endpoint,
        "/api/v1/boards/main",
        "application/json",
        "",
        private,
    );
    request_once(address, &request)?;
    Ok(endpoint)
}

/// Returns this program itself, as nothing but a write loop.
#[must_use]
pub fn floor() -> Target {
    Target {
        name: "floor: one bare write loop",
        missing: None,
        command: Box::new(|_, address| {
            let mut command = Command::new(env::current_exe()?);
            command.args(["floor", &address.to_string()]);
            Ok(command)
        }),
        ready_path: "/sub",
        prepare: no_setup,
        stream: StreamRequest::path("/sub"),
        greet: no_greeting,
        publish: PublishRequest::text("/pub"),
        // The size of kairanban's patch for a comment of 140 bytes; see the column of bytes.
        text_bytes: 426,
        is_ours: false,
        limits: TargetLimits::NONE,
    }
}
