//! Keeps the tokens and tickets that are in use on this node, so that a change of one reaches the
//! streams that were opened with it. The follower reports changes; one reading of the database
//! serves all.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, Utc};
use dashmap::DashMap;
use kairanban_core::Token;
use kairanban_store::{FoundBrowserSession, FoundToken, TokenKey};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The tokens and tickets in use. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ActiveTokens(Arc<TokenTable>);

#[derive(Debug, Default)]
struct TokenTable {
    /// The tokens that callers follow, by what they are read again. `None` once the token, or the
    /// session by which it was found, is gone.
    tokens: DashMap<TokenKey, watch::Sender<Option<FoundToken>>>,
    /// When each token and session expired that was seen to have expired: it stays expired if a
    /// clock is set back. At most `expired_max`.
    expired: DashMap<Expiring, DateTime<Utc>>,
    expired_max: usize,
    /// Cancels the stream that each ticket holds open, by the ticket.
    tickets: DashMap<String, CancellationToken>,
    /// How many refreshes have begun.
    refreshes: AtomicU64,
}

/// What expires, by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Expiring {
    Token(i64),
    Session(i64),
}

/// The right of one stream to a ticket. Dropping it frees the ticket.
#[derive(Debug)]
pub(super) struct TicketLease {
    table: Arc<TokenTable>,
    ticket: String,
    replaced: CancellationToken,
}

impl ActiveTokens {
    /// Creates an empty table. It remembers at most `expired_max` expired tokens: those that
    /// expired last.
    #[must_use]
    pub fn new(expired_max: usize) -> Self {
        Self(Arc::new(TokenTable {
            expired_max,
            ..TokenTable::default()
        }))
    }

    /// Returns the numbers of tokens and of tickets in use.
    #[must_use]
    pub fn in_use(&self) -> (usize, usize) {
        (self.0.tokens.len(), self.0.tickets.len())
    }

    /// Returns how many refreshes have begun. Compare the number from before a token is read from
    /// the database with the number after [`follow`](Self::follow): only if they are equal, no
    /// change was missed.
    pub(super) fn refresh_count(&self) -> u64 {
        self.0.refreshes.load(Ordering::SeqCst)
    }

    /// Returns whether a token is valid now, and the session by which it was found. What was seen
    /// to have expired is valid again only with a later expiry.
    pub(super) fn is_valid(&self, found: &FoundToken) -> bool {
        let of_token = found.token.expires_at;
        let of_token = of_token.map(|end| (Expiring::Token(found.token.id), end));
        let of_session = found
            .session
            .map(|session| (Expiring::Session(session.id), session.expires_at));
        let mut ends = [of_token, of_session].into_iter().flatten();
        if !found.has_ended() {
            let expired = &self.0.expired;
            return ends.all(|(id, end)| expired.get(&id).is_none_or(|expired| end > *expired));
        }
        // The later one may not have come yet.
        let first = ends.min_by_key(|(_, end)| *end);
        if let Some((id, end)) = first.filter(|_| found.token.revoked_at.is_none()) {
            self.0
                .expired
                .entry(id)
                .and_modify(|expired| *expired = end.max(*expired))
                .or_insert(end);
            self.evict_first_expired();
        }
        false
    }

    /// Keeps the number of expired tokens within its bound. Evicts those that expired first: a
    /// clock would have to step back the furthest for them.
    fn evict_first_expired(&self) {
        // Evicts a tenth at once, since finding the first ones reads all.
        if self.0.expired.len() > self.0.expired_max {
            let mut ends: Vec<_> = self
                .0
                .expired
                .iter()
                .map(|expired| (*expired.value(), *expired.key()))
                .collect();
            ends.sort_unstable();
            let surplus = ends
                .len()
                .saturating_sub(self.0.expired_max - self.0.expired_max / 10);
            ends.iter().take(surplus).for_each(|(_, id)| {
                self.0.expired.remove(id);
            });
        }
    }

    /// Follows a token. The receiver is sent each change of it, until it is gone.
    pub(super) fn follow(&self, found: FoundToken) -> watch::Receiver<Option<FoundToken>> {
        let followed = self
            .0
            .tokens
            .entry(found.key())
            .or_insert_with(|| watch::channel(None).0);
        // Refreshes keep it current only while it is followed.
        if followed.receiver_count() == 0 {
            followed.send_replace(Some(found));
        }
        followed.subscribe()
    }

    /// Leases a ticket to a new stream, and ends the stream that had it before.
    pub(super) fn lease_ticket(&self, ticket: &str) -> TicketLease {
        let replaced = CancellationToken::new();
        if let Some(earlier) = self.0.tickets.insert(ticket.to_owned(), replaced.clone()) {
            earlier.cancel();
        }
        TicketLease {
            table: Arc::clone(&self.0),
            ticket: ticket.to_owned(),
            replaced,
        }
    }

    /// Returns the keys of the tokens to read again, which are those that are followed. Evicts all
    /// others.
    #[must_use]
    pub fn begin_refresh(&self) -> HashSet<TokenKey> {
        self.0.refreshes.fetch_add(1, Ordering::SeqCst);
        self.0.tokens.retain(|_, token| token.receiver_count() > 0);
        self.0
            .tokens
            .iter()
            .map(|entry| entry.key().clone())
            .collect()
    }

    /// Sends what was `found` of the tokens `asked` for to those who follow them.
    pub fn finish_refresh(&self, asked: &HashSet<TokenKey>, found: &[FoundToken]) {
        let found: HashMap<_, _> = found.iter().map(|found| (found.key(), found)).collect();
        for entry in &self.0.tokens {
            // A token that is followed only since then was read later than `found`.
            if !asked.contains(entry.key()) {
                continue;
            }
            let now = found.get(entry.key()).copied();
            entry.send_if_modified(|followed| {
                // `FoundToken::ends_at` differs each time by as much as the reading took.
                fn stored(found: &FoundToken) -> (&Token, Option<FoundBrowserSession>) {
                    (&found.token, found.session)
                }
                let changed = followed.as_ref().map(stored) != now.map(stored);
                if changed {
                    *followed = now.cloned();
                }
                changed
            });
        }
    }
}

