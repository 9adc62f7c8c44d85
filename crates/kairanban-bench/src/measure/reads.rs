//! Reads: a list that is in memory, compared with a file of the same size from nginx.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::fill;
use crate::{
    http_connection::HttpConnection,
    process::{Process, free_address, nginx_temp_paths},
    saturate::{LoadStats, saturate},
    statistics::median,
    target::{Kairanban, kairanban},
    wire,
};

const TOPICS: u32 = 500;
const PATH: &str = "/api/v1/boards/main/topics";
const CONNECTIONS: usize = 32;
const ROUND: Duration = Duration::from_secs(3);

/// The cost of one kind of GET.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadFigures {
    /// The server and the kind of response.
    pub name: String,
    /// Bytes of a response, with its head.
    pub answer_bytes: f64,
    /// Processor time of the server for each.
    pub request_us: f64,
    /// Responses in a second, by 32 connections.
    pub per_second: f64,
    /// How long a request took: the median.
    pub p50_ms: f64,
}

/// Measures a list of 500 topics as JSON, and the same bytes as a file of nginx: plain, with gzip, and as 304.
///
/// # Errors
/// If something cannot be started.
pub fn reads(rounds: usize) -> Result<Vec<ReadFigures>> {
    let ours = kairanban("kairanban", Kairanban::default());
    let running = ours.start()?;
    fill(&running, TOPICS)?;
    let get = |headers: &str| wire::get(&running.endpoint, PATH, headers);
    let mut connection = running.connection()?;
    connection.send(&get(""))?;
    let (head, body) = split_head(connection.response())?;
    let own_tag = etag(&head)?;
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("list.json"), body)?;
    let file = nginx(folder.path())?;
    let mut connection = HttpConnection::open(file.address)?;
    let get_file = |headers: &str| wire::get(&file.address.into(), "/list.json", headers);
    connection.send(&get_file(""))?;
    let file_tag = etag(&split_head(connection.response())?.0)?;
    let if_changed = |tag: &str| format!("if-none-match: {tag}\r\n");
    let gzip = "accept-encoding: gzip\r\n";
    let requests = [
        ("nginx, a file", &file, get_file("")),
        ("kairanban", &running.process, get("")),
        ("nginx, a file, gzip beforehand", &file, get_file(gzip)),
        ("kairanban, gzip", &running.process, get(gzip)),
        ("nginx, 304", &file, get_file(&if_changed(&file_tag))),
        (
            "kairanban, 304",
            &running.process,
            get(&if_changed(&own_tag)),
        ),
    ];
    let mut rounds_of: Vec<Vec<LoadStats>> = requests.iter().map(|_| Vec::new()).collect();
    // In turns, so that other work of the machine affects all of them.
    for _ in 0..rounds {
        for ((_, process, request), stats) in requests.iter().zip(&mut rounds_of) {
            stats.push(saturate(process, CONNECTIONS, ROUND, |_, _| {
                request.clone()
            })?);
        }
    }
    let rounds_of = requests.iter().zip(rounds_of);
    Ok(rounds_of
        .map(|((name, ..), stats)| ReadFigures::of(name, &stats))
        .collect())
}

impl ReadFigures {
    fn of(name: &str, rounds: &[LoadStats]) -> Self {
        let median_of = |figure: fn(&LoadStats) -> f64| median(rounds.iter().map(figure).collect());
        Self {
            name: name.to_owned(),
            answer_bytes: median_of(|stats| stats.answer_bytes),
            request_us: median_of(|stats| stats.request_us),
            per_second: median_of(|stats| stats.per_second),
            p50_ms: median_of(|stats| stats.p50_ms),
        }
    }
}

fn etag(head: &str) -> Result<String> {
    let tag = head
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .context("no ETag")?;
    Ok(tag.trim().to_owned())
}

fn split_head(response: &[u8]) -> Result<(String, &[u8])> {
    let end = memchr::memmem::find(response, b"\r\n\r\n").context("no head")? + 4;
    Ok((
        String::from_utf8_lossy(&response[..end]).to_lowercase(),
        &response[end..],
    ))
}

fn nginx(folder: &Path) -> Result<Process> {
    let address = free_address()?;
    Command::new("gzip")
        .args(["-9", "-k"])
        .arg(folder.join("list.json"))
        .status()?;
    let paths = nginx_temp_paths();
    let text = format!(
        "worker_processes 1;\ndaemon off;\npid nginx.pid;\nerror_log error.log warn;\nevents {{ \
         worker_connections 1024; }}\nhttp {{ access_log off; sendfile on; tcp_nopush on; \
         open_file_cache max=10; keepalive_requests 1000000000; gzip_static on; {paths}\nserver {{ \
         listen {address}; root {}; default_type application/json; }} }}\n",
        folder.display()
    );
    fs::write(folder.join("nginx.conf"), text)?;
    // Its worker process runs as another user.
    #[cfg(unix)]
    fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let mut command = Command::new("nginx");
    command
        .arg("-p")
        .arg(folder)
        .args(["-c", "nginx.conf", "-e", "error.log"]);
    Process::start(command, address, "/list.json")
}
