//! Creates, finds and ends tokens, tickets and sessions.

use std::collections::BTreeSet;

use kairanban_core::{Actor, BoardName, BrowserSession, Token};

use super::Store;
use crate::{
    AdminCommand, FoundToken, NewBrowserSession, NewTicket, NewToken, RowPage, Secret, StoreError,
    TicketTimes, TokenKey,
    admin::{WriteEffect, WriteOutcome},
    browser_sessions,
    connection::AnyConnection,
    logged::{self, Changed},
    tickets::{self, PresentedTicket},
    tokens::{self, FoundBySecret},
    tx::WriteTx,
};

impl Store {
    /// Creates a token, from the server's own terminal. Returns its id.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], or if the database is away.
    pub fn create_token(&self, new: &NewToken, secret: &Secret) -> Result<i64, StoreError> {
        match self.at_the_terminal(&AdminCommand::CreateToken {
            new: new.clone(),
            secret: secret.clone(),
        })? {
            WriteOutcome::Token(id) => Ok(id),
            _ => Err(StoreError::Internal(
                "a token that was made has no id".to_owned(),
            )),
        }
    }

    /// Finds tokens by their secrets, in the order of these; expired and revoked ones, too. Notes
    /// that they were used.
    ///
    /// # Errors
    /// If the database is away.
    pub fn find_tokens(&self, secrets: &[String]) -> Result<Vec<Option<FoundToken>>, StoreError> {
        let found = self.with(|connection| tokens::find(connection, secrets))?;
        self.note_use(&found);
        Ok(found.each)
    }

    fn note_use(&self, found: &FoundBySecret) {
        if found.is_use_due()
            && let Err(error) = self
                .pool
                .with_write_lock(|connection| tokens::record_use(connection, found))
        {
            // They are valid all the same.
            tracing::warn!(%error, "cannot record the use of tokens or sessions");
        }
    }

    /// Reads tokens in the order of their ids: at most `limit`, expired and revoked ones, too, with
    /// ids greater than `after_id`.
    ///
    /// # Errors
    /// If the database is away.
    pub fn tokens(&self, after_id: i64, limit: usize) -> Result<RowPage<Token>, StoreError> {
        self.with(|connection| tokens::list(connection, after_id, limit))
    }

    /// Reads tokens by their ids, in no particular order. Those that are gone are left out.
    ///
    /// # Errors
    /// If the database is away.
    pub fn tokens_by_id(&self, ids: &[i64]) -> Result<Vec<FoundToken>, StoreError> {
        self.with(|connection| tokens::by_id(connection, ids))
    }

    /// Reads tokens in use again, by their own secrets or by sessions, in no particular order.
    /// Those that are gone are left out.
    ///
    /// # Errors
    /// If the database is away.
    pub fn tokens_in_use(&self, keys: &[TokenKey]) -> Result<Vec<FoundToken>, StoreError> {
        let by_secret = keys.iter().filter(|key| key.session.is_none());
        let ids: BTreeSet<_> = by_secret.map(|key| key.token).collect();
        let ids: Vec<_> = ids.into_iter().collect();
        let sessions: Vec<_> = keys.iter().filter_map(|key| key.session).collect();
        self.with(|connection| {
            let mut found = Vec::new();
            if !ids.is_empty() {
                found.extend(tokens::by_id(connection, &ids)?);
            }
            if !sessions.is_empty() {
                found.extend(browser_sessions::by_id(connection, &sessions)?);
            }
            Ok(found)
        })
    }

    /// Finds sessions by their secrets, in the order of these, each with its token; ended ones,
    /// too. Notes that they were used.
    ///
    /// # Errors
    /// If the database is away.
    pub fn find_sessions(&self, secrets: &[String]) -> Result<Vec<Option<FoundToken>>, StoreError> {
        let found = self.with(|connection| browser_sessions::find(connection, secrets))?;
        self.note_use(&found);
        Ok(found.each)
    }

    /// Begins a session. If its token has as many as it may have, the oldest one ends.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the token is gone, or if the database is away.
    pub fn create_session(&self, new: NewBrowserSession<'_>) -> Result<(), StoreError> {
        self.announced(|connection| {
            browser_sessions::create(connection, new)?;
            Ok(((), Changed::Nothing))
        })
    }

    /// Ends the session that has this secret, if there is one.
    ///
    /// # Errors
    /// If the database is away.
    pub fn end_session(&self, secret: &str) -> Result<(), StoreError> {
        self.announced(|connection| {
            let is_ended = browser_sessions::end_by_secret(connection, secret)?;
            Ok((
                (),
                if is_ended {
                    Changed::Token
                } else {
                    Changed::Nothing
                },
            ))
        })
    }

    /// Reads the sessions that are alive, in the order of their ids: at most `limit`, with ids
    /// greater than `after_id`.
    ///
    /// # Errors
    /// If the database is away.
    pub fn sessions(
        &self,
        after_id: i64,
        limit: usize,
    ) -> Result<RowPage<BrowserSession>, StoreError> {
        self.with(|connection| browser_sessions::list(connection, after_id, limit))
    }

    /// Revokes a token, from the server's own terminal.
    ///
    /// # Errors
    /// [`StoreError::NoSuchToken`], or if the database is away.
    pub fn revoke_token(&self, id: i64) -> Result<(), StoreError> {
        self.at_the_terminal(&AdminCommand::RevokeToken { id })
            .map(drop)
    }

    fn at_the_terminal(&self, command: &AdminCommand) -> Result<WriteOutcome, StoreError> {
        self.announced(|connection| {
            let WriteEffect { outcome, changed } = command.run(connection, &Actor::terminal())?;
            Ok((outcome, changed))
        })
    }

    /// Commits what `work` writes, in a transaction that the servers are notified of. `work` also
    /// returns what of that the log has to show.
    fn announced<T>(
        &self,
        work: impl Fn(&mut AnyConnection) -> Result<(T, Changed), StoreError>,
    ) -> Result<T, StoreError> {
        WriteTx::commit_on_pool(&self.pool, |tx| {
            let (done, changed) = tx.run(|connection| {
                connection.announce_commit()?;
                work(connection)
            })?;
            tx.stamp()?;
            let stamp = tx.stamped()?;
            tx.run(|connection| logged::ensure(connection, &[changed], &[], stamp.as_ref()))?;
            Ok(done)
        })
    }

    /// Creates a ticket that stands for a token on one board, unless `alive_max` tickets of that
    /// token are valid.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBoard`], [`StoreError::TooManyTickets`], or if the database is away.
    pub fn create_ticket(
        &self,
        new: NewTicket<'_>,
        times: TicketTimes,
        alive_max: usize,
    ) -> Result<(), StoreError> {
        self.pool
            .with_write_lock(|connection| tickets::create(connection, new, times, alive_max))
    }

    /// Uses a ticket for a board. Returns the token that it stands for, valid or not, if the ticket
    /// is valid and no other client has used it.
    ///
    /// # Errors
    /// If the database is away.
    pub fn use_ticket(
        &self,
        secret: &str,
        board: &BoardName,
        client: &str,
        times: TicketTimes,
    ) -> Result<Option<FoundToken>, StoreError> {
        let shown = PresentedTicket {
            secret,
            board,
            client,
        };
        // An invalid ticket must not wait for the lock, nor make others wait.
        if self
            .with(|connection| tickets::find(connection, shown, times))?
            .is_none()
        {
            return Ok(None);
        }
        self.pool
            .with_write_lock(|connection| tickets::redeem(connection, shown, times))
    }
}
