//! The outcome of a fault: the figures of its row, and which promises were broken.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use super::{
    drill::{Promise, Row, Scene},
    load::{Acknowledged, Record},
    watch::Watch,
};

/// What a debug build on a machine with other work may take longer. The measurement has no such
/// slack.
const SLACK: Duration = if cfg!(debug_assertions) {
    Duration::from_millis(2_000)
} else {
    Duration::ZERO
};
/// Promised for an answer, whatever the database does.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Promised for a write, and for every list, once the database or the server is back.
const RECOVER_MAX: Duration = Duration::from_secs(5);

pub(super) const HEAD: &str = "| fault | first 503 after | longest wait for an answer | longest \
    time without an acknowledgement | next post acknowledged after | all shown after | \
    acknowledged | repeated (requests) | lost | doubled \
    |\n|---|---|---|---|---|---|---|---|---|---|\n";

pub(super) struct Outcome {
    name: &'static str,
    promise: Promise,
    /// From the beginning of the fault to the first 503; `None` if no write was refused.
    refused: Option<Duration>,
    /// The longest that a client waited for an answer.
    longest: Duration,
    /// The longest time in which no writer received an acknowledgement.
    silence: Duration,
    /// How long the mending itself took: the start of what had ended.
    mending: Duration,
    /// From the beginning of the mending to the next post that was acknowledged, and until every
    /// stream showed it.
    recovered: Option<Duration>,
    shown: Option<Duration>,
    /// Posts that were acknowledged and have to be there.
    acknowledged: usize,
    /// Posts that were sent again, and how often in all.
    repeated: (usize, usize),
    pub(super) lost: usize,
    pub(super) doubled: usize,
    given_up: usize,
    /// Statuses but 201 and 503.
    others: Vec<u16>,
    /// Requests without an answer.
    unanswered: usize,
    restored: bool,
    /// Posts went on being acknowledged after the mending, and not just the next one.
    pub(super) goes_on: bool,
    /// Every stream came to show what the database holds.
    pub(super) settled: bool,
    pub(super) has_new_epoch: bool,
    /// How often each stream was opened, and how often it was marked stale.
    streams: Vec<(usize, usize)>,
}

/// Counts the topics with each comment of the writers.
fn count_topics(scene: &Scene<'_>) -> HashMap<String, usize> {
    let found = scene
        .direct
        .sql("SELECT comment FROM topics WHERE comment LIKE 'h%';");
    let mut count = HashMap::new();
    for comment in found.lines() {
        *count.entry(comment.to_owned()).or_default() += 1;
    }
    count
}

/// Statuses of answers to posts, but 201 and 503.
fn other_statuses(record: &Record) -> Vec<u16> {
    let statuses = record.tries.iter().filter_map(|one| one.status);
    let others: BTreeSet<u16> = statuses
        .filter(|status| ![201, 503].contains(status))
        .collect();
    others.into_iter().collect()
}

impl Outcome {
    pub(super) fn new(
        row: &Row,
        scene: &Scene<'_>,
        record: &Record,
        next: Option<&Acknowledged>,
        watches: &[Watch],
    ) -> Self {
        let (mending, mended) = scene.mending();
        let count = count_topics(scene);
        let shown = next.and_then(|next| shown_at(scene, next, watches));
        let waits = record.tries.iter().map(|one| one.answered - one.began);
        let unanswered = record.tries.iter().filter(|one| one.status.is_none());
        Self {
            name: row.name,
            promise: row.promise,
            refused: first_refusal(record, scene.incident.began),
            longest: waits.max().unwrap_or_default(),
            silence: longest_silence(record),
            mending: mended - mending,
            recovered: next.map(|next| next.answered - mending),
            shown: shown.map(|at| at - mending),
            acknowledged: scene.kept(record).count(),
            repeated: (record.repeated.len(), record.repeats),
            lost: scene
                .kept(record)
                .filter(|comment| !count.contains_key(*comment))
                .count(),
            doubled: count.values().filter(|count| **count > 1).count(),
            given_up: record.given_up.len(),
            others: other_statuses(record),
            unanswered: unanswered.count(),
            restored: scene.incident.backup.is_some(),
            goes_on: false,
            settled: false,
            has_new_epoch: false,
            streams: watches
                .iter()
                .map(|watch| (watch.times_opened(), watch.times_stale()))
                .collect(),
        }
    }

    /// Which promises were broken, in words.
    pub(super) fn broken(&self) -> Vec<String> {
        self.post_rules()
            .into_iter()
            .chain(self.stream_rules())
            .filter(|(is_broken, _)| *is_broken)
            .map(|(_, text)| format!("{}: {text}", self.name))
            .collect()
    }

