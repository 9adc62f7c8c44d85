//! Decides what it means that a client has closed its side of a connection, as `nc -N` does after
//! its request.
//!
//! The client may still wait for the answer. actix must not see the end then: it would take the
//! rest of a body for lost. So the socket keeps the end back until nothing is left to answer. A
//! stream or a long poll ends at once.

use std::cell::Cell;

/// The end of the client's side of a connection, and what it means.
#[derive(Debug, Default)]
pub struct HalfClose {
    progress: Cell<Progress>,
    meaning: Cell<EndMeaning>,
}

/// How far the end has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Progress {
    #[default]
    NotSeen,
    /// The socket keeps it back.
    KeptBack,
    /// actix has seen it.
    PassedOn,
}

/// What the end of the client's side means to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndMeaning {
    /// The client has asked for everything, and waits for the answer.
    #[default]
    WaitsForAnswer,
    /// The client is gone.
    Gone,
    /// There is no more to read. A WebSocket answers that.
    EndOfInput,
}

impl HalfClose {
    /// Sets what the end means from now on.
    pub fn set_meaning(&self, meaning: EndMeaning) {
        self.meaning.set(meaning);
    }

    /// Records the end. Returns whether actix may see it, which it may not while it is answering.
    pub fn record_end(&self, is_answering: bool) -> bool {
        let is_kept = is_answering && self.meaning.get() == EndMeaning::WaitsForAnswer;
        self.progress.set(if is_kept {
            Progress::KeptBack
        } else {
            Progress::PassedOn
        });
        !is_kept
    }

    /// Returns whether an end was kept back, and no longer is.
    pub fn is_due(&self, is_answering: bool) -> bool {
        let is_kept = is_answering && self.meaning.get() == EndMeaning::WaitsForAnswer;
        self.progress.get() == Progress::KeptBack && !is_kept
    }

    /// Returns whether the connection ends without an answer.
    pub fn is_gone(&self, is_answering: bool) -> bool {
        is_answering
            && self.meaning.get() == EndMeaning::Gone
            && self.progress.get() != Progress::NotSeen
    }
}
