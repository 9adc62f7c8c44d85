//! Sessions of browsers: each stands for a token, until it ends or the token does.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use kairanban_core::BrowserSession;

use crate::{
    RowPage, StoreError, classified, clock,
    connection::AnyConnection,
    error::Refusal,
    lenient::{LossyText, Time},
    schema::{boards, browser_sessions, tokens},
    secret::{Secret, digest},
    sql::row_limit,
    tokens::{FoundSession, FoundToken, TokenRow, columns, is_use_due},
};

/// No session lasts longer, and no calendar of a database ends before.
const AGE_MAX: TimeDelta = TimeDelta::days(3_650);

/// A session to begin.
#[derive(Clone, Copy, Debug)]
pub struct NewSession<'a> {
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
    new: NewSession<'_>,
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
    match connection.modify(diesel::insert_into(browser_sessions::table).values(row))? {
        0 => Err(classified::no_row("browser_sessions")),
        _ => Ok(()),
    }
}

/// Returns when a session ends that begins now: after its time, or with its token.
fn end(now: DateTime<Utc>, new: NewSession<'_>) -> DateTime<Utc> {
    let age = TimeDelta::from_std(new.age_max).map_or(AGE_MAX, |age| age.min(AGE_MAX));
    let aged = now + age;
    new.token.token.expires_at.map_or(aged, |end| end.min(aged))
}

#[derive(Queryable)]
struct SessionRow {
    id: i64,
    digest: LossyText,
    created_at: Time,
    expires_at: Time,
    last_used_at: Option<Time>,
    now: Time,
    token: TokenRow,
}

impl SessionRow {
    fn into_found(self) -> Option<FoundToken> {
        let session = FoundSession {
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

/// Selects sessions with the token of each. One whose token got another secret since is left out.
macro_rules! with_tokens {
    ($connection:expr) => {
        browser_sessions::table
            .inner_join(
                tokens::table.on(browser_sessions::token_id
                    .eq(tokens::id)
                    .and(browser_sessions::token_digest.eq(tokens::digest))),
            )
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

/// What was found by secrets, in the order of these, and the sessions and tokens whose use is worth
/// noting.
#[derive(Default)]
pub(crate) struct FoundSessions {
    pub(crate) each: Vec<Option<FoundToken>>,
    pub(crate) used: Vec<i64>,
    pub(crate) used_tokens: Vec<i64>,
}

/// Finds sessions by their secrets, ended ones, too. They are looked up by their digests, so the
/// time that takes reveals nothing about them.
pub(crate) fn find(
    connection: &mut AnyConnection,
    secrets: &[String],
) -> Result<FoundSessions, StoreError> {
    let digests: Vec<_> = secrets.iter().map(|secret| digest(secret)).collect();
    let all = with_tokens!(connection);
    let rows: Vec<SessionRow> = match digests.as_slice() {
        // A statement for any number could not be kept prepared.
        [only] => all
            .filter(browser_sessions::digest.eq(only))
            .load(connection)?,
        digests => all
            .filter(browser_sessions::digest.eq_any(digests))
            .load(connection)?,
    };
    let (mut found, mut by_digest) = (FoundSessions::default(), HashMap::new());
    for row in rows {
        let (id, now, last_use) = (row.id, row.now.utc(), row.last_used_at.map(Time::utc));
        let Some(token) = row.into_found() else {
            continue;
        };
        if token.is_valid() && is_use_due(last_use, now) {
            found.used.push(id);
        }
        if token.is_valid() && is_use_due(token.token.last_used_at, now) {
            found.used_tokens.push(token.token.id);
        }
        by_digest.insert(token.digest.clone(), token);
    }
    let each = digests.iter().map(|digest| by_digest.get(digest).cloned());
    found.each = each.collect();
    Ok(found)
}

/// Reads sessions by their ids, in no particular order. Those that are gone are left out.
pub(crate) fn by_id(
    connection: &mut AnyConnection,
    ids: &[i64],
) -> Result<Vec<FoundToken>, StoreError> {
    let rows: Vec<SessionRow> = with_tokens!(connection)
        .filter(browser_sessions::id.eq_any(ids.iter().copied()))
        .load(connection)?;
    Ok(rows
        .into_iter()
        .filter_map(SessionRow::into_found)
        .collect())
}

/// Records that sessions are used now.
pub(crate) fn record_use(connection: &mut AnyConnection, ids: &[i64]) -> Result<(), StoreError> {
    let rows = browser_sessions::table.filter(browser_sessions::id.eq_any(ids.iter().copied()));
    diesel::update(rows)
        .set(browser_sessions::last_used_at.eq(connection.now().nullable()))
        .execute(connection)?;
    Ok(())
}

/// Reads the sessions that are alive, in the order of their ids, after one of them.
pub(crate) fn list(
    connection: &mut AnyConnection,
    after: i64,
    limit: usize,
) -> Result<RowPage<BrowserSession>, StoreError> {
    let lasts = tokens::expires_at
        .is_null()
        .or(tokens::expires_at.gt(connection.now().nullable()));
    let rows: Vec<SessionRow> = with_tokens!(connection)
        .filter(browser_sessions::id.gt(after))
        .filter(browser_sessions::expires_at.gt(connection.now()))
        .filter(tokens::revoked_at.is_null())
        .filter(lasts)
        .order(browser_sessions::id)
        .limit(row_limit(limit))
        .load(connection)?;
    Ok(RowPage::read(
        rows,
        limit,
        |row| row.id,
        SessionRow::into_session,
    ))
}

/// Ends a session that has not ended by itself.
pub(crate) fn end_one(connection: &mut AnyConnection, id: i64) -> Result<(), StoreError> {
    let alive = browser_sessions::id
        .eq(id)
        .and(browser_sessions::expires_at.gt(connection.now()));
    let row = browser_sessions::table.filter(alive);
    match connection.modify(diesel::delete(row.clone()))? {
        0 if row.count().get_result::<i64>(connection)? > 0 => {
            Err(StoreError::Refused(Refusal::default()))
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
        .and(browser_sessions::expires_at.gt(connection.now()));
    let row = browser_sessions::table.filter(alive);
    Ok(connection.modify(diesel::delete(row))? > 0)
}

/// Ends all sessions of a token.
pub(crate) fn end_of_token(connection: &mut AnyConnection, token: i64) -> Result<(), StoreError> {
    let rows = browser_sessions::table.filter(browser_sessions::token_id.eq(token));
    connection.modify(diesel::delete(rows))?;
    Ok(())
}

/// Deletes sessions that have expired. Returns how many.
pub(crate) fn expire(connection: &mut AnyConnection) -> Result<usize, StoreError> {
    let expired = browser_sessions::table.filter(browser_sessions::expires_at.le(connection.now()));
    Ok(diesel::delete(expired).execute(connection)?)
}
