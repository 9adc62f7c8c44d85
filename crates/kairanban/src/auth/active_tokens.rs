//! The tokens and tickets that are in use on this node, so that a change of one reaches the
//! streams that came in by it. The follower reports changes; one reading of the database serves all.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use dashmap::DashMap;
use kairanban_store::FoundToken;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// All of them. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ActiveTokens(Arc<Held>);

#[derive(Debug, Default)]
struct Held {
    /// By their ids and the digests of their secrets: a row whose secret was replaced is another token. `None` is a token that is
    /// gone.
    tokens: DashMap<(i64, String), watch::Sender<Option<FoundToken>>>,
    /// The end of each token that was seen to be over, by its key: it stays over when a clock is set back. At most `over_max`.
    over: DashMap<i64, DateTime<Utc>>,
    over_max: usize,
    /// By themselves: the stream that each ticket holds open.
    tickets: DashMap<String, CancellationToken>,
    /// How often the tokens began to be read again.
    looks: AtomicU64,
}

/// The place of the one stream that a ticket lets in. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct TicketLease {
    held: Arc<Held>,
    ticket: String,
    over: CancellationToken,
}

impl ActiveTokens {
    /// None yet. Of the tokens that were seen to be over, `over_max` are kept: those that ended last.
    #[must_use]
    pub fn new(over_max: usize) -> Self {
        Self(Arc::new(Held {
            over_max,
            ..Held::default()
        }))
    }

    /// How often the tokens began to be read again. A caller that finds a token in the database compares
    /// this from before with this after [`follow`](Self::follow): only if they are the same, no change
    /// can have been missed.
    pub(super) fn looks(&self) -> u64 {
        self.0.looks.load(Ordering::SeqCst)
    }

    /// Whether a token is good now. One that was seen to be over is good again only with a later end.
    pub(super) fn is_good(&self, found: &FoundToken) -> bool {
        let Some(end) = found.token.expires_at else {
            return found.is_valid();
        };
        if found.is_valid() {
            return self
                .0
                .over
                .get(&found.token.id)
                .is_none_or(|over| end > *over);
        }
        if found.token.revoked_at.is_none() {
            self.0
                .over
                .entry(found.token.id)
                .and_modify(|over| *over = end.max(*over))
                .or_insert(end);
            self.forget_first_ended();
        }
        false
    }

    /// Keeps the number of tokens that were seen to be over within its bound. A clock would have to step back the furthest for
    /// those that ended first.
    fn forget_first_ended(&self) {
        // A tenth at once: looking for the first takes a look at all.
        if self.0.over.len() > self.0.over_max {
            let mut ends: Vec<_> = self
                .0
                .over
                .iter()
                .map(|over| (*over.value(), *over.key()))
                .collect();
            ends.sort_unstable();
            let surplus = ends
                .len()
                .saturating_sub(self.0.over_max - self.0.over_max / 10);
            ends.iter().take(surplus).for_each(|(_, id)| {
                self.0.over.remove(id);
            });
        }
    }

    /// Follows a token: the receiver has each change of it, until it is gone.
    pub(super) fn follow(&self, found: FoundToken) -> watch::Receiver<Option<FoundToken>> {
        let followed = self
            .0
            .tokens
            .entry((found.token.id, found.digest.clone()))
            .or_insert_with(|| watch::channel(None).0);
        // What those who hold it know of it is kept true by the looks; what is left from the last one to hold it is not.
        if followed.receiver_count() == 0 {
            followed.send_replace(Some(found));
        }
        followed.subscribe()
    }

    /// Takes the place of a ticket's stream; an earlier one ends.
    pub(super) fn take_ticket(&self, ticket: &str) -> TicketLease {
        let over = CancellationToken::new();
        if let Some(earlier) = self.0.tickets.insert(ticket.to_owned(), over.clone()) {
            earlier.cancel();
        }
        TicketLease {
            held: Arc::clone(&self.0),
            ticket: ticket.to_owned(),
            over,
        }
    }

    /// Returns the keys of the tokens that are followed, before they are read again. Forgets all others.
    #[must_use]
    pub fn begin_refresh(&self) -> HashSet<(i64, String)> {
        self.0.looks.fetch_add(1, Ordering::SeqCst);
        self.0.tokens.retain(|_, token| token.receiver_count() > 0);
        self.0
            .tokens
            .iter()
            .map(|entry| entry.key().clone())
            .collect()
    }

    /// Notifies the followers of the tokens `asked` of what was `found`.
    pub fn finish_refresh(&self, asked: &HashSet<(i64, String)>, found: &[FoundToken]) {
        let found: HashMap<_, _> = found
            .iter()
            .map(|found| ((found.token.id, found.digest.as_str()), found))
            .collect();
        for entry in &self.0.tokens {
            // One that is followed since was found later than this.
            if !asked.contains(entry.key()) {
                continue;
            }
            let (id, digest) = entry.key();
            let now = found.get(&(*id, digest.as_str())).copied();
            entry.send_if_modified(|followed| {
                // The moment of its end is another one each time by as much as a reading takes.
                let changed =
                    followed.as_ref().map(|found| &found.token) != now.map(|found| &found.token);
                if changed {
                    *followed = now.cloned();
                }
                changed
            });
        }
    }
}

