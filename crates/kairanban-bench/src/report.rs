//! The figures of a run, and the tables and charts of them.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    chart,
    measure::{
        fan_out::{FanOut, Plan},
        growth::Curve,
        reads::ReadFigures,
        slow::Slow,
        small::{ChangeSize, StartTime},
        writes::{CommitLatency, WriteFigures},
    },
    statistics::median,
};

/// The figures of one run, of all measurements or of some. The fields are the keys of
/// `docs/benchmarks/*.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Results {
    /// Processors and kernel of the machine.
    pub machine: String,
    /// What was measured of each target by `fan-out`.
    pub plan: Option<Plan>,
    /// Fan-out, round by round.
    pub fan_out: Vec<FanOut>,
    /// Targets that could not be measured, and why.
    pub missing: Vec<(String, String)>,
    /// Figures of reads, by kind.
    pub reads: Vec<ReadFigures>,
    /// Figures of posts, by database.
    pub writes: Vec<WriteFigures>,
    /// Time from the commit to readers.
    pub soon: Vec<CommitLatency>,
    /// Bytes of a change.
    pub weights: Vec<ChangeSize>,
    /// Time to be ready.
    pub ready: Vec<StartTime>,
    /// Figures of slow readers.
    pub slow: Vec<Slow>,
    /// Curves against what grows.
    pub curves: Vec<Curve>,
}

