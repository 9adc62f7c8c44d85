//! Counts requests and refusals.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::{Registry, Unit},
};

use super::{histogram::Histogram, labels::ByLabel};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    /// The pattern of its address, as the table of routes has it.
    route: String,
    method: &'static str,
    /// The first digit of the status and two times an x.
    status: &'static str,
}

/// The route of requests that no pattern fits.
const NO_ROUTE: &str = "none";
/// Any other method could be a client's own word.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"];
const OTHER_METHOD: &str = "other";

/// Counts requests and refusals. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RequestMetrics {
    durations: Family<RequestLabels, Histogram>,
    refusals: ByLabel<Counter>,
}

impl RequestMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let durations = Family::new_with_constructor(Histogram::of_durations as fn() -> Histogram);
        let refusals = ByLabel::new("code", &[]);
        registry.register_with_unit(
            "request_duration",
            "Time from the head of a request until the head of its answer",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register(
            "refusals",
            "Requests that were answered with an error, by its code",
            refusals.family.clone(),
        );
        Self {
            durations,
            refusals,
        }
    }

    /// Counts a request whose answer has begun.
    pub fn answered(&self, route: Option<String>, method: &str, status: u16, took: Duration) {
        let known = METHODS.into_iter().find(|known| *known == method);
        let labels = RequestLabels {
            route: route.unwrap_or_else(|| NO_ROUTE.to_owned()),
            method: known.unwrap_or(OTHER_METHOD),
            status: class(status),
        };
        self.durations.get_or_create(&labels).observe(took);
    }

    /// Counts a request that is refused, by the code of the error.
    pub fn refused(&self, code: &'static str) {
        self.refusals.of(code).inc();
    }
}

const fn class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
