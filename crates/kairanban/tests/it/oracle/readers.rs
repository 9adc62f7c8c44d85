//! Readers of every format, who are cut off and come back.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tungstenite::{Message, client::IntoClientRequest as _};

use super::{
    BOARDS, Run, SETTLE, Shown,
    followers::follow,
    link::{Cut, PiecewiseAnswer},
    views::{FormatEvent, View},
};
use crate::sse;

/// A way to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ReaderKind {
    Tutorial,
    List,
    Patch,
    Gzip,
    Ndjson,
    Html,
    HtmlList,
    Turbo,
    Raw,
    Many,
    Socket,
    LongPoll,
    /// Our own client, on one board.
    Client,
    /// Of the client library, on several boards.
    ClientOfMany,
}

const KINDS: [ReaderKind; 14] = [
    ReaderKind::Patch,
    ReaderKind::Tutorial,
    ReaderKind::List,
    ReaderKind::Gzip,
    ReaderKind::Ndjson,
    ReaderKind::Html,
    ReaderKind::HtmlList,
    ReaderKind::Turbo,
    ReaderKind::Raw,
    ReaderKind::Many,
    ReaderKind::Socket,
    ReaderKind::LongPoll,
    ReaderKind::Client,
    ReaderKind::ClientOfMany,
];

/// The kinds that are sent what they missed as a patch.
pub(super) const SENT_PATCHES: [ReaderKind; 5] = [
    ReaderKind::Patch,
    ReaderKind::Gzip,
    ReaderKind::Ndjson,
    ReaderKind::Many,
    ReaderKind::Socket,
];

/// Starts `count` readers, of all kinds in turn.
pub(super) fn start(run: &Arc<Run>, count: u64) -> Vec<JoinHandle<()>> {
    (0..count)
        .zip(KINDS.into_iter().cycle())
        .map(|(n, kind)| {
            let run = Arc::clone(run);
            let thread = thread::Builder::new().stack_size(512 * 1024);
            thread.spawn(move || read(&run, n, kind)).expect("a thread")
        })
        .collect()
}

fn read(run: &Run, n: u64, kind: ReaderKind) {
    if matches!(kind, ReaderKind::Client | ReaderKind::ClientOfMany) {
        return follow(run, n, kind);
    }
    let mut reader = OracleReader {
        run,
        kind,
        view: View::default(),
        returned: false,
        random: fastrand::Rng::with_seed(run.seed ^ n << 20),
    };
    // Of all its streams together, from the first one that begins when all has been written.
    let mut settled_by = None;
    loop {
        let is_last = run.last.get().is_some();
        if is_last {
            settled_by.get_or_insert_with(|| Instant::now() + SETTLE);
        }
        let end = settled_by.unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600));
        run.streams
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        reader.view.reconnect();
        let done = reader.once(end);
        match done {
            Err(fault) => return run.fault(format!("{kind:?}, reader {n}: {fault}")),
            Ok(()) if is_last && (kind == ReaderKind::Raw || reader.is_there()) => return,
            Ok(()) if Instant::now() > end => {
                return run.fault(format!(
                    "{kind:?}, reader {n} did not come to the end: {:?}",
                    reader.shown()
                ));
            }
            Ok(()) => thread::park_timeout(Duration::from_millis(reader.random.u64(1..50))),
        }
    }
}

struct OracleReader<'a> {
    run: &'a Run,
    kind: ReaderKind,
    view: View,
    /// It opened a stream with a cursor, and nothing has come yet.
    returned: bool,
    random: fastrand::Rng,
}

