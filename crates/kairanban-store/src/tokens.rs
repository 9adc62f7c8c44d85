//! Tokens: made, found by their digest, ended; and what a session is found as.

use std::{collections::HashMap, time::Instant};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use kairanban_core::{BoardName, Scope, Token, TokenName};

use crate::{
    RowPage, StoreError, classified,
    connection::AnyConnection,
    lenient::{self, LossyText, Time},
    repository,
    row_page::limit_of_page,
    schema::{boards, browser_sessions, tokens},
    secret::{Secret, digest},
};

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What it is for.
    pub name: TokenName,
    /// What the token allows its holder.
    pub scope: Scope,
    /// The one board that it is for; `None` for all.
    pub board: Option<BoardName>,
    /// When the token expires.
    pub expires_at: Option<DateTime<Utc>>,
}

/// The session by which a token was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundBrowserSession {
    /// The session's key in the database.
    pub id: i64,
    /// When the session ends by itself.
    pub expires_at: DateTime<Utc>,
}

/// By what a token that is in use is read again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenKey {
    /// The token's key in the database.
    pub token: i64,
    /// The key of the session by which it was found.
    pub session: Option<i64>,
    /// The digest of the secret by which it was found.
    pub digest: String,
}

/// A token that was found, and when it ends by itself: as far from now as the database's clock
/// said, but counted by a clock that cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundToken {
    /// What is stored about the token.
    pub token: Token,
    /// The digest of its secret, or of the session's. If another program replaces it, the same row
    /// is another token.
    pub digest: String,
    /// The session by which it was found, if it was not by its own secret.
    pub session: Option<FoundBrowserSession>,
    /// When the token expires, or its session if that is earlier.
    pub ends_at: Option<Instant>,
}

impl FoundToken {
    /// Creates a token as it was read when the database's clock showed `now`.
    #[must_use]
    pub fn new(token: Token, digest: String, now: DateTime<Utc>) -> Self {
        Self {
            ends_at: token.expires_at.and_then(|end| ahead(end, now)),
            token,
            digest,
            session: None,
        }
    }

    /// Creates a token as it was found by a session when the database's clock showed `now`.
    #[must_use]
    pub fn of_session(
        token: Token,
        digest: String,
        session: FoundBrowserSession,
        now: DateTime<Utc>,
    ) -> Self {
        let found = Self::new(token, digest, now);
        let ends = [found.ends_at, ahead(session.expires_at, now)];
        Self {
            ends_at: ends.into_iter().flatten().min(),
            session: Some(session),
            ..found
        }
    }

    /// Returns by what the token is read again.
    #[must_use]
    pub fn key(&self) -> TokenKey {
        TokenKey {
            token: self.token.id,
            session: self.session.map(|session| session.id),
            digest: self.digest.clone(),
        }
    }

    /// Returns whether the token, or the session, has ended by now.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.token.revoked_at.is_some() || self.ends_at.is_some_and(|end| end <= Instant::now())
    }
}

/// Returns when our clock shows what the database's shows at `end`. What ended already has no time
/// left, and so far ahead as no clock counts there is no end.
fn ahead(end: DateTime<Utc>, now: DateTime<Utc>) -> Option<Instant> {
    Instant::now().checked_add((end - now).to_std().unwrap_or_default())
}

#[derive(Queryable)]
pub(crate) struct TokenRow {
    id: i64,
    name: LossyText,
    scope: LossyText,
    board_id: Option<i64>,
    board: Option<LossyText>,
    created_at: Time,
    expires_at: Option<Time>,
    revoked_at: Option<Time>,
    last_used_at: Option<Time>,
}

