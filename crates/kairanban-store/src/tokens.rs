//! Tokens: made, found by their digest, ended. And tickets, which let one stream in for a token.

use std::{collections::HashMap, fmt, time::Duration};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use diesel::prelude::*;
use kairanban_core::{BoardName, Scope, Token, TokenName};
use sha2::{Digest as _, Sha256};

use crate::{
    StoreError,
    connection::AnyConnection,
    error::Refusal,
    repository,
    schema::{boards, tickets, tokens},
};

/// So that a scanner for secrets knows one when it sees it.
const PREFIX: &str = "kairanban_";
/// And this server one kind from the other.
const TICKET_PREFIX: &str = "kairanban_ticket_";

/// A token or a ticket, as its holder has it. It is shown once and kept nowhere.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// A new token: 256 bits that nobody can guess.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn token() -> Result<Self, StoreError> {
        Self::random(PREFIX)
    }

    /// A new ticket.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn ticket() -> Result<Self, StoreError> {
        Self::random(TICKET_PREFIX)
    }

    /// The text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn random(prefix: &str) -> Result<Self, StoreError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| StoreError::Internal(error.to_string()))?;
        Ok(Self(format!("{prefix}{}", hex(&random))))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What it is for.
    pub name: TokenName,
    /// What it allows.
    pub scope: Scope,
    /// The one board that it is for; `None` for all.
    pub board: Option<BoardName>,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
}

/// How long a ticket is good.
#[derive(Clone, Copy, Debug)]
pub struct TicketTimes {
    /// Until it has to be used first.
    pub first_use: Duration,
    /// From one use to the next.
    pub idle: Duration,
}

#[derive(Queryable)]
struct TokenRow {
    id: i64,
    name: String,
    scope: String,
    board: Option<String>,
    created_at: NaiveDateTime,
    expires_at: Option<NaiveDateTime>,
    revoked_at: Option<NaiveDateTime>,
    last_used_at: Option<NaiveDateTime>,
}

impl TokenRow {
    fn into_token(self) -> Result<Token, StoreError> {
        let unknown = |what: &str| StoreError::Internal(format!("token {} has a {what} that is none", self.id));
        Ok(Token {
            id: self.id,
            scope: self.scope.parse().map_err(|_| unknown("scope"))?,
            board: self.board.map(|name| name.parse()).transpose().map_err(|_| unknown("board"))?,
            name: self.name,
            created_at: self.created_at.and_utc(),
            expires_at: self.expires_at.map(|at| at.and_utc()),
            revoked_at: self.revoked_at.map(|at| at.and_utc()),
            last_used_at: self.last_used_at.map(|at| at.and_utc()),
        })
    }
}

/// Makes a token. Gives its key.
pub(crate) fn create(connection: &mut AnyConnection, new: &NewToken, secret: &Secret) -> Result<i64, StoreError> {
    let board_id = new.board.as_ref().map(|board| repository::board_id(connection, board)).transpose()?;
    let row = (
        tokens::name.eq(new.name.as_str()),
        tokens::digest.eq(digest(secret.reveal())),
        tokens::scope.eq(new.scope.as_str()),
        tokens::board_id.eq(board_id.map(|id| id.0)),
        tokens::expires_at.eq(new.expires_at.map(|at| at.naive_utc())),
    );
    let created = connection.modify_returning(diesel::insert_into(tokens::table).values(row).returning(tokens::id))?;
    created.ok_or_else(|| StoreError::Refused(Refusal::default()))
}

/// The tokens that some people show, each in its place, if they are ours, good or not.
///
/// They are looked up by their digests, so how long that takes tells nothing about them.
pub(crate) fn find(connection: &mut AnyConnection, secrets: &[String]) -> Result<Vec<Option<Token>>, StoreError> {
    let digests: Vec<_> = secrets.iter().map(|secret| digest(secret)).collect();
    let all =
        tokens::table.left_join(boards::table.on(tokens::board_id.eq(boards::id.nullable()))).select((tokens::digest, columns()));
    let rows: Vec<(String, TokenRow)> = match digests.as_slice() {
        // A statement for any number could not be kept prepared.
        [only] => all.filter(tokens::digest.eq(only)).load(connection)?,
        digests => all.filter(tokens::digest.eq_any(digests)).load(connection)?,
    };
    let found: HashMap<_, _> =
        rows.into_iter().map(|(digest, row)| Ok((digest, row.into_token()?))).collect::<Result<_, StoreError>>()?;
    Ok(digests.iter().map(|digest| found.get(digest).cloned()).collect())
}

/// The keys of those that are used now, as far as that is worth noting: to the minute, or each request would be a write.
pub(crate) fn used(found: &[Option<Token>]) -> Vec<i64> {
    let now = Utc::now();
    let is_due = |token: &&Token| token.last_used_at.is_none_or(|at| now - at >= TimeDelta::minutes(1));
    found.iter().flatten().filter(|token| token.is_valid(now)).filter(is_due).map(|token| token.id).collect()
}