impl OracleReader<'_> {
    /// Reads one stream until it breaks, is cut, or has come to the end.
    fn once(&mut self, end: Instant) -> Result<(), String> {
        let cut = if self.run.is_over() {
            usize::MAX
        } else {
            self.random.usize(50..60_000)
        };
        let Ok(cut) = Cut::connect(self.run.any_address(&mut self.random), cut) else {
            return Ok(());
        };
        self.returned = self.view.cursor.is_some();
        if self.kind == ReaderKind::Socket {
            return self.read_socket(cut, end);
        }
        let mut path = match self.kind {
            ReaderKind::Tutorial => "/topic_stream/",
            ReaderKind::List => "/b/main/stream",
            ReaderKind::Gzip => "/b/main/stream?format=patch&compress=gzip",
            ReaderKind::Ndjson => "/b/main/stream?format=ndjson",
            ReaderKind::Html => "/b/main/stream?format=html",
            ReaderKind::HtmlList => "/b/main/stream?format=html-list",
            ReaderKind::Turbo => "/b/main/stream?format=turbo",
            ReaderKind::Raw => "/b/main/stream?format=raw",
            ReaderKind::Many => "/stream?board=main&board=two&format=patch",
            ReaderKind::LongPoll => "/api/v1/boards/main/topics",
            _ => "/b/main/stream?format=patch",
        }
        .to_owned();
        let cursor = self.view.cursor.clone();
        let tag = cursor.as_ref().map(|cursor| format!("\"{cursor}\""));
        let header = match (self.kind, &cursor, &tag) {
            (ReaderKind::LongPoll, _, Some(tag)) => {
                path.push_str("?wait=1");
                Some(("If-None-Match", tag.as_str()))
            }
            (_, Some(cursor), _) => Some(("Last-Event-ID", cursor.as_str())),
            _ => None,
        };
        let headers: Vec<_> = header.into_iter().collect();
        match PiecewiseAnswer::get(cut, &path, &headers) {
            Err(_) => Ok(()),
            Ok(answer) if self.kind == ReaderKind::LongPoll => self.read_poll(answer),
            Ok(answer) if answer.status == 200 => self.read_stream(answer, end),
            Ok(answer) => Err(format!("{} for {path}", answer.status)),
        }
    }

    fn read_stream(&mut self, mut answer: PiecewiseAnswer, end: Instant) -> Result<(), String> {
        let mut text = String::new();
        let separator = if self.kind == ReaderKind::Ndjson {
            "\n"
        } else {
            "\n\n"
        };
        while let Some(piece) = answer.piece() {
            text.push_str(&piece);
            while let Some(at) = text.find(separator) {
                let block: String = text.drain(..at + separator.len()).collect();
                if let Some(event) = self.event(&block)? {
                    self.take(&event)?;
                }
            }
            if self.is_done(end) {
                return Ok(());
            }
            if self.run.is_over() {
                answer.spare();
            }
        }
        Ok(())
    }

    fn event(&self, block: &str) -> Result<Option<FormatEvent>, String> {
        if self.kind == ReaderKind::Ndjson {
            return if block == "\n" {
                Ok(None)
            } else {
                line(block).map(Some)
            };
        }
        let event = sse::parse(block);
        let says = !event.data.is_empty() || event.id.is_some();
        Ok(says.then_some(FormatEvent {
            name: event.name,
            id: event.id,
            data: event.data,
        }))
    }

    fn read_socket(&mut self, cut: Cut, end: Instant) -> Result<(), String> {
        let place = self
            .view
            .cursor
            .as_ref()
            .map_or(String::new(), |cursor| format!("?last_event_id={cursor}"));
        let request = format!("ws://localhost/b/main/ws{place}")
            .into_client_request()
            .expect("a request");
        let Ok((mut socket, _)) = tungstenite::client(request, cut) else {
            return Ok(());
        };
        loop {
            match socket.read() {
                Ok(Message::Text(text)) => self.take(&line(&text)?)?,
                Ok(Message::Close(_)) | Err(_) => return Ok(()),
                Ok(_) => {}
            }
            if self.is_done(end) {
                return Ok(());
            }
            if self.run.is_over() {
                socket.get_mut().spare();
            }
        }
    }

    fn read_poll(&mut self, answer: PiecewiseAnswer) -> Result<(), String> {
        match answer.status {
            // A node that begins or ends may have no answer; nothing has changed for a while.
            304 | 503 => Ok(()),
            200 => {
                let tag = answer
                    .head
                    .lines()
                    .find_map(|line| line.strip_prefix("etag: "))
                    .ok_or("no tag")?;
                let id = Some(tag.trim().trim_matches('"').to_owned());
                match answer.body() {
                    Some(data) => self.take(&FormatEvent {
                        name: String::new(),
                        id,
                        data,
                    }),
                    None => Ok(()),
                }
            }
            other => Err(format!("{other} for a poll")),
        }
    }

    fn take(&mut self, event: &FormatEvent) -> Result<(), String> {
        let is_first = std::mem::take(&mut self.returned);
        if is_first && event.name == "patch" {
            let mut resumed = self.run.resumed.lock().expect("a lock");
            *resumed.entry(self.kind).or_default() += 1;
        }
        let completed = match self.kind {
            ReaderKind::Tutorial | ReaderKind::List | ReaderKind::LongPoll => {
                self.view.take_list(event)
            }
            ReaderKind::Html | ReaderKind::HtmlList | ReaderKind::Turbo => {
                self.view.take_fragments(event)
            }
            ReaderKind::Raw => self.view.take_comment(event),
            _ => self.view.take_state(event),
        };
        completed?
            .into_iter()
            .for_each(|completed| self.run.saw(completed));
        Ok(())
    }

    fn is_done(&self, end: Instant) -> bool {
        self.run.last.get().is_some()
            && (self.kind == ReaderKind::Raw
                || self.is_there()
                || self.view.lacks_a_board()
                || Instant::now() > end)
    }

    /// What it shows, as far as it can tell.
    fn shown(&self) -> Vec<(usize, Shown)> {
        let by_digest = matches!(
            self.kind,
            ReaderKind::Patch
                | ReaderKind::Gzip
                | ReaderKind::Ndjson
                | ReaderKind::Many
                | ReaderKind::Socket
        );
        let boards = if self.kind == ReaderKind::Many {
            BOARDS.len()
        } else {
            1
        };
        (0..boards)
            .map(|board| (board, self.view.shown(board, by_digest)))
            .collect()
    }

    fn is_there(&self) -> bool {
        let Some(last) = self.run.last.get() else {
            return false;
        };
        self.shown()
            .iter()
            .all(|(board, shown)| last.ends_with(*board, shown))
    }
}

/// A line of `ndjson`.
fn line(text: &str) -> Result<FormatEvent, String> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("{error}: {text:?}"))?;
    let id = value["id"].as_str().map(ToOwned::to_owned);
    let id = if value["event"] == "reset" {
        Some(String::new())
    } else {
        id
    };
    Ok(FormatEvent {
        name: value["event"].as_str().unwrap_or_default().to_owned(),
        id,
        data: value["data"].to_string(),
    })
}
