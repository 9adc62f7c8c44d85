//! What is measured. Each measurement starts what it needs, and gives figures that can be written down.

pub mod fan_out;
pub mod growth;
pub mod reads;
pub mod slow;
pub mod small;
pub mod writes;

use std::{
    net::SocketAddr,
    thread::{self, JoinHandle},
};

use anyhow::{Result, anyhow};

use crate::{
    contender::{Contender, next_port},
    crowd::{Crowd, Schedule, Seen, mark},
    process::{Cpu, Process},
    publisher, wire,
};

/// What a reader of patches asks kairanban for, and one of whole lists.
const PATCH: fn(SocketAddr) -> Vec<u8> = |address| wire::get(address, "/b/main/stream?format=patch", "");
const LIST: fn(SocketAddr) -> Vec<u8> = |address| wire::get(address, "/b/main/stream?format=list", "");

/// A comment of `bytes` with the mark of the `n`th event in it. Words, as people write them, so that
/// compressing them says something.
#[must_use]
pub fn text(n: u32, bytes: usize) -> String {
    const WORDS: [&str; 12] = [
        "lantern",
        "notice",
        "river",
        "meeting",
        "festival",
        "bring",
        "evening",
        "neighbours",
        "kindly",
        "rice",
        "sweep",
        "return",
    ];
    let mut text = mark(n);
    let mut seed = n.wrapping_mul(2_654_435_761).wrapping_add(1);
    while text.len() < bytes {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push('-');
        text.push_str(WORDS[(seed >> 24) as usize % WORDS.len()]);
    }
    text.truncate(bytes);
    text
}

/// Publishes by a thread of its own what a schedule says.
fn publish_aside(contender: &Contender, process: &Process, schedule: Schedule) -> JoinHandle<Result<()>> {
    let (publish, bytes, address) = (contender.publish, contender.text_bytes, process.address);
    let door = next_port(address, contender.publish_port);
    thread::spawn(move || publisher::publish(door, schedule, |n| publish(address, &text(n, bytes))))
}

/// What readers see of a schedule, and the time that the server had a processor for it.
fn watch(contender: &Contender, process: &Process, crowd: &mut Crowd, schedule: Schedule) -> Result<(Seen, Cpu)> {
    let before = process.cpu()?;
    let publishing = publish_aside(contender, process, schedule);
    let seen = crowd.watch(&schedule)?;
    publishing.join().map_err(|_| anyhow!("the publisher panicked"))??;
    Ok((seen, process.cpu()? - before))
}

fn gather(contender: &Contender, process: &Process, readers: usize) -> Result<Crowd> {
    let address = process.address;
    Crowd::gather(address, readers, |_| (contender.subscribe)(address), contender.greet)
}

/// The middle of some figures.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::cast_precision_loss, reason = "figures to read, of far fewer than 2^52")]
/// A number to calculate with.
#[must_use]
pub fn float(number: u64) -> f64 {
    number as f64
}
