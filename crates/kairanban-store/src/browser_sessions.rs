//! Sessions of browsers: each stands for a token, until it ends or the token does.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::{dsl::exists, prelude::*};
use kairanban_core::BrowserSession;

use crate::{
    RowPage, StoreError, classified, clock,
    connection::AnyConnection,
    lenient::{LossyText, Time},
    row_page::limit_of_page,
    schema::{boards, browser_sessions, tokens},
    secret::{Secret, digest},
    sql::{BATCH, row_limit},
    tokens::{FoundBrowserSession, FoundBySecret, FoundToken, TokenRow, columns, load_by_digest},
};

/// No session lasts longer, and no calendar of a database ends before.
const AGE_MAX: TimeDelta = TimeDelta::days(3_650);

/// A session to begin.
#[derive(Clone, Copy, Debug)]
pub struct NewBrowserSession<'a> {
    /// The token that it stands for, as it was found.
    pub token: &'a FoundToken,
    /// The secret that the browser will present.
    pub secret: &'a Secret,
    /// How long it lasts, if its token does.
    pub age_max: Duration,
    /// How many of the token may be alive.
    pub alive_max: usize,
}

/// Begins a session. If its token has as many as it may have, the oldest one ends. Connections that
/// do this at the same time may each begin one.
pub(crate) fn create(
    connection: &mut AnyConnection,
    new: NewBrowserSession<'_>,
) -> Result<(), StoreError> {
    let token = new.token.token.id;
    let of_token = browser_sessions::token_id.eq(token);
    // Without it there would be no room for the new one.
    let kept = new.alive_max.saturating_sub(1);
    let last_to_go: Option<i64> = browser_sessions::table
        .filter(of_token)
        .order(browser_sessions::id.desc())
        .offset(row_limit(kept))
        .select(browser_sessions::id)
        .first(connection)
        .optional()?;
    if let Some(last) = last_to_go {
        let old = browser_sessions::table.filter(of_token.and(browser_sessions::id.le(last)));
        connection.modify(diesel::delete(old))?;
    }
    let now = clock::read(connection)?;
    let row = (
        browser_sessions::digest.eq(digest(new.secret.reveal())),
        browser_sessions::token_id.eq(token),
        browser_sessions::token_digest.eq(&new.token.digest),
        browser_sessions::created_at.eq(now.naive_utc()),
        browser_sessions::expires_at.eq(end(now, new).naive_utc()),
    );
    let begun = diesel::insert_into(browser_sessions::table).values(row);
    connection.modify_row("browser_sessions", begun)
}

/// Returns when a session ends that begins now: after its time, or with its token.
fn end(now: DateTime<Utc>, new: NewBrowserSession<'_>) -> DateTime<Utc> {
    let age = TimeDelta::from_std(new.age_max).map_or(AGE_MAX, |age| age.min(AGE_MAX));
    let aged = now + age;
    new.token.token.expires_at.map_or(aged, |end| end.min(aged))
}

#[derive(Queryable)]
struct BrowserSessionRow {
    id: i64,
    digest: LossyText,
    created_at: Time,
    expires_at: Time,
    last_used_at: Option<Time>,
    now: Time,
    token: TokenRow,
}

impl BrowserSessionRow {
    fn into_found(self) -> Option<FoundToken> {
        let session = FoundBrowserSession {
            id: self.id,
            expires_at: self.expires_at.utc(),
        };
        let (token, now) = (self.token.into_token()?, self.now.utc());
        Some(FoundToken::of_session(token, self.digest.0, session, now))
    }

    fn into_session(self) -> Option<BrowserSession> {
        Some(BrowserSession {
            id: self.id,
            token: self.token.into_token()?,
            created_at: self.created_at.utc(),
            expires_at: self.expires_at.utc(),
            last_used_at: self.last_used_at.map(Time::utc),
        })
    }
}

/// The condition that a token is that of a session: it may have got another secret since.
macro_rules! is_its_token {
    () => {
        browser_sessions::token_id
            .eq(tokens::id)
            .and(browser_sessions::token_digest.eq(tokens::digest))
    };
}

/// The condition that a session is alive, beside its token: neither of them has ended.
macro_rules! is_alive {
    ($connection:expr) => {
        browser_sessions::expires_at
            .gt($connection.now())
            .and(tokens::revoked_at.is_null())
            .and(
                tokens::expires_at
                    .is_null()
                    .or(tokens::expires_at.gt($connection.now().nullable())),
            )
    };
}