/// Notes that tokens are used now.
pub(crate) fn note_use(connection: &mut AnyConnection, ids: &[i64]) -> Result<(), StoreError> {
    let rows = tokens::table.filter(tokens::id.eq_any(ids.iter().copied()));
    diesel::update(rows).set(tokens::last_used_at.eq(Utc::now().naive_utc())).execute(connection)?;
    Ok(())
}

/// Tokens in the order of their keys, after one of them.
pub(crate) fn list(connection: &mut AnyConnection, after: i64, limit: usize) -> Result<Vec<Token>, StoreError> {
    let rows: Vec<TokenRow> = tokens::table
        .left_join(boards::table.on(tokens::board_id.eq(boards::id.nullable())))
        .filter(tokens::id.gt(after))
        .order(tokens::id)
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .select(columns())
        .load(connection)?;
    rows.into_iter().map(TokenRow::into_token).collect()
}

/// Tokens by their keys, in no particular order; those that are gone are left out.
pub(crate) fn by_id(connection: &mut AnyConnection, ids: &[i64]) -> Result<Vec<Token>, StoreError> {
    let rows: Vec<TokenRow> = tokens::table
        .left_join(boards::table.on(tokens::board_id.eq(boards::id.nullable())))
        .filter(tokens::id.eq_any(ids.iter().copied()))
        .select(columns())
        .load(connection)?;
    rows.into_iter().map(TokenRow::into_token).collect()
}

/// Ends a token that has not been ended yet.
pub(crate) fn revoke(connection: &mut AnyConnection, id: i64) -> Result<(), StoreError> {
    let row = tokens::table.filter(tokens::id.eq(id).and(tokens::revoked_at.is_null()));
    let ended = connection.modify(diesel::update(row).set(tokens::revoked_at.eq(Utc::now().naive_utc())))?;
    match ended {
        0 if row.count().get_result::<i64>(connection)? > 0 => Err(StoreError::Refused(Refusal::default())),
        0 => Err(StoreError::NoSuchToken(id)),
        _ => Ok(()),
    }
}

/// Makes a ticket for a token and one board.
pub(crate) fn create_ticket(
    connection: &mut AnyConnection,
    token: i64,
    board: &BoardName,
    secret: &Secret,
) -> Result<(), StoreError> {
    let board_id = repository::board_id(connection, board)?;
    let row = (
        tickets::digest.eq(digest(secret.reveal())),
        tickets::token_id.eq(token),
        tickets::board_id.eq(board_id.0),
        tickets::made_at.eq(Utc::now().naive_utc()),
    );
    diesel::insert_into(tickets::table).values(row).execute(connection)?;
    Ok(())
}

/// Uses a ticket for a board: the token that it stands for, if it is still good.
pub(crate) fn use_ticket(
    connection: &mut AnyConnection,
    secret: &str,
    board: &BoardName,
    times: TicketTimes,
) -> Result<Option<Token>, StoreError> {
    let now = Utc::now();
    let digest = digest(secret);
    let found: Option<(i64, NaiveDateTime, Option<NaiveDateTime>)> = tickets::table
        .filter(tickets::digest.eq(&digest))
        .inner_join(boards::table)
        .filter(boards::name.eq(board.as_str()))
        .select((tickets::token_id, tickets::made_at, tickets::used_at))
        .first(connection)
        .optional()?;
    let in_time = |made_at: NaiveDateTime, used_at: Option<NaiveDateTime>| {
        used_at.map_or(now < made_at.and_utc() + times.first_use, |at| now < at.and_utc() + times.idle)
    };
    let Some((token, ..)) = found.filter(|(_, made_at, used_at)| in_time(*made_at, *used_at)) else { return Ok(None) };
    diesel::update(tickets::table.filter(tickets::digest.eq(&digest)))
        .set(tickets::used_at.eq(now.naive_utc()))
        .execute(connection)?;
    Ok(by_id(connection, &[token])?.pop())
}

/// Forgets tickets that are no longer good. Gives how many.
pub(crate) fn forget_tickets(connection: &mut AnyConnection, times: TicketTimes) -> Result<usize, StoreError> {
    let (unused, idle) = ((Utc::now() - times.first_use).naive_utc(), (Utc::now() - times.idle).naive_utc());
    let over = tickets::used_at.is_null().and(tickets::made_at.lt(unused)).or(tickets::used_at.lt(idle).assume_not_null());
    Ok(diesel::delete(tickets::table.filter(over)).execute(connection)?)
}

type Columns = (
    tokens::id,
    tokens::name,
    tokens::scope,
    diesel::helper_types::Nullable<boards::name>,
    tokens::created_at,
    tokens::expires_at,
    tokens::revoked_at,
    tokens::last_used_at,
);

fn columns() -> Columns {
    (
        tokens::id,
        tokens::name,
        tokens::scope,
        boards::name.nullable(),
        tokens::created_at,
        tokens::expires_at,
        tokens::revoked_at,
        tokens::last_used_at,
    )
}

fn digest(secret: &str) -> String {
    hex(&Sha256::digest(secret))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
