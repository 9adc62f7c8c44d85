//! curl as a client of a proxy: TLS, and either version of HTTP.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::proxy::Proxy;
use crate::sse::{Event, Mirror, parse};

#[derive(Clone, Copy, Debug)]
pub(super) enum Http {
    One,
    Two,
}

pub(super) struct Client {
    http: Http,
    port: u16,
    certificate: PathBuf,
}

/// What a reader who followed to the end has seen.
pub(super) struct Followed {
    pub(super) comments: BTreeSet<String>,
    /// How often it came back, and was not answered with 200.
    pub(super) refused: usize,
}

impl Client {
    pub(super) fn new(proxy: &Proxy, http: Http) -> Self {
        Self {
            http,
            port: proxy.port,
            certificate: proxy.certificate(),
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        match self.http {
            Http::One => "HTTP/1.1",
            Http::Two => "HTTP/2",
        }
    }

    fn curl(&self, path: &str) -> Command {
        let mut command = Command::new("curl");
        let http = match self.http {
            Http::One => "--http1.1",
            Http::Two => "--http2",
        };
        command
            .args(["-sSN", "--noproxy", "*", http, "--cacert"])
            .arg(&self.certificate)
            .args([
                "--resolve",
                &format!("board.example:{}:127.0.0.1", self.port),
            ])
            .arg(format!("https://board.example:{}{path}", self.port));
        command
    }

    /// Sends a request. Returns the status, 0 if there was no answer.
    fn status(&self, command: &mut Command) -> u16 {
        let output = command
            .args(["-o", "/dev/null", "-w", "%{http_code} %{http_version}"])
            .output()
            .expect("curl");
        let said = String::from_utf8(output.stdout).expect("text");
        let (status, version) = said.split_once(' ').expect("both");
        let status = status.parse().expect("a number");
        let expected = match self.http {
            Http::One => "1.1",
            Http::Two => "2",
        };
        assert!(status == 0 || version == expected, "{said}");
        status
    }

    pub(super) fn get(&self, path: &str) -> u16 {
        self.get_with(path, &[])
    }

    pub(super) fn get_with(&self, path: &str, headers: &[&str]) -> u16 {
        let mut command = self.curl(path);
        for header in headers {
            command.args(["-H", header]);
        }
        self.status(&mut command)
    }

    pub(super) fn post(&self, comment: &str, headers: &[&str]) -> u16 {
        let mut command = self.curl("/");
        command.args(["-H", "Content-Type: text/plain", "--data-binary", comment]);
        for header in headers {
            command.args(["-H", header]);
        }
        self.status(&mut command)
    }

    pub(super) fn stream(&self, path: &str, cursor: Option<&str>) -> Stream {
        let mut command = self.curl(path);
        command.args(["-i", "-H", "Accept: text/event-stream"]);
        if let Some(cursor) = cursor {
            command.args(["-H", &format!("Last-Event-ID: {cursor}")]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("curl");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (line, lines) = channel();
        // It ends with the pipe, or with the receiver.
        thread::spawn(move || {
            let _ = output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|read| line.send(read));
        });
        Stream { child, lines }
    }

    /// Follows the board as an `EventSource` does until it is over and the last topic is shown.
    pub(super) fn follow(&self, over: &AtomicBool) -> Followed {
        let mut mirror = Mirror::default();
        let mut followed = Followed {
            comments: BTreeSet::new(),
            refused: 0,
        };
        let began = Instant::now();
        loop {
            let cursor = (!mirror.cursor.is_empty()).then(|| mirror.cursor.clone());
            let stream = self.stream("/b/main/stream?format=patch", cursor.as_deref());
            if !stream.is_accepted() {
                followed.refused += 1;
            }
            let mut retry = Duration::from_millis(100);
            while let Some(event) = stream.event() {
                retry = event.retry.map_or(retry, Duration::from_millis);
                mirror.take(&event);
                followed
                    .comments
                    .extend(mirror.comments().into_iter().map(str::to_owned));
                if over.load(Ordering::SeqCst) && followed.comments.contains("the last") {
                    return followed;
                }
            }
            assert!(began.elapsed() < Duration::from_secs(120), "never over");
            thread::park_timeout(retry);
        }
    }
}

/// A stream that curl reads. Ended when dropped.
pub(super) struct Stream {
    child: Child,
    lines: Receiver<String>,
}

impl Stream {
    /// Waits for the line that holds a text. Returns whether it came in time.
    pub(super) fn find(&mut self, text: &str, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        std::iter::from_fn(|| {
            let left = end.checked_duration_since(Instant::now())?;
            self.lines.recv_timeout(left).ok()
        })
        .any(|line| line.contains(text))
    }

    /// Reads the head of the answer. Returns whether its status is 200.
    pub(super) fn is_accepted(&self) -> bool {
        let status = self.lines.recv().unwrap_or_default();
        while self.lines.recv().is_ok_and(|line| !line.trim().is_empty()) {}
        status.contains(" 200")
    }

    /// The next event; `None` at the end of the stream.
    fn event(&self) -> Option<Event> {
        let mut block = String::new();
        loop {
            let line = self.lines.recv().ok()?;
            if line.is_empty() && !block.is_empty() {
                return Some(parse(&block));
            }
            if !line.starts_with(':') && !line.is_empty() {
                block.push_str(&line);
                block.push('\n');
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
