//! Creates and redeems tickets. Each opens one stream of one client, for a token (ADR 14).

use std::time::Duration;

use diesel::{
    dsl::min,
    prelude::*,
    sql_types::{Bool, Nullable},
};
use kairanban_core::BoardName;

use crate::{
    StoreError, browser_sessions,
    connection::AnyConnection,
    lenient::{AnyNumber, Time},
    repository,
    schema::{boards, tickets},
    secret::{Secret, digest},
    sql::{BATCH, row_limit},
    tokens::{self, FoundToken},
};

/// How long a ticket is valid.
#[derive(Clone, Copy, Debug)]
pub struct TicketTimes {
    /// From its creation to its first use.
    pub first_use: Duration,
    /// From one use to the next.
    pub idle: Duration,
}

/// A ticket to create.
#[derive(Clone, Copy, Debug)]
pub struct NewTicket<'a> {
    /// The id of the token that it stands for.
    pub token: i64,
    /// The session that makes it, with which it ends.
    pub session: Option<i64>,
    /// The board that it is for.
    pub board: &'a BoardName,
    /// The secret that its holder will present.
    pub secret: &'a Secret,
}

/// Creates a ticket, if its token has fewer than `alive_max`. Connections that do this at the same
/// time may each create one.
pub(crate) fn create(
    connection: &mut AnyConnection,
    new: NewTicket<'_>,
    times: TicketTimes,
    alive_max: usize,
) -> Result<(), StoreError> {
    let NewTicket {
        token,
        session,
        board,
        secret,
    } = new;
    let board_id = repository::board_id(connection, board)?;
    let of_token = tickets::table.filter(tickets::token_id.eq(token));
    if of_token.count().get_result::<i64>(connection)? >= row_limit(alive_max) {
        let expired = tickets::table
            .filter(has_expired(connection, times).and(tickets::token_id.eq(token).nullable()));
        if diesel::delete(expired).execute(connection)? == 0 {
            let wait = first_expiry(connection, token, times)?;
            return Err(StoreError::TooManyTickets { wait });
        }
    }
    let row = (
        tickets::digest.eq(digest(secret.reveal())),
        tickets::token_id.eq(token),
        tickets::board_id.eq(board_id.0),
        tickets::session_id.eq(session),
    );
    connection.modify_row("tickets", diesel::insert_into(tickets::table).values(row))
}

/// Returns how long it takes until the first ticket of a token expires, if none is used meanwhile.
fn first_expiry(
    connection: &mut AnyConnection,
    token: i64,
    times: TicketTimes,
) -> Result<Duration, StoreError> {
    let of_token = tickets::table.filter(tickets::token_id.eq(token));
    let made: Option<Time> = of_token
        .filter(tickets::used_at.is_null())
        .select(min(tickets::made_at))
        .get_result(connection)?;
    let used: Option<Time> = of_token
        .select(min(tickets::used_at))
        .get_result(connection)?;
    let now: Time = diesel::select(connection.now()).get_result(connection)?;
    let left = |since: Option<Time>, lasts: Duration| {
        let past = (now.utc() - since?.utc()).to_std().unwrap_or_default();
        Some(lasts.saturating_sub(past))
    };
    let ends = [left(made, times.first_use), left(used, times.idle)];
    Ok(ends.into_iter().flatten().min().unwrap_or_default())
}

/// A ticket for a board, as a client presents it. The first client that uses it is the only one
/// that may.
#[derive(Clone, Copy)]
pub(crate) struct PresentedTicket<'a> {
    pub(crate) secret: &'a str,
    pub(crate) board: &'a BoardName,
    pub(crate) client: &'a str,
}

impl PresentedTicket<'_> {
    /// Returns what is stored of the client: a digest that includes the secret, so that the address
    /// cannot be guessed.
    fn client_digest(self) -> String {
        digest(&format!("{} {}", self.secret, self.client))
    }
}

/// A ticket that was found.
pub(crate) struct FoundTicket {
    token: i64,
    session: Option<i64>,
    has_expired: bool,
}

/// Finds a ticket for a board and a client. Changes nothing.
pub(crate) fn find(
    connection: &mut AnyConnection,
    shown: PresentedTicket<'_>,
    times: TicketTimes,
) -> Result<Option<FoundTicket>, StoreError> {
    let of_board = boards::table
        .filter(boards::name.eq(shown.board.as_str()))
        .select(boards::id);
    let of_client = tickets::client
        .is_null()
        .or(tickets::client.eq(shown.client_digest()));
    let found: Option<(AnyNumber, Option<i64>, Option<bool>)> = tickets::table
        .filter(tickets::digest.eq(digest(shown.secret)))
        .filter(tickets::board_id.eq_any(of_board))
        .filter(of_client)
        .select((
            tickets::token_id,
            tickets::session_id,
            has_expired(connection, times),
        ))
        .first(connection)
        .optional()?;
    Ok(found.map(|(token, session, expired)| FoundTicket {
        token: token.0,
        session,
        has_expired: expired == Some(true),
    }))
}

/// Uses a ticket. Returns the token that it stands for, if the ticket is valid. One that has
/// expired is deleted, so that it stays expired if the clock is set back.
pub(crate) fn redeem(
    connection: &mut AnyConnection,
    shown: PresentedTicket<'_>,
    times: TicketTimes,
) -> Result<Option<FoundToken>, StoreError> {
    let Some(found) = find(connection, shown, times)? else {
        return Ok(None);
    };
    let is_it = tickets::digest.eq(digest(shown.secret));
    if found.has_expired {
        diesel::delete(tickets::table.filter(is_it)).execute(connection)?;
        return Ok(None);
    }
    // Another client may have used it first.
    let client_digest = shown.client_digest();
    let is_free = tickets::client
        .is_null()
        .or(tickets::client.eq(&client_digest));
    let used = diesel::update(tickets::table.filter(is_it).filter(is_free))
        .set((
            tickets::used_at.eq(connection.now().nullable()),
            tickets::client.eq(&client_digest),
        ))
        .execute(connection)?;
    if used == 0 {
        return Ok(None);
    }
    let mut found = match found.session {
        Some(session) => browser_sessions::by_id(connection, &[session])?,
        None => tokens::by_id(connection, &[found.token])?,
    };
    Ok(found.pop())
}

/// Deletes a batch of the tickets that have expired. Returns how many.
pub(crate) fn expire(
    connection: &mut AnyConnection,
    times: TicketTimes,
) -> Result<usize, StoreError> {
    let expired: Vec<String> = tickets::table
        .filter(has_expired(connection, times))
        .select(tickets::digest)
        .limit(row_limit(BATCH))
        .load(connection)?;
    let batch = tickets::table.filter(tickets::digest.eq_any(expired));
    Ok(diesel::delete(batch).execute(connection)?)
}

type HasExpired = Box<
    dyn BoxableExpression<
            tickets::table,
            <AnyConnection as diesel::Connection>::Backend,
            SqlType = Nullable<Bool>,
        >,
>;

/// Builds the condition that a ticket has expired, after the times that [`first_expiry`] adds.
fn has_expired(connection: &AnyConnection, times: TicketTimes) -> HasExpired {
    let unused = tickets::used_at
        .is_null()
        .and(tickets::made_at.le(connection.ago(times.first_use)));
    Box::new(unused.or(tickets::used_at.le(connection.ago(times.idle).nullable())))
}
