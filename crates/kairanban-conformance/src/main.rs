//! `kairanban-conformance http://127.0.0.1:8080 --board main` checks a server, and exits with 1 if
//! it breaks a rule.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser;
use kairanban_conformance::{RuleResult, TestedServer};

#[derive(Parser)]
#[command(
    version,
    about = "Checks a running server against docs/PROTOCOL.md. It posts topics on the board, which \
             stay there."
)]
struct Arguments {
    /// Address of the server to check
    #[arg(default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A board that takes posts
    #[arg(long, default_value = "main")]
    board: String,
    /// A token, if the board requires one
    #[arg(long, env = "KAIRANBAN_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let server = match TestedServer::new(&arguments.url, &arguments.board, arguments.token) {
        Ok(server) => server,
        Err(error) => {
            print(&format!("{}: {error}", arguments.url));
            return ExitCode::FAILURE;
        }
    };
    let results = server.check(report).await;
    let broken = results
        .iter()
        .filter(|result| result.outcome.is_err())
        .count();
    print(&format!("{} rules, {broken} broken", results.len()));
    if broken == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn report(result: &RuleResult) {
    match &result.outcome {
        Ok(()) => print(&format!("ok      {}", result.rule)),
        Err(why) => print(&format!("BROKEN  {}\n        {why}", result.rule)),
    }
}

fn print(line: &str) {
    // Broken pipe: stdout was closed, for example by `head`.
    let _ = writeln!(io::stdout(), "{line}");
}
