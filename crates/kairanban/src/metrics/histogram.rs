//! A histogram without a lock. That of the library locks itself for each value; the encoding is the
//! library's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
};

/// Nanoseconds in a second, the unit in which durations are exposed.
const SECOND: u64 = 1_000_000_000;

/// Upper bounds of the buckets for requests and statements, in nanoseconds: 1 ms to 10 s.
const DURATIONS: &[u64] = &[
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    SECOND,
    2_500_000_000,
    5 * SECOND,
    10 * SECOND,
];

/// Upper bounds of the buckets for deliveries, in nanoseconds: 100 µs to 10 s.
const DELIVERIES: &[u64] = &[
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    SECOND,
    2_500_000_000,
    10 * SECOND,
];

/// Upper bounds of the buckets for the sizes of groups.
const SIZES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256];

/// Counts values by size. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Histogram(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    bounds: &'static [u64],
    /// How many of the counted units make one of those that are exposed.
    scale: u64,
    /// The values up to each bound, and last those above all of them.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// Creates a histogram for durations of requests and statements.
    pub(super) fn of_durations() -> Self {
        Self::new(DURATIONS, SECOND)
    }

    /// Creates a histogram for durations of deliveries, which may be short.
    pub(super) fn of_deliveries() -> Self {
        Self::new(DELIVERIES, SECOND)
    }

    /// Creates a histogram for numbers of things.
    pub(super) fn of_sizes() -> Self {
        Self::new(SIZES, 1)
    }

    fn new(bounds: &'static [u64], scale: u64) -> Self {
        Self(Arc::new(Buckets {
            bounds,
            scale,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }))
    }

    /// Counts the duration of one event.
    pub(super) fn observe(&self, duration: Duration) {
        self.observe_times(duration, 1);
    }

    /// Counts a duration that was that of as many events.
    pub(super) fn observe_times(&self, duration: Duration, times: u64) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.add(nanoseconds, times);
    }

    /// Counts a number of things.
    pub(super) fn observe_size(&self, size: usize) {
        self.add(u64::try_from(size).unwrap_or(u64::MAX), 1);
    }

    fn add(&self, value: u64, times: u64) {
        let bucket = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[bucket].fetch_add(times, Ordering::Relaxed);
        self.0
            .sum
            .fetch_add(value.wrapping_mul(times), Ordering::Relaxed);
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    #[expect(
        clippy::cast_precision_loss,
        reason = "exposed are numbers with a point"
    )]
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Buckets {
            bounds,
            scale,
            counts,
            sum,
        } = &*self.0;
        let exposed = |value: u64| value as f64 / *scale as f64;
        let bounds = bounds.iter().map(|bound| exposed(*bound));
        let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        // The sum of what was read, so that it fits the buckets although counting goes on.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = exposed(sum.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text, registry::Registry};

    use super::*;

    fn exposed(histogram: &Histogram) -> Vec<(String, f64)> {
        let (mut registry, mut out) = (Registry::default(), String::new());
        registry.register("x", "x", histogram.clone());
        text::encode(&mut out, &registry).expect("text");
        let lines = out.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.rsplit_once(' ').expect("a value"))
            .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
            .collect()
    }

    fn value(exposed: &[(String, f64)], name: &str) -> f64 {
        let mut found = exposed.iter().filter(|(of, _)| of == name);
        found
            .next()
            .unwrap_or_else(|| panic!("{name} in {exposed:?}"))
            .1
    }

    #[test]
    fn a_value_counts_in_the_first_bucket_that_it_fits() {
        let histogram = Histogram::of_durations();
        histogram.observe(Duration::from_millis(1));
        histogram.observe_times(Duration::from_micros(1_001), 3);
        histogram.observe(Duration::from_secs(11));
        let exposed = exposed(&histogram);
        for (name, expected) in [
            (r#"x_bucket{le="0.001"}"#, 1.0),
            (r#"x_bucket{le="0.0025"}"#, 4.0),
            (r#"x_bucket{le="10.0"}"#, 4.0),
            (r#"x_bucket{le="+Inf"}"#, 5.0),
            ("x_count", 5.0),
        ] {
            assert!(
                (value(&exposed, name) - expected).abs() < 1e-9,
                "{name} in {exposed:?}"
            );
        }
        assert!(
            (value(&exposed, "x_sum") - 11.004_003).abs() < 1e-9,
            "{exposed:?}"
        );
    }

    #[test]
    fn bounds_grow() {
        for bounds in [DURATIONS, DELIVERIES, SIZES] {
            assert!(
                bounds.is_sorted_by(|left, right| left < right),
                "{bounds:?}"
            );
        }
    }
}
