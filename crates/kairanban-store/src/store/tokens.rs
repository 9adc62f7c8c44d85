//! Creates, finds and ends tokens and tickets.

use kairanban_core::{Actor, BoardName, Token};

use super::Store;
use crate::{
    AdminCommand, FoundToken, NewTicket, NewToken, RowPage, Secret, StoreError, TicketTimes,
    admin::{WriteOutcome, Written},
    logged,
    tickets::{self, PresentedTicket},
    tokens,
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
        let (found, used) = self.with(|connection| tokens::find(connection, secrets))?;
        if !used.is_empty()
            && let Err(error) = self
                .pool
                .with_write_lock(|connection| tokens::record_use(connection, &used))
        {
            // The tokens are valid all the same.
            tracing::warn!(%error, "it could not be noted that tokens were used");
        }
        Ok(found)
    }

    /// Reads tokens in the order of their ids, after one of them.
    ///
    /// # Errors
    /// If the database is away.
    pub fn tokens(&self, after: i64, limit: usize) -> Result<RowPage<Token>, StoreError> {
        self.with(|connection| tokens::list(connection, after, limit))
    }

    /// Reads tokens by their ids, in no particular order. Those that are gone are left out.
    ///
    /// # Errors
    /// If the database is away.
    pub fn tokens_by_id(&self, ids: &[i64]) -> Result<Vec<FoundToken>, StoreError> {
        self.with(|connection| tokens::by_id(connection, ids))
    }

    /// Revokes a token, from the server's own terminal.
    ///
    /// # Errors
    /// [`StoreError::NoSuchToken`], or if the database is away.
    pub fn revoke_token(&self, id: i64) -> Result<(), StoreError> {
        self.at_the_terminal(&AdminCommand::RevokeToken { id })
            .map(drop)
    }

    /// Runs a command in a transaction that the servers are notified of.
    fn at_the_terminal(&self, command: &AdminCommand) -> Result<WriteOutcome, StoreError> {
        WriteTx::commit_on_pool(&self.pool, |tx| {
            let Written { outcome, changed } = tx.run(|connection| {
                connection.announce_commit()?;
                command.run(connection, &Actor::terminal())
            })?;
            tx.stamp()?;
            let stamp = tx.stamped()?;
            tx.run(|connection| logged::ensure(connection, &[changed], &[], stamp.as_ref()))?;
            Ok(outcome)
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