/// The condition that a session is alive, where its token is not at hand.
macro_rules! has_token_and_is_alive {
    ($connection:expr) => {
        exists(tokens::table.filter(is_its_token!().and(is_alive!($connection))))
    };
}

/// Selects sessions with the token of each.
macro_rules! with_tokens {
    ($connection:expr) => {
        browser_sessions::table
            .inner_join(tokens::table.on(is_its_token!()))
            .left_join(boards::table.on(tokens::board_id.eq(boards::id.nullable())))
            .select((
                browser_sessions::id,
                browser_sessions::digest,
                browser_sessions::created_at,
                browser_sessions::expires_at,
                browser_sessions::last_used_at,
                $connection.now(),
                columns(),
            ))
    };
}

/// Finds sessions by their secrets, ended ones, too.
pub(crate) fn find(
    connection: &mut AnyConnection,
    secrets: &[String],
) -> Result<FoundBySecret, StoreError> {
    let digests: Vec<_> = secrets.iter().map(|secret| digest(secret)).collect();
    let all = with_tokens!(connection);
    let rows: Vec<BrowserSessionRow> =
        load_by_digest!(all, browser_sessions::digest, digests, connection);
    let found = rows.into_iter().filter_map(|row| {
        let (used_at, now) = (row.last_used_at.map(Time::utc), row.now.utc());
        Some((row.into_found()?, used_at, now))
    });
    Ok(FoundBySecret::new(&digests, found))
}

/// Reads sessions by their ids, in no particular order. Those that are gone are left out.
pub(crate) fn by_id(
    connection: &mut AnyConnection,
    ids: &[i64],
) -> Result<Vec<FoundToken>, StoreError> {
    let rows: Vec<BrowserSessionRow> = with_tokens!(connection)
        .filter(browser_sessions::id.eq_any(ids.iter().copied()))
        .load(connection)?;
    Ok(rows
        .into_iter()
        .filter_map(BrowserSessionRow::into_found)
        .collect())
}

/// Reads the sessions that are alive, in the order of their ids, after one of them.
pub(crate) fn list(
    connection: &mut AnyConnection,
    after_id: i64,
    limit: usize,
) -> Result<RowPage<BrowserSession>, StoreError> {
    let rows: Vec<BrowserSessionRow> = with_tokens!(connection)
        .filter(browser_sessions::id.gt(after_id))
        .filter(is_alive!(connection))
        .order(browser_sessions::id)
        .limit(limit_of_page(limit))
        .load(connection)?;
    Ok(RowPage::read(
        rows,
        limit,
        |row| row.id,
        BrowserSessionRow::into_session,
    ))
}

/// Ends a session that is alive.
pub(crate) fn end_one(connection: &mut AnyConnection, id: i64) -> Result<(), StoreError> {
    let alive = browser_sessions::id
        .eq(id)
        .and(has_token_and_is_alive!(connection));
    let row = browser_sessions::table.filter(alive);
    match connection.modify(diesel::delete(row.clone()))? {
        0 if row.count().get_result::<i64>(connection)? > 0 => {
            Err(classified::row_dropped("browser_sessions"))
        }
        0 => Err(StoreError::NoSuchSession(id)),
        _ => Ok(()),
    }
}

/// Ends the session that has this secret, if there is one that is alive. Returns whether it did.
pub(crate) fn end_by_secret(
    connection: &mut AnyConnection,
    secret: &str,
) -> Result<bool, StoreError> {
    let alive = browser_sessions::digest
        .eq(digest(secret))
        .and(has_token_and_is_alive!(connection));
    let row = browser_sessions::table.filter(alive);
    Ok(connection.modify(diesel::delete(row))? > 0)
}

/// Ends all sessions of a token.
pub(crate) fn end_of_token(connection: &mut AnyConnection, token: i64) -> Result<(), StoreError> {
    let rows = browser_sessions::table.filter(browser_sessions::token_id.eq(token));
    connection.modify(diesel::delete(rows))?;
    Ok(())
}

/// Deletes a batch of the sessions that have expired. Returns how many.
pub(crate) fn expire(connection: &mut AnyConnection) -> Result<usize, StoreError> {
    let expired: Vec<i64> = browser_sessions::table
        .filter(browser_sessions::expires_at.le(connection.now()))
        .select(browser_sessions::id)
        .limit(row_limit(BATCH))
        .load(connection)?;
    let batch = browser_sessions::table.filter(browser_sessions::id.eq_any(expired));
    Ok(diesel::delete(batch).execute(connection)?)
}
