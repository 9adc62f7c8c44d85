//! Medians, percentiles and histograms.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

/// The longest time that a histogram distinguishes, in microseconds: two minutes.
const LONGEST_US: u64 = 120_000_000;

/// Creates a histogram of microseconds, with three significant digits. It does not resize itself,
/// because `saturating_record` would then record nothing beyond the first bounds.
///
/// # Errors
/// If the memory for it cannot be allocated.
pub fn histogram_us() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LONGEST_US, 3)?)
}

/// Returns a duration in whole microseconds, and at least one, since a histogram cannot hold zero.
#[must_use]
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros())
        .unwrap_or(u64::MAX)
        .max(1)
}

/// Returns a percentile of a histogram of microseconds, in milliseconds.
#[must_use]
pub fn percentile_ms(histogram: &Histogram<u64>, percent: f64) -> f64 {
    float(histogram.value_at_percentile(percent)) / 1e3
}

/// Returns the median; of an even number of figures the mean of the middle two, and of no figures
/// NaN.
#[must_use]
pub fn median(mut figures: Vec<f64>) -> f64 {
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
/// Converts a count to a number to calculate with.
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
    fn a_histogram_of_microseconds_is_read_in_milliseconds() {
        let mut histogram = histogram_us().expect("bounds");
        for millis in 1..=100 {
            histogram.saturating_record(micros(Duration::from_millis(millis)));
        }
        assert!((percentile_ms(&histogram, 50.0) - 50.0).abs() < 0.1);
        assert!((percentile_ms(&histogram, 99.0) - 99.0).abs() < 0.2);
        histogram.saturating_record(micros(Duration::MAX));
        assert_eq!(histogram.len(), 101, "a longer time counts as the longest");
        assert_eq!(micros(Duration::ZERO), 1);
    }
}