impl Results {
    /// Writes the figures as `NAME.json`, and their charts beside it.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn save(&self, folder: &Path, name: &str) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(
            folder.join(format!("{name}.json")),
            serde_json::to_string_pretty(self)? + "\n",
        )?;
        if !self.fan_out.is_empty() {
            chart::bars(&folder.join(format!("{name}.svg")), &self.by_target())?;
        }
        let mut groups: Vec<(&str, &str)> = self
            .curves
            .iter()
            .map(|curve| (&*curve.of, &*curve.figure))
            .collect();
        groups.dedup();
        groups.sort_unstable();
        groups.dedup();
        for (number, (of, figure)) in groups.into_iter().enumerate() {
            let curves: Vec<_> = self
                .curves
                .iter()
                .filter(|curve| curve.of == of && curve.figure == figure)
                .collect();
            chart::curves(&folder.join(format!("{name}-{number}.svg")), &curves)?;
        }
        Ok(())
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If the file does not exist or is not of this version.
    pub fn load(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(format!("{name}.json"));
        read(&path).with_context(|| path.display().to_string())
    }

    /// Returns each target's processor time of a delivery as a multiple of the floor's in the same
    /// round: the median of the rounds.
    fn by_target(&self) -> Vec<(String, f64)> {
        let mut names: Vec<&str> = Vec::new();
        self.fan_out.iter().for_each(|one| {
            if !names.contains(&&*one.name) {
                names.push(&one.name);
            }
        });
        names
            .into_iter()
            .map(|name| (name.to_owned(), self.over_floor(name)))
            .collect()
    }

    fn over_floor(&self, name: &str) -> f64 {
        let floor = self.fan_out.first();
        let floor = floor.into_iter().flat_map(|one| self.rounds(&one.name));
        let ratios = self.rounds(name).zip(floor).map(|(own, floor)| own / floor);
        median(ratios.collect())
    }

    /// Returns the processor time of a delivery, round by round.
    fn rounds(&self, name: &str) -> impl Iterator<Item = f64> {
        self.fan_out
            .iter()
            .filter(move |one| one.name == name)
            .map(|one| one.delivery_us)
    }

    /// Returns the tables, in Markdown.
    #[must_use]
    pub fn tables(&self) -> String {
        let mut out = format!("{}\n", self.machine);
        self.fan_out_table(&mut out);
        self.request_tables(&mut out);
        self.small_tables(&mut out);
        self.slow_table(&mut out);
        self.growth_table(&mut out);
        out
    }

    /// Writes the tables of reads, of writes, and of the time from the commit to readers.
    fn request_tables(&self, out: &mut String) {
        table(
            out,
            "Reads",
            "| | bytes | processor µs each | per second | p50 ms |\n|---|---|---|---|---|",
            &self.reads,
            |read| {
                format!(
                    "{} | {:.0} | {:.1} | {:.0} | {:.2}",
                    read.name, read.answer_bytes, read.request_us, read.per_second, read.p50_ms
                )
            },
        );
        table(
            out,
            "Writes",
            "| | per second | p50 ms | p99 ms | processor µs each |\n|---|---|---|---|---|",
            &self.writes,
            |one| {
                format!(
                    "{} | {:.0} | {:.1} | {:.1} | {:.0}",
                    one.name, one.per_second, one.p50_ms, one.p99_ms, one.request_us
                )
            },
        );
        table(
            out,
            "Soon",
            "| | readers | p50 ms | p99 ms |\n|---|---|---|---|",
            &self.soon,
            |one| {
                format!(
                    "{} | {} | {:.2} | {:.2}",
                    one.name, one.readers, one.p50_ms, one.p99_ms
                )
            },
        );
    }

    fn small_tables(&self, out: &mut String) {
        table(
            out,
            "Bytes of a change",
            "| | bytes |\n|---|---|",
            &self.weights,
            |one| format!("`{}` | {:.0}", one.name, one.change_bytes),
        );
        table(
            out,
            "Ready",
            "| | p50 ms | most ms |\n|---|---|---|",
            &self.ready,
            |one| format!("{} | {:.0} | {:.0}", one.name, one.p50_ms, one.max_ms),
        );
    }

    fn slow_table(&self, out: &mut String) {
        let head = "| took nothing | others | each p50 / p99 ms | last p99 ms | lost | memory grew \
            by MiB |\n|---|---|---|---|---|---|";
        table(out, "Slow readers", head, &self.slow, |one| {
            let Slow {
                stalled,
                awake,
                each_p50_ms,
                each_p99_ms,
                last_p99_ms,
                lost,
                grown_mib,
            } = one;
            format!(
                "{stalled} | {awake} | {each_p50_ms:.1} / {each_p99_ms:.1} | {last_p99_ms:.1} | \
                 {lost} | {grown_mib:.1}"
            )
        });
    }

    fn growth_table(&self, out: &mut String) {
        table(
            out,
            "Growth",
            "| of | figure | who | exponent | points |\n|---|---|---|---|---|",
            &self.curves,
            |curve| {
                let points: Vec<_> = curve
                    .points
                    .iter()
                    .map(|(x, y)| format!("{x:.0}: {y:.1}"))
                    .collect();
                format!(
                    "{} | {} | {} | {:.2} | {}",
                    curve.of,
                    curve.figure,
                    curve.name,
                    curve.exponent(),
                    points.join(", ")
                )
            },
        );
    }

    fn fan_out_table(&self, out: &mut String) {
        let mut all = self.fan_out.clone();
        // Sorted by target.
        all.sort_by_key(|one| self.fan_out.iter().position(|first| first.name == one.name));
        let head = "| | readers | processor µs per delivery | of it own | × floor | KiB per idle \
            reader | idle % | connect s | bytes | each p50 / p99 ms | last p50 / p99 ms | lost \
            |\n|---|---|---|---|---|---|---|---|---|---|---|---|";
        table(out, "Fan-out", head, &all, |one| {
            let idle = one
                .idle_percent
                .map_or("–".to_owned(), |idle| format!("{idle:.2}"));
            format!(
                "{} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {idle} | {:.2} | {:.0} | {:.1} / {:.1} \
                 | {:.1} / {:.1} | {}",
                one.name,
                one.readers,
                one.delivery_us,
                one.delivery_own_us,
                self.over_floor(&one.name),
                one.reader_kib,
                one.connect_s,
                one.delivery_bytes,
                one.each_p50_ms,
                one.each_p99_ms,
                one.last_p50_ms,
                one.last_p99_ms,
                one.lost,
            )
        });
        for (name, why) in &self.missing {
            let _ = writeln!(out, "\nNot measured: {name}: {why}.");
        }
    }
}

