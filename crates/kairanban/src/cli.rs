//! Parses the command line, and runs its commands.

mod boards;
mod console;
mod post;
mod remote;
mod tail;
mod token;
mod usage;

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    config::{self, Config, ConfigError, Overrides, SecretText},
    exit::ExitError,
    server::{self, ListeningServer},
    shutdown, start, telemetry,
};

use boards::ListBoards;
use post::Post;
use tail::Tail;
use token::TokenCommand;

/// Explains what all commands have in common.
const HELP: &str = "\
Without a command the board is served. `kairanban COMMAND --help` has examples, and explains what a
command prints and its exit status: 0 is success, 1 a failure that a retry may mend, 2 a mistake in
the command line, 69 a server that cannot be reached, 78 a mistake in the configuration, 130 Ctrl-C.
NO_COLOR in the environment turns colours off; RUST_LOG says what is logged, on stderr.";

/// A live bulletin board server: every committed write appears on every open stream.
#[derive(Debug, Parser)]
#[command(version, about, after_help = HELP)]
pub struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Option<CliCommand>,
}

#[derive(Args, Debug)]
struct Settings {
    /// Configuration file (TOML)
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on, as in 0.0.0.0:8080
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
    /// `postgres://…` or `sqlite://path`
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<SecretText>,
}

#[derive(Clone, Debug, Subcommand)]
enum CliCommand {
    /// Serve the board (the default)
    Serve,
    /// Bring the database to this version's schema, then stop
    Migrate {
        /// Invalidate every cursor that was sent before, as after restoring a backup; restart the
        /// servers then
        #[arg(long)]
        new_epoch: bool,
    },
    /// List the boards of a running server
    #[command(after_long_help = boards::HELP)]
    Boards(ListBoards),
    /// Post on a board of a running server
    #[command(after_long_help = post::HELP)]
    Post(Post),
    /// Follow a board of a running server
    #[command(after_long_help = tail::HELP)]
    Tail(Box<Tail>),
    /// Create, list and revoke tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Check the configuration, or print the defaults
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum ConfigCommand {
    /// Check file, environment, flags and database, and print the effective configuration; creates
    /// and changes nothing
    Check,
    /// Print every key with its default
    Default,
}

impl Settings {
    /// Loads the configuration, with these settings on top.
    fn load(self) -> Result<Config, ConfigError> {
        let overrides = Overrides {
            file: self.config,
            listen: self.listen,
            database_url: self.database_url,
        };
        Config::load(&overrides, config::environment()?)
    }
}

impl Cli {
    /// Runs the command of this process's command line.
    ///
    /// # Errors
    /// If the command line or the configuration is wrong, or the command fails.
    pub fn run() -> Result<(), ExitError> {
        match Self::try_parse() {
            Ok(cli) => cli.run_command(),
            Err(error) if error.use_stderr() => Err(ExitError::Usage(usage::explain(&error))),
            // Help, or the version. Without a reader there is nothing to do.
            Err(help) => {
                let _ = help.print();
                Ok(())
            }
        }
    }

    fn run_command(self) -> Result<(), ExitError> {
        let settings = self.settings;
        match self.command.unwrap_or(CliCommand::Serve) {
            CliCommand::Serve => serve(&settings.load()?),
            CliCommand::Migrate { new_epoch } => run_migrations(&settings.load()?, new_epoch),
            CliCommand::Token(command) => {
                let _log = telemetry::start();
                command.run(&server::open_current_store(&settings.load()?)?)
            }
            CliCommand::Boards(boards) => on_a_server(boards.run(&settings.load()?.here())),
            CliCommand::Post(post) => on_a_server(post.run(&settings.load()?.here())),
            CliCommand::Tail(tail) => on_a_server(tail.run(&settings.load()?.here())),
            CliCommand::Config(ConfigCommand::Check) => check(&settings.load()?),
            CliCommand::Config(ConfigCommand::Default) => say(config::DEFAULT),
        }
    }
}

fn serve(config: &Config) -> Result<(), ExitError> {
    let log = telemetry::start();
    let database = config.address()?;
    actix_web::rt::System::new().block_on(async {
        let server = ListeningServer::build(config, log.health().clone())?;
        // Before the banner: a program that waits for it may end the server at once.
        let mut signals = shutdown::Signals::new()?;
        let url = format!("http://{}", server.address());
        let banner = format!(
            "kairanban is at {url}  (database: {database})\n\n  \
             open   {url}/\n  \
             watch  curl -N {url}/topic_stream/\n  \
             post   curl -d comment=hello {url}/\n\n\
             Press Ctrl-C to stop.\n"
        );
        if !telemetry::try_print(io::stdout(), &banner) {
            tracing::warn!(url, "serving, but stdout takes nothing");
        }
        server
            .run_until(async || signals.next().await.map(drop))
            .await
    })
}

fn check(config: &Config) -> Result<(), ExitError> {
    say(&format!("{config:#?}\n"))?;
    let notes = start::examine(config)?;
    say(&notes
        .iter()
        .map(|note| format!("Note: {note}.\n"))
        .collect::<String>())?;
    say("The configuration is valid.\n")
}

fn on_a_server(talk: impl Future<Output = Result<(), ExitError>>) -> Result<(), ExitError> {
    let _log = telemetry::start_quietly();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(talk);
    // Its thread may wait for a reader of stdout.
    runtime.shutdown_background();
    ended
}

fn run_migrations(config: &Config, new_epoch: bool) -> Result<(), ExitError> {
    let _log = telemetry::start();
    let (address, ran) = (
        config.listen_address()?,
        start::migrate_only(config, new_epoch)?,
    );
    let epoch = if new_epoch {
        "A new epoch began.\n"
    } else {
        ""
    };
    match ran.len() {
        0 => say(&format!("{address} is up to date.\n{epoch}")),
        _ => say(&format!(
            "{address} was migrated: {}\n{epoch}",
            ran.join(", ")
        )),
    }
}

/// Prints a text. That its reader has gone, as `head` does, is no error.
fn say(text: &str) -> Result<(), ExitError> {
    match print(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => Ok(printed?),
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
