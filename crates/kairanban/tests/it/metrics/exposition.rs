//! What `/metrics` says, read by the parser of Prometheus' own client for Python.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::Write as _,
    net::SocketAddr,
    process::{Command, Stdio},
};

use serde::Deserialize;

use crate::wire;

const PARSE: &str = r"
import json, sys
from prometheus_client.parser import text_string_to_metric_families
json.dump([
    {
        'name': family.name,
        'kind': family.type,
        'help': family.documentation,
        'samples': [[one.name, one.labels, one.value] for one in family.samples],
    }
    for family in text_string_to_metric_families(sys.stdin.read())
], sys.stdout)
";

/// A metric with all its labels.
#[derive(Debug, Deserialize)]
pub(super) struct MetricFamily {
    /// Without the `_total` of a counter.
    name: String,
    pub(super) kind: String,
    help: String,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl MetricFamily {
    /// Its name as it stands in a query; of a histogram without `_bucket` and the like.
    pub(super) fn name(&self) -> String {
        match self.kind.as_str() {
            "counter" => format!("{}_total", self.name),
            _ => self.name.clone(),
        }
    }

    pub(super) fn labels(&self) -> BTreeSet<String> {
        let labels = self.samples.iter().flat_map(|(_, labels, _)| labels.keys());
        labels.filter(|label| *label != "le").cloned().collect()
    }
}

/// All metrics of a server at one moment.
#[derive(Debug)]
pub(super) struct Scrape(pub(super) Vec<MetricFamily>);

impl Scrape {
    /// Reads `/metrics` with a token, as Prometheus does.
    pub(super) fn of(address: SocketAddr, token: &str) -> Self {
        let authorization = format!("Bearer {token}");
        let headers = [("Authorization", authorization.as_str())];
        let answer = wire::request(address, "GET", "/metrics", &headers, b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        let scrape = Self(parse(&answer.body));
        scrape.assert_sound();
        scrape
    }

    fn assert_sound(&self) {
        let mut names = BTreeSet::new();
        for family in &self.0 {
            assert!(names.insert(family.name()), "twice: {family:?}");
            assert!(family.help.ends_with('.'), "{family:?}");
            let mut samples = BTreeSet::new();
            for (name, labels, value) in &family.samples {
                assert!(samples.insert((name, labels)), "twice: {name} {labels:?}");
                assert!(*value >= 0.0, "{name} {labels:?} {value}");
            }
            if family.kind == "histogram" {
                assert_grows(family);
            }
        }
    }

    /// The value of a sample with these labels, whatever its others are; zero if it does not exist
    /// yet.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.0.iter().flat_map(|family| &family.samples);
        samples
            .filter(|(of, has, _)| {
                of == name
                    && labels
                        .iter()
                        .all(|(label, value)| has.get(*label).is_some_and(|has| has == value))
            })
            .map(|(.., value)| value)
            .sum()
    }
}

/// Asserts that each bucket of a histogram holds what those below it hold, and the last one all.
fn assert_grows(family: &MetricFamily) {
    let mut below = BTreeMap::new();
    for (name, labels, value) in &family.samples {
        let (mut series, le) = (labels.clone(), labels.get("le"));
        series.remove("le");
        let Some(le) = le else { continue };
        let before = below.insert(series.clone(), *value).unwrap_or_default();
        assert!(before <= *value, "{name} {labels:?}");
        if le == "+Inf" {
            let mut counts = family
                .samples
                .iter()
                .filter(|(of, has, _)| of.ends_with("_count") && *has == series);
            assert_eq!(
                counts.next().map(|(.., count)| count),
                Some(value),
                "{name}"
            );
        }
    }
    assert!(!below.is_empty(), "no buckets: {family:?}");
}

fn parse(text: &str) -> Vec<MetricFamily> {
    let python = env::var("KAIRANBAN_TEST_PYTHON").expect("scripts/test sets it");
    let mut parser = Command::new(python)
        .args(["-c", PARSE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python");
    let mut input = parser.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).expect("written");
    drop(input);
    let read = parser.wait_with_output().expect("Python");
    assert!(read.status.success(), "{text}");
    serde_json::from_slice(&read.stdout).expect("JSON")
}
