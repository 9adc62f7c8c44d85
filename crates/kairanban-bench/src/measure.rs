//! The measurements. Each starts what it needs, and returns figures that can be saved.

pub mod fan_out;
pub mod growth;
pub mod reads;
pub mod slow;
pub mod small;
pub mod writes;

use std::thread::{self, JoinHandle};

use anyhow::{Result, anyhow};

use crate::{
    process::Cpu,
    publisher,
    readers::{DeliveryStats, Readers},
    schedule::{Schedule, mark},
    target::{RunningTarget, Target},
};

/// Returns a comment of `bytes` bytes that begins with the mark of the `n`th event. It consists of
/// words, so that it compresses like a text that people write.
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

/// Publishes the events of a schedule in a thread of its own.
fn publish_in_background(
    running: &RunningTarget<'_>,
    schedule: Schedule,
) -> JoinHandle<Result<()>> {
    let Target {
        publish,
        text_bytes,
        ..
    } = *running.target;
    let endpoint = running.endpoint.clone();
    thread::spawn(move || {
        publisher::publish(publish.address(&endpoint), schedule, |n| {
            publish.bytes(&endpoint, &text(n, text_bytes))
        })
    })
}

/// Posts `topics` topics like those of a schedule, but without their marks.
fn fill(running: &RunningTarget<'_>, topics: u32) -> Result<()> {
    let mut connection = running.connection()?;
    for n in 0..topics {
        let text = text(n, running.target.text_bytes).replace('~', "=");
        connection.send(&running.publish_request(&text))?;
    }
    Ok(())
}

/// Publishes a schedule to readers. Returns what they received, and the processor time of the
/// server meanwhile.
fn deliver(
    running: &RunningTarget<'_>,
    readers: &mut Readers,
    schedule: Schedule,
) -> Result<(DeliveryStats, Cpu)> {
    let before = running.process.cpu()?;
    let publishing = publish_in_background(running, schedule);
    let stats = readers.receive(&schedule)?;
    join(publishing)?;
    Ok((stats, running.process.cpu()? - before))
}

/// Waits until everything is published.
fn join(publishing: JoinHandle<Result<()>>) -> Result<()> {
    publishing
        .join()
        .map_err(|_| anyhow!("the publisher panicked"))?
}

/// Connects `count` readers to the stream of the target.
fn connect(running: &RunningTarget<'_>, count: usize) -> Result<Readers> {
    let request = running.stream_request();
    Readers::connect(
        running.endpoint.address,
        count,
        |_| request.clone(),
        running.target.greet,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_its_length_and_the_mark_of_its_event() {
        for n in [0, 1, 999_999] {
            let text = text(n, 140);
            assert!(text.len() == 140 && text.starts_with(&mark(n)), "{text}");
        }
        assert_ne!(text(1, 140), text(2, 140));
    }
}
