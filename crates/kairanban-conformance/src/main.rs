//! `kairanban-conformance http://127.0.0.1:8080 --board main`: checks a server; ends with 1 if it breaks a rule.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser;
use kairanban_conformance::{Server, Verdict};

#[derive(Parser)]
#[command(
    version,
    about = "Checks a running server against docs/PROTOCOL.md. It posts on the board, and what it \
        posts stays there."
)]
struct Arguments {
    /// The server's address
    #[arg(default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A board that takes posts
    #[arg(long, default_value = "main")]
    board: String,
    /// A token, if the board takes one
    #[arg(long, env = "KAIRANBAN_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let server = match Server::new(&arguments.url, &arguments.board, arguments.token) {
        Ok(server) => server,
        Err(error) => {
            say(&format!("{}: {error}", arguments.url));
            return ExitCode::FAILURE;
        }
    };
    let verdicts = server.check(tell).await;
    let broken = verdicts
        .iter()
        .filter(|verdict| verdict.outcome.is_err())
        .count();
    say(&format!("{} rules, {broken} broken", verdicts.len()));
    if broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn tell(verdict: &Verdict) {
    match &verdict.outcome {
        Ok(()) => say(&format!("ok      {}", verdict.rule)),
        Err(why) => say(&format!("BROKEN  {}\n        {why}", verdict.rule)),
    }
}

fn say(line: &str) {
    // Whoever closed the pipe has heard enough.
    let _ = writeln!(io::stdout(), "{line}");
}
