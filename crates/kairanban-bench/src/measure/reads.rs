//! Reads: a list that is in memory, compared with a file of the same size from nginx.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::fill;
use crate::{
    http_connection::HttpConnection,
    process::{Process, free_address, nginx_temp_paths},
    saturate::{LoadStats, median_of, saturate},
    target::{Kairanban, kairanban},
    wire::{self, Endpoint},
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
    /// Processor time of the server for each request.
    pub request_us: f64,
    /// Responses in a second, by 32 connections.
    pub per_second: f64,
    /// Time of a request: the median.
    pub p50_ms: f64,
}

/// Measures a list of 500 topics as JSON, and the same bytes as a file of nginx: plain, with gzip,
/// and as 304.
///
/// # Errors
/// If something cannot be started.
pub fn reads(rounds: usize) -> Result<Vec<ReadFigures>> {
    let target = kairanban("kairanban", Kairanban::default());
    let running = target.start()?;
    fill(&running, TOPICS)?;
    let list = Resource::new(running.endpoint.clone(), PATH);
    let (own_tag, body) = list.fetch()?;
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("list.json"), body)?;
    let nginx = nginx(folder.path())?;
    let file = Resource::new(nginx.address.into(), "/list.json");
    let (file_tag, _) = file.fetch()?;
    let gzip = "accept-encoding: gzip\r\n";
    let ours = &running.process;
    let requests = [
        ("nginx, a file", &nginx, file.get("")),
        ("kairanban", ours, list.get("")),
        ("nginx, a file, gzip beforehand", &nginx, file.get(gzip)),
        ("kairanban, gzip", ours, list.get(gzip)),
        ("nginx, 304", &nginx, file.get(&if_none_match(&file_tag))),
        ("kairanban, 304", ours, list.get(&if_none_match(&own_tag))),
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
        Self {
            name: name.to_owned(),
            answer_bytes: median_of(rounds, |stats| stats.answer_bytes),
            request_us: median_of(rounds, |stats| stats.request_us),
            per_second: median_of(rounds, |stats| stats.per_second),
            p50_ms: median_of(rounds, |stats| stats.p50_ms),
        }
    }
}

/// What is read: a list of kairanban, or the same bytes as a file of nginx.
struct Resource {
    endpoint: Endpoint,
    path: &'static str,
}

impl Resource {
    const fn new(endpoint: Endpoint, path: &'static str) -> Self {
        Self { endpoint, path }
    }

    fn get(&self, headers: &str) -> Vec<u8> {
        wire::get(&self.endpoint, self.path, headers)
    }

    /// Returns its ETag and its body.
    fn fetch(&self) -> Result<(String, Vec<u8>)> {
        let mut connection = HttpConnection::open(self.endpoint.address)?;
        connection.send(&self.get(""))?;
        let (head, body) = split_head(connection.response())?;
        Ok((etag(&head)?, body.to_vec()))
    }
}

fn if_none_match(tag: &str) -> String {
    format!("if-none-match: {tag}\r\n")
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