fn table<T>(out: &mut String, title: &str, head: &str, rows: &[T], row: impl Fn(&T) -> String) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}\n\n{head}");
    rows.iter().for_each(|one| {
        let _ = writeln!(out, "| {} |", row(one));
    });
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fan_out(name: &str, delivery_us: f64) -> FanOut {
        FanOut {
            name: name.to_owned(),
            readers: 1,
            connect_s: 0.0,
            reader_kib: 0.0,
            delivery_us,
            delivery_own_us: 0.0,
            delivery_bytes: 0.0,
            each_p50_ms: 0.0,
            each_p99_ms: 0.0,
            last_p50_ms: 0.0,
            last_p99_ms: 0.0,
            lost: 0,
            verified: None,
            idle_percent: None,
        }
    }

    fn results(rounds: &[(&str, f64)]) -> Results {
        Results {
            fan_out: rounds
                .iter()
                .map(|(name, figure)| fan_out(name, *figure))
                .collect(),
            ..Results::default()
        }
    }

    #[test]
    fn each_round_is_compared_with_the_floor_of_the_same_round() {
        // The rounds are 2.0, 15.0 and 1.2. The medians alone would be 20 / 5.
        let results = results(&[
            ("floor", 10.0),
            ("ours", 20.0),
            ("floor", 2.0),
            ("ours", 30.0),
            ("floor", 5.0),
            ("ours", 6.0),
        ]);
        let by_target = results.by_target();
        assert_eq!(
            by_target
                .iter()
                .map(|(name, _)| &**name)
                .collect::<Vec<_>>(),
            ["floor", "ours"]
        );
        assert!(
            (by_target[0].1 - 1.0).abs() < 1e-9 && (by_target[1].1 - 2.0).abs() < 1e-9,
            "{by_target:?}"
        );
    }

    #[test]
    fn a_round_that_a_target_lacks_does_not_count() {
        let results = results(&[("floor", 4.0), ("ours", 8.0), ("floor", 4.0)]);
        assert!((results.over_floor("ours") - 2.0).abs() < 1e-9);
        assert!(results.over_floor("nowhere").is_nan());
    }

    fn columns(row: &str) -> usize {
        row.matches('|').count()
    }

    #[test]
    fn the_table_is_sorted_by_target_and_leaves_out_what_was_not_measured() {
        let tables =
            results(&[("floor", 4.0), ("ours", 8.0), ("floor", 5.0), ("ours", 9.0)]).tables();
        let rows: Vec<_> = tables
            .lines()
            .filter(|line| line.starts_with("| floor") || line.starts_with("| ours"))
            .collect();
        let names: Vec<_> = rows
            .iter()
            .map(|row| row.split(" | ").next().unwrap_or_default())
            .collect();
        assert_eq!(names, ["| floor", "| floor", "| ours", "| ours"]);
        let head = tables
            .lines()
            .find(|line| line.contains("× floor"))
            .expect("a head");
        assert!(
            rows.iter().all(|row| columns(row) == columns(head)),
            "{tables}"
        );
        assert!(!tables.contains("Writes"), "{tables}");
    }

    #[test]
    fn saved_figures_can_be_loaded() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut saved = Results {
            machine: "two cores".to_owned(),
            ..Results::default()
        };
        saved
            .missing
            .push(("nchan".to_owned(), "not installed".to_owned()));
        saved.save(folder.path(), "run").expect("a file");
        let loaded = Results::load(folder.path(), "run").expect("the file");
        assert_eq!(
            (loaded.machine, loaded.missing),
            (saved.machine, saved.missing)
        );
        let absent = Results::load(folder.path(), "none").expect_err("no such file");
        assert!(absent.to_string().contains("none.json"), "{absent}");
    }
}
