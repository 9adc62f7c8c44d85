//! `kairanban-bench`: measures kairanban, a bare write loop and its peers. `scripts/bench` builds
//! both programs and runs it; docs/BENCHMARKS.md has the figures.
//!
//! All load stays on the loopback network, is bounded in number and time, and ends by itself.

mod chart;
mod database;
mod floor;
mod http_connection;
mod measure;
mod process;
mod publisher;
mod readers;
mod report;
mod saturate;
mod schedule;
mod statistics;
mod target;
mod wire;
mod worker_process;

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
};

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};

use database::Postgres;
use measure::{fan_out, growth, reads, slow, small, writes};
use report::Results;
use target::{Kairanban, Target, kairanban, peers};

#[derive(Parser)]
#[command(
    version,
    about = "Measures kairanban beside a bare write loop and its peers, on the loopback network"
)]
struct BenchArgs {
    /// A folder for the results; without one they are only printed
    #[arg(long, global = true)]
    out: Option<PathBuf>,
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Subcommand)]
enum BenchCommand {
    /// Processor time of a delivery, memory of a reader and latency, of kairanban, the floor and
    /// all installed peers
    FanOut(FanOutArgs),
    /// A list from memory, and a file of nginx
    Reads(RoundsArgs),
    /// Posts in a second, and the time from the commit to readers
    Writes(RoundsArgs),
    /// Bytes of a change, and the time to be ready
    Small(RoundsArgs),
    /// What readers that do not read cost the others
    Slow,
    /// Curves against readers, boards, topics, history and nodes
    Growth {
        /// Measure only these curves
        #[arg(long, value_delimiter = ',')]
        only: Vec<Growing>,
    },
    /// Prints the tables of a saved run, and draws its charts
    Show {
        /// Its name: fan-out, reads, writes, small, slow or growth
        name: String,
    },
    /// Runs the floor: a bare write loop, until it is killed
    #[command(hide = true)]
    Floor { address: SocketAddr },
    /// Runs readers that wait for a line before they expect events
    #[command(hide = true, name = worker_process::WORKER_COMMAND)]
    Worker(worker_process::WorkerArgs),
}

/// What a curve is measured against.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Growing {
    Readers,
    Boards,
    Topics,
    History,
    Nodes,
}