    fn is_late(&self, after: Option<Duration>) -> bool {
        after.is_none_or(|after| after > self.mending + RECOVER_MAX + SLACK)
    }

    /// Returns for each promise about posts whether it was broken, and how.
    fn post_rules(&self) -> Vec<(bool, String)> {
        let counted = [
            (self.lost, "acknowledged posts are lost"),
            (self.doubled, "posts are there twice"),
            (self.given_up, "posts were never acknowledged"),
        ];
        let counted = counted.map(|(count, what)| (count > 0, format!("{count} {what}")));
        let promise = self.promise;
        let must_answer = !promise.node_ends && !promise.answers_break;
        let answered = [
            (
                !self.others.is_empty(),
                format!("posts were answered with {:?}", self.others),
            ),
            (
                must_answer && self.unanswered > 0,
                format!("{} requests were not answered", self.unanswered),
            ),
        ];
        counted
            .into_iter()
            .chain(answered)
            .chain(self.time_rules())
            .collect()
    }

    /// Returns for each promise about the time that posts take whether it was broken, and how.
    fn time_rules(&self) -> [(bool, String); 4] {
        let Self {
            longest,
            silence,
            recovered,
            mending,
            ..
        } = self;
        let answer_max = ANSWER_MAX + SLACK;
        [
            (
                *longest > answer_max,
                format!("a client waited for {longest:.1?}"),
            ),
            (
                self.promise.writing_goes_on && *silence > answer_max,
                format!("no post was acknowledged for {silence:.1?}"),
            ),
            (
                self.is_late(*recovered),
                format!(
                    "the next post was acknowledged after {recovered:.1?}, mended in {mending:.1?}"
                ),
            ),
            (
                !self.goes_on,
                "writing did not go on after the mending".to_owned(),
            ),
        ]
    }

    /// Returns for each promise about streams and their epoch whether it was broken, and how.
    fn stream_rules(&self) -> Vec<(bool, String)> {
        let Self {
            promise,
            shown,
            mending,
            streams,
            ..
        } = self;
        vec![
            (
                self.is_late(*shown),
                format!("it was shown after {shown:.1?}, mended in {:.1?}", mending),
            ),
            (
                !self.settled,
                "a stream never showed what the database holds".to_owned(),
            ),
            (
                !promise.node_ends && streams.iter().any(|(opened, _)| *opened > 1),
                format!("streams ended: {streams:?}"),
            ),
            (
                self.has_new_epoch != self.restored,
                format!("a new epoch began: {}", self.has_new_epoch),
            ),
            (
                promise.is_away && streams[0].1 == 0,
                "the stream was never marked stale".to_owned(),
            ),
        ]
    }

    pub(super) fn row(&self) -> String {
        let cells = [
            self.name.to_owned(),
            self.refused.map_or("none refused".to_owned(), plain),
            plain(self.longest),
            plain(self.silence),
            self.recovered.map_or("never".to_owned(), plain),
            self.shown.map_or("never".to_owned(), plain),
            self.acknowledged.to_string(),
            format!("{} ({})", self.repeated.0, self.repeated.1),
            self.lost.to_string(),
            self.doubled.to_string(),
        ];
        format!("| {} |\n", cells.join(" | "))
    }
}

fn first_refusal(record: &Record, began: Instant) -> Option<Duration> {
    let refused = record
        .tries
        .iter()
        .filter(|one| one.status == Some(503) && one.answered >= began);
    refused.map(|one| one.answered - began).min()
}

fn longest_silence(record: &Record) -> Duration {
    let mut times: Vec<_> = record.acknowledged.iter().map(|one| one.answered).collect();
    times.sort_unstable();
    times
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .max()
        .unwrap_or_default()
}

/// When the last of the streams showed the list with this post.
fn shown_at(scene: &Scene<'_>, next: &Acknowledged, watches: &[Watch]) -> Option<Instant> {
    let revision = scene.direct.sql(&format!(
        "SELECT min(changes.revision) FROM changes JOIN topics ON topics.id = topic_id \
         WHERE comment = '{}';",
        next.comment
    ));
    let revision = revision.parse().ok()?;
    let epoch = scene.epoch();
    let shown = watches
        .iter()
        .map(|watch| watch.first_shown(scene.mending().0, &epoch, revision));
    shown.collect::<Option<Vec<_>>>()?.into_iter().max()
}

fn plain(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}
