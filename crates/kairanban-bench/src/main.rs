//! `kairanban-bench`: how fast kairanban is, beside a bare write loop and beside its peers. `scripts/bench` builds both
//! programs and runs it; docs/BENCHMARKS.md says what came out.
//!
//! Everything stays on the loopback network, is bounded in number and time, and ends by itself.

mod apart;
mod chart;
mod contender;
mod crowd;
mod database;
mod drive;
mod floor;
mod measure;
mod process;
mod publisher;
mod report;
mod wire;

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
};

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};

use contender::{Contender, Kairanban, kairanban, peers};
use database::Postgres;
use measure::{fan_out, growth, reads, slow, small, writes};
use report::Results;

#[derive(Parser)]
#[command(
    version,
    about = "Measures kairanban beside a bare write loop and its peers, on the loopback network"
)]
struct Arguments {
    /// A folder for the results; without one they are only printed
    #[arg(long, global = true)]
    out: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Processor time of a delivery, memory of a reader, latency: beside the floor and all peers that are installed
    FanOut(FanOut),
    /// A list from memory beside a file from nginx
    Reads(Rounds),
    /// Posts in a second, and from the commit to readers
    Writes(Rounds),
    /// Bytes of a change, and the time to be ready
    Small(Rounds),
    /// What readers that take nothing cost the others
    Slow,
    /// Curves: readers, boards, topics, history, nodes
    Growth {
        /// Only those
        #[arg(long, value_delimiter = ',')]
        only: Vec<Growing>,
    },
    /// Prints the tables of a run again, and draws its charts anew
    Show {
        /// Its name: fan-out, reads, writes, small, slow or growth
        name: String,
    },
    /// Is the floor: a bare write loop, until it is ended
    #[command(hide = true)]
    Floor { address: SocketAddr },
    /// Is a crowd of readers that waits for a line before it looks for events
    #[command(hide = true)]
    Crowd(apart::Invitation),
}

/// What there is more and more of.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Growing {
    Readers,
    Boards,
    Topics,
    History,
    Nodes,
}

#[derive(Args)]
struct FanOut {
    #[arg(long, default_value_t = 10_000)]
    readers: usize,
    /// Events in a second
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Look for so long at readers to whom nothing happens
    #[arg(long, default_value_t = 0.0)]
    idle_s: f64,
    /// What the results are called
    #[arg(long, default_value = "fan-out")]
    name: String,
    /// Only those of these names; the floor always
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

#[derive(Args)]
struct Rounds {
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    rlimit::increase_nofile_limit(u64::MAX)?;
    let (name, results) = match arguments.what {
        What::Floor { address } => return floor::serve(address),
        What::Crowd(invitation) => return apart::attend(invitation),
        What::FanOut(plan) => (plan.name.clone(), all_fan_out(&plan)?),
        What::Reads(Rounds { rounds }) => (
            "reads".to_owned(),
            Results {
                reads: reads::reads(rounds)?,
                ..Results::default()
            },
        ),
        What::Writes(Rounds { rounds }) => ("writes".to_owned(), all_writes(rounds)?),
        What::Small(Rounds { rounds }) => ("small".to_owned(), all_small(rounds)?),
        What::Slow => (
            "slow".to_owned(),
            Results {
                slow: slow::slow()?,
                ..Results::default()
            },
        ),
        What::Growth { only } => ("growth".to_owned(), all_growth(&only)?),
        What::Show { name } => {
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

fn all_fan_out(asked: &FanOut) -> Result<Results> {
    let FanOut {
        readers,
        rate,
        seconds,
        idle_s,
        ..
    } = *asked;
    let plan = fan_out::Plan {
        readers,
        rate,
        seconds,
        idle_s,
    };
    let mut results = Results {
        plan: Some(plan),
        ..Results::default()
    };
    let with = |key, value: &str| Kairanban {
        settings: vec![(key, value.to_owned())],
        ..Kairanban::default()
    };
    let mut contenders = vec![
        contender::floor(),
        kairanban("kairanban", Kairanban::default()),
        // As many as the floor has.
        kairanban("kairanban with one worker", with("SERVER__WORKERS", "1")),
        kairanban(
            "kairanban with ordinary bodies",
            with("STREAM__DETACHED", "false"),
        ),
        contender::kairanban_private(),
    ];
    contenders.extend(peers());
    let is_wanted = |contender: &Contender| {
        asked.only.is_empty() || asked.only.iter().any(|name| contender.name == name)
    };
    contenders.retain(|contender| contender.name.starts_with("floor") || is_wanted(contender));
    for round in 1..=asked.rounds {
        for contender in &contenders {
            let measure =
                || fan_out::fan_out(contender, &plan).map_err(|error| format!("{error:#}"));
            let found = match &contender.missing {
                Some(why) => Err(why.clone()),
                None if contender.is_ours => measure(),
                // Some refuse a reader now and then, for no reason that they give.
                None => measure().or_else(|_| measure()).or_else(|_| measure()),
            };
            match found {
                Ok(found) => {
                    say(&format!(
                        "round {round}: {}: {:.2} µs",
                        found.name, found.delivery_us
                    ))?;
                    results.fan_out.push(found);
                }
                Err(why) if round == 1 => results.missing.push((contender.name.to_owned(), why)),
                Err(why) => say(&format!("round {round}: {}: {why}", contender.name))?,
            }
        }
    }
    Ok(results)
}

fn all_writes(rounds: usize) -> Result<Results> {
    let postgres = Postgres::start()?;
    Ok(Results {
        writes: writes::writes(rounds, &postgres)?,
        soon: writes::soon(&postgres)?,
        ..Results::default()
    })
}

fn all_small(rounds: usize) -> Result<Results> {
    let postgres = Postgres::start()?;
    Ok(Results {
        weights: small::weights()?,
        ready: small::ready(rounds * 2, &postgres)?,
        ..Results::default()
    })
}

fn all_growth(only: &[Growing]) -> Result<Results> {
    let postgres = Postgres::start()?;
    let is_wanted = |growing: &&Growing| only.is_empty() || only.contains(growing);
    let curves = Growing::value_variants()
        .iter()
        .filter(is_wanted)
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
