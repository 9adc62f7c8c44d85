//! What was measured, kept as it was found, and the tables and charts that are made of it.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    chart,
    measure::{
        fan_out::{FanOut, Plan},
        growth::Curve,
        reads::Read,
        slow::Slow,
        small::{Ready, Weight},
        writes::{Soon, Writes},
    },
};

/// One run, of everything or of a part.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Results {
    /// The machine that it ran on.
    pub machine: String,
    /// What was asked of those who fan out.
    pub plan: Option<Plan>,
    /// Round by round.
    pub fan_out: Vec<FanOut>,
    /// Who could not be measured, and why.
    pub missing: Vec<(String, String)>,
    /// Reads.
    pub reads: Vec<Read>,
    /// Writes.
    pub writes: Vec<Writes>,
    /// From the commit to readers.
    pub soon: Vec<Soon>,
    /// Bytes of a change.
    pub weights: Vec<Weight>,
    /// Time to be ready.
    pub ready: Vec<Ready>,
    /// Slow readers.
    pub slow: Vec<Slow>,
    /// Growth.
    pub curves: Vec<Curve>,
}

impl Results {
    /// Writes what was found as `NAME.json`, and its charts beside it.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn save(&self, folder: &Path, name: &str) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join(format!("{name}.json")), serde_json::to_string_pretty(self)? + "\n")?;
        if !self.fan_out.is_empty() {
            chart::bars(&folder.join(format!("{name}.svg")), &self.by_contender())?;
        }
        let mut groups: Vec<(&str, &str)> = self.curves.iter().map(|curve| (&*curve.of, &*curve.figure)).collect();
        groups.dedup();
        groups.sort_unstable();
        groups.dedup();
        for (number, (of, figure)) in groups.into_iter().enumerate() {
            let curves: Vec<_> = self.curves.iter().filter(|curve| curve.of == of && curve.figure == figure).collect();
            chart::curves(&folder.join(format!("{name}-{number}.svg")), &curves)?;
        }
        Ok(())
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// If it is not there.
    pub fn load(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(format!("{name}.json"));
        read(&path).with_context(|| path.display().to_string())
    }

    /// Each contender's processor time of a delivery over the floor's of the same round: the median of the rounds.
    fn by_contender(&self) -> Vec<(String, f64)> {
        let mut names: Vec<&str> = Vec::new();
        self.fan_out.iter().for_each(|one| {
            if !names.contains(&&*one.name) {
                names.push(&one.name);
            }
        });
        names.into_iter().map(|name| (name.to_owned(), self.over_floor(name))).collect()
    }

    fn over_floor(&self, name: &str) -> f64 {
        let rounds =
            |name: &str| self.fan_out.iter().filter(move |one| one.name == name).map(|one| one.delivery_us).collect::<Vec<_>>();
        let floor = self.fan_out.first().map(|one| rounds(&one.name)).unwrap_or_default();
        middle(rounds(name).into_iter().zip(floor).map(|(own, floor)| own / floor).collect())
    }

    /// The tables, in Markdown.
    #[must_use]
    pub fn tables(&self) -> String {
        let mut out = format!("{}\n", self.machine);
        self.fan_out_table(&mut out);
        table(
            &mut out,
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
            &mut out,
            "Writes",
            "| | per second | p50 ms | p99 ms | processor µs each |\n|---|---|---|---|---|",
            &self.writes,
            |one| format!("{} | {:.0} | {:.1} | {:.1} | {:.0}", one.name, one.per_second, one.p50_ms, one.p99_ms, one.request_us),
        );
        table(&mut out, "Soon", "| | readers | p50 ms | p99 ms |\n|---|---|---|---|", &self.soon, |one| {
            format!("{} | {} | {:.2} | {:.2}", one.name, one.readers, one.p50_ms, one.p99_ms)
        });
        table(&mut out, "Bytes of a change", "| | bytes |\n|---|---|", &self.weights, |one| {
            format!("`{}` | {:.0}", one.name, one.change_bytes)
        });
        table(&mut out, "Ready", "| | p50 ms | most ms |\n|---|---|---|", &self.ready, |one| {
            format!("{} | {:.0} | {:.0}", one.name, one.p50_ms, one.max_ms)
        });
        let head =
            "| took nothing | others | each p50 / p99 ms | last p99 ms | lost | memory grew by MiB |\n|---|---|---|---|---|---|";
        table(&mut out, "Slow readers", head, &self.slow, |one| {
            let Slow { stalled, awake, each_p50_ms, each_p99_ms, last_p99_ms, lost, grown_mib } = one;
            format!("{stalled} | {awake} | {each_p50_ms:.1} / {each_p99_ms:.1} | {last_p99_ms:.1} | {lost} | {grown_mib:.1}")
        });
        table(&mut out, "Growth", "| of | figure | who | exponent | points |\n|---|---|---|---|---|", &self.curves, |curve| {
            let points: Vec<_> = curve.points.iter().map(|(x, y)| format!("{x:.0}: {y:.1}")).collect();
            format!("{} | {} | {} | {:.2} | {}", curve.of, curve.figure, curve.name, curve.exponent(), points.join(", "))
        });
        out
    }

    fn fan_out_table(&self, out: &mut String) {
        let mut all = self.fan_out.clone();
        // The rounds of each stand together.
        all.sort_by_key(|one| self.fan_out.iter().position(|first| first.name == one.name));
        let head = "| | readers | processor µs per delivery | of it own | × floor | KiB per idle reader | idle % | connect s | bytes | each p50 / p99 ms | last p50 / p99 ms | lost |\n|---|---|---|---|---|---|---|---|---|---|---|---|";
        table(out, "Fan-out", head, &all, |one| {
            let idle = one.idle_percent.map_or("–".to_owned(), |idle| format!("{idle:.2}"));
            format!(
                "{} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {idle} | {:.2} | {:.0} | {:.1} / {:.1} | {:.1} / {:.1} | {}",
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

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        count if count % 2 == 0 => f64::midpoint(figures[count / 2 - 1], figures[count / 2]),
        count => figures[count / 2],
    }
}
