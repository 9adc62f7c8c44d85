//! Reads: a list that is in memory, beside a file of the same size from nginx.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::{fill, median};
use crate::{
    contender::{Kairanban, kairanban},
    drive::{Driven, drive},
    process::{Process, free_address},
    publisher::Line,
    wire,
};

const TOPICS: u32 = 500;
const PATH: &str = "/api/v1/boards/main/topics";
const LINES: usize = 32;
const ROUND: Duration = Duration::from_secs(3);

/// What one kind of GET costs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Read {
    /// Who answers what.
    pub name: String,
    /// Bytes of an answer, head and all.
    pub answer_bytes: f64,
    /// Processor time of the server for each.
    pub request_us: f64,
    /// Answers in a second, by 32 connections.
    pub per_second: f64,
    /// The median of how long one took.
    pub p50_ms: f64,
}

/// A list of 500 topics, as JSON, and the same bytes as a file of nginx; with gzip, and by those who have it.
///
/// # Errors
/// If something cannot be started.
pub fn reads(rounds: usize) -> Result<Vec<Read>> {
    let ours = kairanban("kairanban", Kairanban::default());
    let running = ours.start()?;
    fill(&running, TOPICS)?;
    let get = |headers: &str| wire::get(&running.door, PATH, headers);
    let mut line = running.line()?;
    line.ask(&get(""))?;
    let (head, body) = parts(line.heard())?;
    let own_tag = tag(&head)?;
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("list.json"), body)?;
    let file = nginx(folder.path())?;
    let mut other = Line::open(file.address)?;
    let get_file = |headers: &str| wire::get(&file.address.into(), "/list.json", headers);
    other.ask(&get_file(""))?;
    let file_tag = tag(&parts(other.heard())?.0)?;
    let known = |tag: &str| format!("if-none-match: {tag}\r\n");
    let zipped = "accept-encoding: gzip\r\n";
    let asked = [
        ("nginx, a file", &file, get_file("")),
        ("kairanban", &running.process, get("")),
        ("nginx, a file, gzip beforehand", &file, get_file(zipped)),
        ("kairanban, gzip", &running.process, get(zipped)),
        ("nginx, 304", &file, get_file(&known(&file_tag))),
        ("kairanban, 304", &running.process, get(&known(&own_tag))),
    ];
    let mut driven: Vec<Vec<Driven>> = asked.iter().map(|_| Vec::new()).collect();
    // In turns, so that whatever else the machine does meets all of them.
    for _ in 0..rounds {
        for ((_, process, request), driven) in asked.iter().zip(&mut driven) {
            driven.push(drive(process, LINES, ROUND, |_, _| request.clone())?);
        }
    }
    let read = |((name, ..), driven): (&(&str, &Process, Vec<u8>), Vec<Driven>)| Read {
        name: (*name).to_owned(),
        answer_bytes: median(driven.iter().map(|driven| driven.answer_bytes).collect()),
        request_us: median(driven.iter().map(|driven| driven.request_us).collect()),
        per_second: median(driven.iter().map(|driven| driven.per_second).collect()),
        p50_ms: median(driven.iter().map(|driven| driven.p50_ms).collect()),
    };
    Ok(asked.iter().zip(driven).map(read).collect())
}

fn tag(head: &str) -> Result<String> {
    let tag = head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .context("no ETag")?;
    Ok(tag.trim().to_owned())
}

fn parts(answer: &[u8]) -> Result<(String, &[u8])> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n").context("no head")? + 4;
    Ok((
        String::from_utf8_lossy(&answer[..end]).to_lowercase(),
        &answer[end..],
    ))
}

fn nginx(folder: &Path) -> Result<Process> {
    let address = free_address()?;
    Command::new("gzip")
        .args(["-9", "-k"])
        .arg(folder.join("list.json"))
        .status()?;
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths: String = temporary
        .iter()
        .map(|kind| format!("{kind}_temp_path {kind}; "))
        .collect();
    let text = format!(
        "worker_processes 1;\ndaemon off;\npid nginx.pid;\nerror_log error.log warn;\nevents {{ worker_connections 1024; }}\n\
         http {{ access_log off; sendfile on; tcp_nopush on; open_file_cache max=10; keepalive_requests 1000000000; gzip_static on; {paths}\n\
         server {{ listen {address}; root {}; default_type application/json; }} }}\n",
        folder.display()
    );
    fs::write(folder.join("nginx.conf"), text)?;
    // Its worker is another user.
    #[cfg(unix)]
    fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let mut command = Command::new("nginx");
    command
        .arg("-p")
        .arg(folder)
        .args(["-c", "nginx.conf", "-e", "error.log"]);
    Process::start(command, address, "/list.json")
}