impl TokenRow {
    /// Returns the token; `None` if what it allows cannot be understood: then it allows nothing.
    pub(crate) fn into_token(self) -> Option<Token> {
        let scope = self.scope.0.parse().ok();
        // One whose board is gone, or has a name that no address can hold, is not for all of them.
        let board = match (self.board_id, self.board) {
            (None, _) => Some(None),
            (Some(_), name) => name.and_then(|name| name.0.parse().ok()).map(Some),
        };
        let times = [
            Some(self.created_at),
            self.expires_at,
            self.revoked_at,
            self.last_used_at,
        ];
        let counts = scope.is_some() && board.is_some();
        if !counts || !times.into_iter().flatten().all(Time::is_exact) {
            lenient::log_unreadable("tokens", self.id, counts);
        }
        Some(Token {
            id: self.id,
            scope: scope?,
            board: board?,
            name: self.name.0,
            created_at: self.created_at.utc(),
            expires_at: self.expires_at.map(Time::utc),
            revoked_at: self.revoked_at.map(Time::utc),
            last_used_at: self.last_used_at.map(Time::utc),
        })
    }
}

/// Creates a token. Returns its id.
pub(crate) fn create(
    connection: &mut AnyConnection,
    new: &NewToken,
    secret: &Secret,
) -> Result<i64, StoreError> {
    let board_id = new
        .board
        .as_ref()
        .map(|board| repository::board_id(connection, board))
        .transpose()?;
    let row = (
        tokens::name.eq(new.name.as_str()),
        tokens::digest.eq(digest(secret.reveal())),
        tokens::scope.eq(new.scope.as_str()),
        tokens::board_id.eq(board_id.map(|id| id.0)),
        tokens::expires_at.eq(new.expires_at.map(|at| at.naive_utc())),
    );
    let created = diesel::insert_into(tokens::table)
        .values(row)
        .returning(tokens::id);
    connection.insert_row("tokens", created)
}

/// What was found by secrets, with the tokens and browser sessions whose use is worth noting: to
/// the minute, or each request would be a write.
#[derive(Default)]
pub(crate) struct FoundBySecret {
    /// In the order of the secrets.
    pub(crate) each: Vec<Option<FoundToken>>,
    used_tokens: Vec<i64>,
    used_sessions: Vec<i64>,
}

impl FoundBySecret {
    /// Puts tokens in the order of the digests by which they were found. With each comes when its
    /// session was last used, and what the database's clock showed.
    pub(crate) fn new(
        digests: &[String],
        tokens: impl Iterator<Item = (FoundToken, Option<DateTime<Utc>>, DateTime<Utc>)>,
    ) -> Self {
        let (mut found, mut by_digest) = (Self::default(), HashMap::new());
        for (token, session_used_at, now) in tokens {
            if !token.has_ended() && is_use_due(token.token.last_used_at, now) {
                found.used_tokens.push(token.token.id);
            }
            if let Some(session) = token.session
                && !token.has_ended()
                && is_use_due(session_used_at, now)
            {
                found.used_sessions.push(session.id);
            }
            by_digest.insert(token.digest.clone(), token);
        }
        let each = digests.iter().map(|digest| by_digest.get(digest).cloned());
        found.each = each.collect();
        found
    }

    /// Returns whether the use of anything is worth noting.
    pub(crate) fn is_use_due(&self) -> bool {
        !(self.used_tokens.is_empty() && self.used_sessions.is_empty())
    }
}

/// Returns whether a use is worth noting: one in a minute is.
fn is_use_due(noted: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    // A use that is noted ahead of the clock was noted before that was set back.
    noted.is_none_or(|at| (now - at).abs() >= TimeDelta::minutes(1))
}

/// Loads the rows of a query that have one of the digests. They are looked up by these, so the time
/// that takes reveals nothing about the secrets.
macro_rules! load_by_digest {
    ($query:expr, $column:expr, $digests:expr, $connection:expr) => {
        match $digests.as_slice() {
            // A statement for any number could not be kept prepared.
            [only] => $query.filter($column.eq(only)).load($connection)?,
            digests => $query.filter($column.eq_any(digests)).load($connection)?,
        }
    };
}
pub(crate) use load_by_digest;

