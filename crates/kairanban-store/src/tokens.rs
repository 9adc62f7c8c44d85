//! Tokens: made, found by their digest, ended.

use chrono::{NaiveDateTime, TimeDelta, Utc};
use diesel::prelude::*;
use kairanban_core::{BoardName, Scope, Token};
use sha2::{Digest as _, Sha256};

use crate::{
    StoreError,
    connection::AnyConnection,
    repository,
    schema::{boards, tokens},
};

/// So that a scanner for secrets knows one when it sees it.
const PREFIX: &str = "kairanban_";

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What it is for, in somebody's words.
    pub name: String,
    /// What it allows.
    pub scope: Scope,
    /// The one board that it is for; `None` for all.
    pub board: Option<BoardName>,
    /// How long it is good.
    pub lifetime: Option<TimeDelta>,
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

/// Makes a token. This is the only time that it is seen.
pub(crate) fn create(connection: &mut AnyConnection, new: &NewToken) -> Result<String, StoreError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| StoreError::Internal(error.to_string()))?;
    let secret = format!("{PREFIX}{}", hex(&random));
    let board_id = new.board.as_ref().map(|board| repository::board_id(connection, board)).transpose()?;
    let row = (
        tokens::name.eq(&new.name),
        tokens::digest.eq(digest(&secret)),
        tokens::scope.eq(new.scope.as_str()),
        tokens::board_id.eq(board_id.map(|id| id.0)),
        tokens::expires_at.eq(new.lifetime.map(|lifetime| (Utc::now() + lifetime).naive_utc())),
    );
    diesel::insert_into(tokens::table).values(row).execute(connection)?;
    Ok(secret)
}

/// The token that somebody shows, if it is one of ours, good or not; notes that it was used.
///
/// It is looked up by its digest, so how long that takes tells nothing about the token.
pub(crate) fn find(connection: &mut AnyConnection, secret: &str) -> Result<Option<Token>, StoreError> {
    let row: Option<TokenRow> = tokens::table
        .left_join(boards::table.on(tokens::board_id.eq(boards::id.nullable())))
        .filter(tokens::digest.eq(digest(secret)))
        .select(columns())
        .first(connection)
        .optional()?;
    let Some(token) = row.map(TokenRow::into_token).transpose()? else { return Ok(None) };
    let now = Utc::now();
    // To the minute, or each request would be a write.
    if token.is_valid(now) && token.last_used_at.is_none_or(|at| now - at >= TimeDelta::minutes(1)) {
        let row = tokens::table.filter(tokens::id.eq(token.id));
        diesel::update(row).set(tokens::last_used_at.eq(now.naive_utc())).execute(connection)?;
    }
    Ok(Some(token))
}

/// All tokens, the newest last.
pub(crate) fn list(connection: &mut AnyConnection) -> Result<Vec<Token>, StoreError> {
    let rows: Vec<TokenRow> = tokens::table
        .left_join(boards::table.on(tokens::board_id.eq(boards::id.nullable())))
        .order(tokens::id)
        .select(columns())
        .load(connection)?;
    rows.into_iter().map(TokenRow::into_token).collect()
}

/// Ends a token; tells whether there was one to end.
pub(crate) fn revoke(connection: &mut AnyConnection, id: i64) -> Result<bool, StoreError> {
    let row = tokens::table.filter(tokens::id.eq(id).and(tokens::revoked_at.is_null()));
    Ok(diesel::update(row).set(tokens::revoked_at.eq(Utc::now().naive_utc())).execute(connection)? > 0)
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
