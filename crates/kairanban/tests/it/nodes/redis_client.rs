//! A client of Redis, by which tests read and write what the nodes share.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::wire::PATIENCE;

/// A client of Redis that knows no more of the protocol than these tests need.
pub(super) struct RedisClient(BufReader<TcpStream>);

impl RedisClient {
    pub(super) fn connect(url: &str) -> Self {
        let connection = TcpStream::connect(url.trim_start_matches("redis://")).expect("Redis");
        connection
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit");
        Self(BufReader::new(connection))
    }

    /// Sends a command. Returns the string that Redis answers with; `None`, for anything else.
    pub(super) fn ask(&mut self, words: &[&str]) -> Option<String> {
        let words = words
            .iter()
            .map(|word| format!("${}\r\n{word}\r\n", word.len()))
            .collect::<Vec<_>>();
        self.0
            .get_mut()
            .write_all(format!("*{}\r\n{}", words.len(), words.concat()).as_bytes())
            .expect("sent");
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer");
        let length: usize = line
            .strip_prefix('$')
            .and_then(|length| length.trim().parse().ok())?;
        let mut text = vec![0; length + 2];
        self.0.read_exact(&mut text).expect("a string");
        Some(String::from_utf8(text).expect("text").trim_end().to_owned())
    }

    /// Waits until the value of `key` holds `text`, and returns it.
    pub(super) fn wait_for(&mut self, key: &str, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(copy) = self.ask(&["GET", key]).filter(|copy| copy.contains(text)) {
                return copy;
            }
            assert!(
                Instant::now() < deadline,
                "no copy with {text:?} under {key}"
            );
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}