impl TicketLease {
    /// Returns whether another stream was opened with the same ticket.
    pub(super) fn is_replaced(&self) -> bool {
        self.replaced.is_cancelled()
    }

    /// Waits until another stream is opened with the same ticket.
    pub(super) async fn replaced(&self) {
        self.replaced.cancelled().await;
    }
}

impl Drop for TicketLease {
    fn drop(&mut self) {
        // A lease that was replaced must not remove the newer one.
        self.table
            .tickets
            .remove_if(&self.ticket, |_, _| !self.replaced.is_cancelled());
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use kairanban_core::Scope;

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

    /// Returns a token as it is read while the database's clock stands at the Unix epoch.
    fn found(token: Token) -> FoundToken {
        FoundToken::new(token, "d1".to_owned(), DateTime::UNIX_EPOCH)
    }

    #[test]
    fn an_expired_token_stays_expired() {
        let active = ActiveTokens::new(9);
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let until = |end| Token {
            expires_at: Some(at(end)),
            ..token()
        };
        let read = |end, now| FoundToken::new(until(end), "d1".to_owned(), at(now));
        assert!(
            active.is_valid(&found(token()))
                && active.is_valid(&read(100, 40))
                && active.is_valid(&read(100, 10))
        );
        assert!(!active.is_valid(&read(100, 100)), "expired");
        assert!(
            !active.is_valid(&read(100, 40)),
            "and the clock was set back"
        );
        assert!(!active.is_valid(&read(90, 40)), "it ends even earlier now");
        assert!(active.is_valid(&read(200, 40)), "its end was put off");
        let revoked = Token {
            revoked_at: Some(at(0)),
            ..until(100)
        };
        let another = |token: Token| found(Token { id: 8, ..token });
        assert!(
            !active.is_valid(&another(revoked)) && active.is_valid(&another(until(100))),
            "what the owner takes back is taken back"
        );
        assert!(
            active.is_valid(&read(i64::from(u32::MAX) * 30, 0)),
            "no clock counts that far"
        );
    }

    /// Returns a token as it is read at `now` by a session that ends at 100.
    fn read(session: i64, token_end: Option<i64>, now: i64) -> FoundToken {
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let token = Token {
            expires_at: token_end.map(at),
            ..token()
        };
        let session = FoundBrowserSession {
            id: session,
            expires_at: at(100),
        };
        FoundToken::of_session(token, "d1".to_owned(), session, at(now))
    }

    #[test]
    fn a_session_ends_by_itself_and_with_its_token_and_stays_ended() {
        let active = ActiveTokens::new(9);
        assert!(active.is_valid(&read(1, None, 40)));
        assert!(!active.is_valid(&read(1, None, 100)), "over");
        assert!(
            !active.is_valid(&read(1, None, 40)),
            "the clock stepped back"
        );
        assert!(active.is_valid(&read(2, None, 40)), "another session");
        assert!(!active.is_valid(&read(2, Some(50), 60)), "with its token");
        assert!(!active.is_valid(&read(3, Some(50), 40)), "and the others");
        assert!(active.is_valid(&read(3, Some(70), 40)), "a later expiry");
    }

    #[test]
    fn expired_tokens_are_kept_up_to_a_bound() {
        let active = ActiveTokens::new(20);
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
            assert!(!active.is_valid(&read(id, 2_000)));
            assert!(active.0.expired.len() <= 20);
        }
        assert!(
            !active.is_valid(&read(1_000, 999)),
            "the last to end is kept"
        );
    }

    #[test]
    fn a_change_reaches_those_who_follow_the_token() {
        let active = ActiveTokens::new(9);
        let mut followed = active.follow(found(token()));
        let asked = active.begin_refresh();
        active.finish_refresh(&asked, &[found(token())]);
        assert!(!followed.has_changed().expect("open"), "the same");
        let revoked = Token {
            revoked_at: Some(DateTime::UNIX_EPOCH + TimeDelta::days(1)),
            ..token()
        };
        active.finish_refresh(&asked, &[found(revoked)]);
        assert!(
            followed
                .borrow_and_update()
                .as_ref()
                .is_some_and(|found| found.token.revoked_at.is_some())
        );
        active.finish_refresh(&asked, &[]);
        assert!(followed.borrow_and_update().is_none(), "gone");
        drop(followed);
        assert!(active.begin_refresh().is_empty(), "not followed any more");
        assert_eq!(active.refresh_count(), 2);
    }

    #[test]
    fn a_row_whose_secret_was_replaced_is_another_token() {
        let active = ActiveTokens::new(9);
        let rotated = FoundToken::new(token(), "d2".to_owned(), DateTime::UNIX_EPOCH);
        let before = active.follow(found(token()));
        let after = active.follow(rotated.clone());
        let asked = active.begin_refresh();
        active.finish_refresh(&asked, &[rotated]);
        assert!(before.borrow().is_none(), "the secret is gone");
        assert!(after.borrow().is_some());
    }

    #[test]
    fn a_ticket_holds_one_stream() {
        let active = ActiveTokens::new(9);
        let first = active.lease_ticket("t");
        let second = active.lease_ticket("t");
        assert!(first.is_replaced() && !second.is_replaced());
        drop(first);
        assert_eq!(active.0.tickets.len(), 1, "the second's");
        drop(second);
        assert_eq!(active.0.tickets.len(), 0);
    }
}
