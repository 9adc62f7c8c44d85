//! Tokens: made, found by their digest, ended; and what a session is found as.

use std::{collections::HashMap, time::Instant};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use kairanban_core::{BoardName, Scope, Token, TokenName};

use crate::{
    RowPage, StoreError,
    connection::AnyConnection,
    error::Refusal,
    lenient::{self, LossyText, Time},
    repository,
    schema::{boards, tokens},
    secret::{Secret, digest},
    sql::row_limit,
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
pub struct FoundSession {
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
    pub session: Option<FoundSession>,
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
        session: FoundSession,
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

    /// Returns whether the token is valid now.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.token.revoked_at.is_none() && self.ends_at.is_none_or(|end| Instant::now() < end)
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
    let created = connection.modify_returning(
        diesel::insert_into(tokens::table)
            .values(row)
            .returning(tokens::id),
    )?;
    created.ok_or_else(|| StoreError::Refused(Refusal::default()))
}

/// Finds tokens by their secrets, in the order of these; expired and revoked ones, too; and the
/// keys of those whose use is worth noting: to the minute, or each request would be a write.
///
/// They are looked up by their digests, so the time that takes reveals nothing about them.
pub(crate) fn find(
    connection: &mut AnyConnection,
    secrets: &[String],
) -> Result<(Vec<Option<FoundToken>>, Vec<i64>), StoreError> {
    let digests: Vec<_> = secrets.iter().map(|secret| digest(secret)).collect();
    let all = tokens::table
        .left_join(boards::table.on(tokens::board_id.eq(boards::id.nullable())))
        .select((tokens::digest, connection.now(), columns()));
    let rows: Vec<(LossyText, Time, TokenRow)> = match digests.as_slice() {
        // A statement for any number could not be kept prepared.
        [only] => all.filter(tokens::digest.eq(only)).load(connection)?,
        digests => all
            .filter(tokens::digest.eq_any(digests))
            .load(connection)?,
    };
    let (mut found, mut used) = (HashMap::new(), Vec::new());
    for (digest, now, row) in rows {
        let (Some(token), now) = (row.into_token(), now.utc()) else {
            continue;
        };
        let is_due = is_use_due(token.last_used_at, now);
        let token = FoundToken::new(token, digest.0.clone(), now);
        if is_due && token.is_valid() {
            used.push(token.token.id);
        }
        found.insert(digest.0, token);
    }
    Ok((
        digests
            .iter()
            .map(|digest| found.get(digest).cloned())
            .collect(),
        used,
    ))
}

/// Returns whether a use is worth noting: one in a minute is.
pub(crate) fn is_use_due(noted: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    // A use that is noted ahead of the clock was noted before that was set back.
    noted.is_none_or(|at| (now - at).abs() >= TimeDelta::minutes(1))
}

/// Records that tokens are used now.
pub(crate) fn record_use(connection: &mut AnyConnection, ids: &[i64]) -> Result<(), StoreError> {
    let rows = tokens::table.filter(tokens::id.eq_any(ids.iter().copied()));
    diesel::update(rows)
        .set(tokens::last_used_at.eq(connection.now().nullable()))
        .execute(connection)?;
    Ok(())
}

/// Reads tokens in the order of their ids, after one of them.
pub(crate) fn list(
    connection: &mut AnyConnection,
    after: i64,
    limit: usize,
) -> Result<RowPage<Token>, StoreError> {
    let rows: Vec<TokenRow> = tokens::table
        .left_join(boards::table.on(tokens::board_id.eq(boards::id.nullable())))
        .filter(tokens::id.gt(after))
        .order(tokens::id)
        .limit(row_limit(limit))
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
            Err(StoreError::Refused(Refusal::default()))
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