#[derive(Args)]
struct FanOutArgs {
    #[arg(long, default_value_t = 10_000)]
    readers: usize,
    /// Events in a second
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Seconds to measure idle readers
    #[arg(long, default_value_t = 0.0)]
    idle_s: f64,
    /// The name of the results
    #[arg(long, default_value = "fan-out")]
    name: String,
    /// Only the targets of these names, and the floor
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

#[derive(Args)]
struct RoundsArgs {
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

fn main() -> Result<()> {
    let arguments = BenchArgs::parse();
    rlimit::increase_nofile_limit(u64::MAX)?;
    let (name, results) = match arguments.command {
        BenchCommand::Floor { address } => return floor::serve(address),
        BenchCommand::Worker(args) => return worker_process::run(args),
        BenchCommand::FanOut(plan) => (plan.name.clone(), all_fan_out(&plan)?),
        BenchCommand::Reads(RoundsArgs { rounds }) => ("reads".to_owned(), all_reads(rounds)?),
        BenchCommand::Writes(RoundsArgs { rounds }) => ("writes".to_owned(), all_writes(rounds)?),
        BenchCommand::Small(RoundsArgs { rounds }) => ("small".to_owned(), all_small(rounds)?),
        BenchCommand::Slow => ("slow".to_owned(), all_slow()?),
        BenchCommand::Growth { only } => ("growth".to_owned(), all_growth(&only)?),
        BenchCommand::Show { name } => {
            let folder = arguments.out.unwrap_or_else(|| "docs/benchmarks".into());
            let results = Results::load(&folder, &name)?;
            results.save(&folder, &name)?;
            return say(&results.tables());
        }
    };
    let results = Results {
        machine: small::machine()?,
        ..results
    };
    if let Some(folder) = &arguments.out {
        results.save(folder, &name)?;
    }
    say(&results.tables())
}

fn all_fan_out(args: &FanOutArgs) -> Result<Results> {
    let FanOutArgs {
        readers,
        rate,
        seconds,
        idle_s,
        ..
    } = *args;
    let plan = fan_out::Plan {
        readers,
        rate,
        seconds,
        idle_s,
    };
    let targets = fan_out_targets(&args.only);
    let mut results = Results {
        plan: Some(plan),
        ..Results::default()
    };
    for round in 1..=args.rounds {
        for target in &targets {
            match measure_fan_out(target, &plan) {
                Ok(figures) => {
                    say(&format!(
                        "round {round}: {}: {:.2} µs",
                        figures.name, figures.delivery_us
                    ))?;
                    results.fan_out.push(figures);
                }
                Err(why) if round == 1 => results.missing.push((target.name.to_owned(), why)),
                Err(why) => say(&format!("round {round}: {}: {why}", target.name))?,
            }
        }
    }
    Ok(results)
}

/// Returns the floor and the targets with these names, or all targets if no name is passed.
fn fan_out_targets(only: &[String]) -> Vec<Target> {
    let mut targets = vec![
        target::floor(),
        kairanban("kairanban", Kairanban::default()),
        // The floor has one, too.
        kairanban(
            "kairanban with one worker",
            Kairanban::with("SERVER__WORKERS", "1"),
        ),
        kairanban(
            "kairanban with ordinary bodies",
            Kairanban::with("STREAM__DETACHED", "false"),
        ),
        target::kairanban_private(),
    ];
    targets.extend(peers());
    targets.retain(|target| {
        target.name.starts_with("floor")
            || only.is_empty()
            || only.iter().any(|name| target.name == name)
    });
    targets
}

/// Measures a target. A peer is tried three times: some refuse a reader now and then, without a
/// reason.
fn measure_fan_out(target: &Target, plan: &fan_out::Plan) -> Result<fan_out::FanOut, String> {
    if let Some(why) = &target.missing {
        return Err(why.clone());
    }
    let mut figures = fan_out::fan_out(target, plan);
    for _ in 1..3 {
        if figures.is_err() && !target.is_ours {
            figures = fan_out::fan_out(target, plan);
        }
    }
    figures.map_err(|error| format!("{error:#}"))
}

fn all_reads(rounds: usize) -> Result<Results> {
    Ok(Results {
        reads: reads::reads(rounds)?,
        ..Results::default()
    })
}

fn all_slow() -> Result<Results> {
    Ok(Results {
        slow: slow::slow()?,
        ..Results::default()
    })
}

fn all_writes(rounds: usize) -> Result<Results> {
    let postgres = Postgres::start()?;
    Ok(Results {
        writes: writes::writes(rounds, &postgres)?,
        soon: writes::commit_latency(&postgres)?,
        ..Results::default()
    })
}

fn all_small(rounds: usize) -> Result<Results> {
    let postgres = Postgres::start()?;
    Ok(Results {
        weights: small::change_sizes()?,
        ready: small::start_times(rounds * 2, &postgres)?,
        ..Results::default()
    })
}

fn all_growth(only: &[Growing]) -> Result<Results> {
    let postgres = Postgres::start()?;
    let curves = Growing::value_variants()
        .iter()
        .filter(|growing| only.is_empty() || only.contains(growing))
        .map(|growing| match growing {
            Growing::Readers => growth::readers(15_000),
            Growing::Boards => growth::boards(100_000, &postgres),
            Growing::Topics => growth::topics(),
            Growing::History => growth::history(1_000_000, &postgres),
            Growing::Nodes => growth::nodes(4, &postgres),
        });
    let curves = curves.collect::<Result<Vec<_>>>()?.concat();
    Ok(Results {
        curves,
        ..Results::default()
    })
}

fn say(text: &str) -> Result<()> {
    Ok(writeln!(io::stdout(), "{text}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_process_understands_its_command_line() {
        let args = worker_process::WorkerArgs {
            address: ([127, 0, 0, 1], 8080).into(),
            readers: 15_000,
            rate: 2.5,
            seconds: 10.0,
        };
        let line = ["bench".to_owned()]
            .into_iter()
            .chain(args.to_command_line());
        let parsed = BenchArgs::try_parse_from(line).expect("a command");
        assert!(matches!(parsed.command, BenchCommand::Worker(parsed) if parsed == args));
    }
}