impl TicketLease {
    /// Whether another stream came in by the same ticket.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Waits until another stream comes in by the same ticket.
    pub(super) async fn over(&self) {
        self.over.cancelled().await;
    }
}

impl Drop for TicketLease {
    fn drop(&mut self) {
        // A later stream's place is not ours to give back; a cancelled one is never the newest.
        self.held
            .tickets
            .remove_if(&self.ticket, |_, _| !self.over.is_cancelled());
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use kairanban_core::{Scope, Token};

    use super::*;

    fn token() -> Token {
        Token {
            id: 7,
            name: "bot".to_owned(),
            scope: Scope::Read,
            board: None,
            created_at: DateTime::UNIX_EPOCH,
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        }
    }

    /// As it is read when the database's clock stands at the beginning of the epoch.
    fn found(token: Token) -> FoundToken {
        FoundToken::new(token, "d1".to_owned(), DateTime::UNIX_EPOCH)
    }

    #[test]
    fn what_was_seen_to_be_over_stays_over() {
        let held = ActiveTokens::new(9);
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let until = |end| Token {
            expires_at: Some(at(end)),
            ..token()
        };
        let read = |end, now| FoundToken::new(until(end), "d1".to_owned(), at(now));
        assert!(
            held.is_good(&found(token()))
                && held.is_good(&read(100, 40))
                && held.is_good(&read(100, 10))
        );
        assert!(!held.is_good(&read(100, 100)), "over");
        assert!(!held.is_good(&read(100, 40)), "and the clock was set back");
        assert!(!held.is_good(&read(90, 40)), "it ends even earlier now");
        assert!(held.is_good(&read(200, 40)), "its end was put off");
        let revoked = Token {
            revoked_at: Some(at(0)),
            ..until(100)
        };
        let another = |token: Token| found(Token { id: 8, ..token });
        assert!(
            !held.is_good(&another(revoked)) && held.is_good(&another(until(100))),
            "what the owner takes back is taken back"
        );
        assert!(
            held.is_good(&read(i64::from(u32::MAX) * 30, 0)),
            "no clock counts that far"
        );
    }

    #[test]
    fn tokens_that_are_over_are_kept_up_to_a_bound() {
        let held = ActiveTokens::new(20);
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let read = |id, now| {
            FoundToken::new(
                Token {
                    id,
                    expires_at: Some(at(id)),
                    ..token()
                },
                "d1".to_owned(),
                at(now),
            )
        };
        for id in 1..=1_000 {
            assert!(!held.is_good(&read(id, 2_000)));
            assert!(held.0.over.len() <= 20);
        }
        assert!(!held.is_good(&read(1_000, 999)), "the last to end is kept");
    }

    #[test]
    fn a_change_reaches_who_holds_the_token() {
        let held = ActiveTokens::new(9);
        let mut followed = held.follow(found(token()));
        let asked = held.begin_refresh();
        held.finish_refresh(&asked, &[found(token())]);
        assert!(!followed.has_changed().expect("open"), "the same");
        let revoked = Token {
            revoked_at: Some(DateTime::UNIX_EPOCH + TimeDelta::days(1)),
            ..token()
        };
        held.finish_refresh(&asked, &[found(revoked)]);
        assert!(
            followed
                .borrow_and_update()
                .as_ref()
                .is_some_and(|found| found.token.revoked_at.is_some())
        );
        held.finish_refresh(&asked, &[]);
        assert!(followed.borrow_and_update().is_none(), "gone");
        drop(followed);
        assert!(held.begin_refresh().is_empty(), "not followed any more");
        assert_eq!(held.looks(), 2);
    }

    #[test]
    fn a_row_whose_secret_was_replaced_is_another_token() {
        let held = ActiveTokens::new(9);
        let rotated = FoundToken::new(token(), "d2".to_owned(), DateTime::UNIX_EPOCH);
        let before = held.follow(found(token()));
        let after = held.follow(rotated.clone());
        let asked = held.begin_refresh();
        held.finish_refresh(&asked, &[rotated]);
        assert!(before.borrow().is_none(), "the secret is gone");
        assert!(after.borrow().is_some());
    }

    #[test]
    fn a_ticket_holds_one_stream() {
        let held = ActiveTokens::new(9);
        let first = held.take_ticket("t");
        let second = held.take_ticket("t");
        assert!(first.is_over() && !second.is_over());
        drop(first);
        assert_eq!(held.0.tickets.len(), 1, "the second's");
        drop(second);
        assert_eq!(held.0.tickets.len(), 0);
    }
}
