//! Finds tokens by their secrets, or by those of sessions. One query answers all lookups that
//! arrive at the same time: when a crowd reconnects after a restart, each client with a token, no
//! client waits long, and few requests are open meanwhile.

use std::fmt;

use kairanban_store::{FoundToken, Store, StoreError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    blocking::query_priority,
    failpoint,
    lookup_queue::{BATCH, Lookup, LookupQueue},
};

/// Finds tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TokenFinder(LookupQueue<Credential, Option<FoundToken>>);

/// The receiving end of the queue of lookups.
#[derive(Debug)]
pub struct TokenLookups(mpsc::Receiver<Lookup<Credential, Option<FoundToken>>>);

/// What a client presents. It is not shown.
#[derive(Clone)]
pub enum Credential {
    /// The secret of a token.
    Token(String),
    /// The secret of a browser's session.
    Session(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token",
            Self::Session(_) => "Session",
        })
    }
}

impl TokenFinder {
    /// Creates the two ends of the queue.
    #[must_use]
    pub fn new(store: Store) -> (Self, TokenLookups) {
        let (queue, lookups) = LookupQueue::new(store);
        (Self(queue), TokenLookups(lookups))
    }

    /// Finds the token that a client presents, valid or not, as it is in the database now. Cancel
    /// safe.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn find(&self, shown: Credential) -> Result<Option<FoundToken>, StoreError> {
        self.0.ask(shown).await
    }
}

/// Answers lookups until the server stops.
pub async fn run(store: &Store, lookups: &mut TokenLookups, stop: &CancellationToken) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            received = lookups.0.recv_many(&mut batch, BATCH) => if received == 0 { return },
        }
        failpoint::pass("token-finder");
        // A caller that gave up waiting needs no answer.
        batch.retain(Lookup::is_awaited);
        if batch.is_empty() {
            continue;
        }
        let shown: Vec<_> = batch.iter().map(|lookup| lookup.asked.clone()).collect();
        let found = query_priority(store, move |store| find_each(store, shown)).await;
        let each: Vec<_> = match found {
            Ok(tokens) => tokens.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); batch.len()],
        };
        for (lookup, found) in batch.drain(..).zip(each) {
            lookup.answer(found);
        }
    }
}

/// Finds what clients present, in that order.
fn find_each(store: &Store, shown: Vec<Credential>) -> Result<Vec<Option<FoundToken>>, StoreError> {
    let is_session: Vec<_> = shown
        .iter()
        .map(|shown| matches!(shown, Credential::Session(_)))
        .collect();
    let (mut tokens, mut sessions) = (Vec::new(), Vec::new());
    for shown in shown {
        match shown {
            Credential::Token(secret) => tokens.push(secret),
            Credential::Session(secret) => sessions.push(secret),
        }
    }
    let (mut tokens, mut sessions) = (
        found(&tokens, |secrets| store.find_tokens(secrets))?.into_iter(),
        found(&sessions, |secrets| store.find_sessions(secrets))?.into_iter(),
    );
    let each = is_session.into_iter().map(|is_session| {
        let kind = if is_session {
            &mut sessions
        } else {
            &mut tokens
        };
        kind.next().flatten()
    });
    Ok(each.collect())
}

/// Asks only if there is something to ask for.
fn found(
    secrets: &[String],
    find: impl FnOnce(&[String]) -> Result<Vec<Option<FoundToken>>, StoreError>,
) -> Result<Vec<Option<FoundToken>>, StoreError> {
    if secrets.is_empty() {
        Ok(Vec::new())
    } else {
        find(secrets)
    }
}