/// Finds tokens by their secrets, expired and revoked ones, too.
pub(crate) fn find(
    connection: &mut AnyConnection,
    secrets: &[String],
) -> Result<FoundBySecret, StoreError> {
    let digests: Vec<_> = secrets.iter().map(|secret| digest(secret)).collect();
    let all = tokens::table
        .left_join(boards::table.on(tokens::board_id.eq(boards::id.nullable())))
        .select((tokens::digest, connection.now(), columns()));
    let rows: Vec<(LossyText, Time, TokenRow)> =
        load_by_digest!(all, tokens::digest, digests, connection);
    let found = rows.into_iter().filter_map(|(digest, now, row)| {
        let now = now.utc();
        Some((FoundToken::new(row.into_token()?, digest.0, now), None, now))
    });
    Ok(FoundBySecret::new(&digests, found))
}

/// Records that what was found is used now.
pub(crate) fn record_use(
    connection: &mut AnyConnection,
    found: &FoundBySecret,
) -> Result<(), StoreError> {
    let sessions = browser_sessions::id.eq_any(&found.used_sessions);
    diesel::update(browser_sessions::table.filter(sessions))
        .set(browser_sessions::last_used_at.eq(connection.now().nullable()))
        .execute(connection)?;
    diesel::update(tokens::table.filter(tokens::id.eq_any(&found.used_tokens)))
        .set(tokens::last_used_at.eq(connection.now().nullable()))
        .execute(connection)?;
    Ok(())
}

/// Reads tokens in the order of their ids, after one of them.
pub(crate) fn list(
    connection: &mut AnyConnection,
    after_id: i64,
    limit: usize,
) -> Result<RowPage<Token>, StoreError> {
    let rows: Vec<TokenRow> = tokens::table
        .left_join(boards::table.on(tokens::board_id.eq(boards::id.nullable())))
        .filter(tokens::id.gt(after_id))
        .order(tokens::id)
        .limit(limit_of_page(limit))
        .select(columns())
        .load(connection)?;
    Ok(RowPage::read(
        rows,
        limit,
        |row| row.id,
        TokenRow::into_token,
    ))
}

/// Reads tokens by their ids, in no particular order. Those that are gone are left out.
pub(crate) fn by_id(
    connection: &mut AnyConnection,
    ids: &[i64],
) -> Result<Vec<FoundToken>, StoreError> {
    let rows: Vec<(LossyText, Time, TokenRow)> = tokens::table
        .left_join(boards::table.on(tokens::board_id.eq(boards::id.nullable())))
        .filter(tokens::id.eq_any(ids.iter().copied()))
        .select((tokens::digest, connection.now(), columns()))
        .load(connection)?;
    Ok(rows
        .into_iter()
        .filter_map(|(digest, now, row)| {
            Some(FoundToken::new(row.into_token()?, digest.0, now.utc()))
        })
        .collect())
}

/// Ends a token that has not been ended yet.
pub(crate) fn revoke(connection: &mut AnyConnection, id: i64) -> Result<(), StoreError> {
    let row = tokens::table.filter(tokens::id.eq(id).and(tokens::revoked_at.is_null()));
    let now = connection.now();
    match connection.modify(diesel::update(row).set(tokens::revoked_at.eq(now.nullable())))? {
        0 if row.count().get_result::<i64>(connection)? > 0 => {
            Err(classified::row_dropped("tokens"))
        }
        0 => Err(StoreError::NoSuchToken(id)),
        _ => Ok(()),
    }
}

pub(crate) type TokenColumns = (
    tokens::id,
    tokens::name,
    tokens::scope,
    tokens::board_id,
    diesel::helper_types::Nullable<boards::name>,
    tokens::created_at,
    tokens::expires_at,
    tokens::revoked_at,
    tokens::last_used_at,
);

/// Selects what a [`TokenRow`] holds.
pub(crate) fn columns() -> TokenColumns {
    (
        tokens::id,
        tokens::name,
        tokens::scope,
        tokens::board_id,
        boards::name.nullable(),
        tokens::created_at,
        tokens::expires_at,
        tokens::revoked_at,
        tokens::last_used_at,
    )
}
