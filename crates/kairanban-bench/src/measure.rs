//! What is measured. Each measurement starts what it needs, and gives figures that can be written down.

pub mod fan_out;
pub mod growth;
pub mod reads;
pub mod slow;
pub mod small;
pub mod writes;

use std::thread::{self, JoinHandle};

use anyhow::{Result, anyhow};

use crate::{
    contender::{Contender, Running, next_port},
    crowd::{Crowd, Schedule, Seen, mark},
    process::Cpu,
    publisher,
};

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
fn publish_aside(running: &Running<'_>, schedule: Schedule) -> JoinHandle<Result<()>> {
    let Contender {
        publish,
        text_bytes,
        publish_port,
        ..
    } = *running.contender;
    let door = running.door.clone();
    let address = next_port(door.address, publish_port);
    thread::spawn(move || {
        publisher::publish(address, schedule, |n| publish(&door, &text(n, text_bytes)))
    })
}

/// Puts so many topics on the board, as the events of a schedule bring them, but without their marks.
fn fill(running: &Running<'_>, topics: u32) -> Result<()> {
    let mut line = running.line()?;
    (0..topics).try_for_each(|n| {
        line.ask(&running.publish(&text(n, running.contender.text_bytes).replace('~', "=")))
            .map(drop)
    })
}

/// What readers see of a schedule, and the time that the server had a processor for it.
fn watch(running: &Running<'_>, crowd: &mut Crowd, schedule: Schedule) -> Result<(Seen, Cpu)> {
    let before = running.process.cpu()?;
    let publishing = publish_aside(running, schedule);
    let seen = crowd.watch(&schedule)?;
    publishing
        .join()
        .map_err(|_| anyhow!("the publisher panicked"))??;
    Ok((seen, running.process.cpu()? - before))
}

fn gather(running: &Running<'_>, readers: usize) -> Result<Crowd> {
    Crowd::gather(
        running.door.address,
        readers,
        |_| running.subscribe(),
        running.contender.greet,
    )
}

/// The median; of an even number of figures the mean of the middle two, of none NaN.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        count if count % 2 == 0 => f64::midpoint(figures[count / 2 - 1], figures[count / 2]),
        count => figures[count / 2],
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures to read, of far fewer than 2^52"
)]
/// A number to calculate with.
#[must_use]
pub fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_middle_two() {
        for (figures, expected) in [
            (vec![7.0], 7.0),
            (vec![9.0, 1.0, 2.0], 2.0),
            (vec![8.0, 1.0, 4.0, 2.0], 3.0),
        ] {
            assert!(
                (median(figures.clone()) - expected).abs() < 1e-9,
                "{figures:?}"
            );
        }
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn a_text_has_its_length_and_the_mark_of_its_event() {
        for n in [0, 1, 999_999] {
            let text = text(n, 140);
            assert!(text.len() == 140 && text.starts_with(&mark(n)), "{text}");
        }
        assert_ne!(text(1, 140), text(2, 140));
    }
}
