//! Tickets: each lets one stream of one client in, for a token.

use std::time::Duration;

use diesel::{
    dsl::min,
    prelude::*,
    sql_types::{Bool, Nullable},
};
use kairanban_core::BoardName;

use crate::{
    StoreError,
    connection::AnyConnection,
    lenient::{AnyNumber, Time},
    repository,
    schema::{boards, tickets},
    secret::{Secret, digest},
    sql::row_limit,
    tokens::{self, FoundToken},
};

/// How long a ticket is good.
#[derive(Clone, Copy, Debug)]
pub struct TicketTimes {
    /// Until it has to be used first.
    pub first_use: Duration,
    /// From one use to the next.
    pub idle: Duration,
}

/// Makes a ticket for a token and one board, if the token has fewer than `alive_max`. Connections that do this at the same time may each
/// make one.
pub(crate) fn create(
    connection: &mut AnyConnection,
    token: i64,
    board: &BoardName,
    secret: &Secret,
    times: TicketTimes,
    alive_max: usize,
) -> Result<(), StoreError> {
    let board_id = repository::board_id(connection, board)?;
    let of_token = tickets::table.filter(tickets::token_id.eq(token));
    if of_token.count().get_result::<i64>(connection)? >= row_limit(alive_max) {
        let over = tickets::table
            .filter(is_over(connection, times).and(tickets::token_id.eq(token).nullable()));
        if diesel::delete(over).execute(connection)? == 0 {
            let wait = first_end(connection, token, times)?;
            return Err(StoreError::TooManyTickets { wait });
        }
    }
    let row = (
        tickets::digest.eq(digest(secret.reveal())),
        tickets::token_id.eq(token),
        tickets::board_id.eq(board_id.0),
    );
    diesel::insert_into(tickets::table)
        .values(row)
        .execute(connection)?;
    Ok(())
}

/// How long until the first ticket of a token is over, if none is used meanwhile.
fn first_end(
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

/// What a client shows: a ticket, for a board. The first client that shows it is the only one.
#[derive(Clone, Copy)]
pub(crate) struct ShownTicket<'a> {
    pub(crate) secret: &'a str,
    pub(crate) board: &'a BoardName,
    pub(crate) client: &'a str,
}

impl ShownTicket<'_> {
    /// What is kept of the client: with the secret in it, so that the address cannot be found out.
    fn bound_to(self) -> String {
        digest(&format!("{} {}", self.secret, self.client))
    }
}

/// The token of a ticket, and whether the ticket is over, if it is one for the board and the client. Changes nothing.
pub(crate) fn look_at(
    connection: &mut AnyConnection,
    shown: ShownTicket<'_>,
    times: TicketTimes,
) -> Result<Option<(i64, bool)>, StoreError> {
    let of_board = boards::table
        .filter(boards::name.eq(shown.board.as_str()))
        .select(boards::id);
    let of_client = tickets::client
        .is_null()
        .or(tickets::client.eq(shown.bound_to()));
    let found: Option<(AnyNumber, Option<bool>)> = tickets::table
        .filter(tickets::digest.eq(digest(shown.secret)))
        .filter(tickets::board_id.eq_any(of_board))
        .filter(of_client)
        .select((tickets::token_id, is_over(connection, times)))
        .first(connection)
        .optional()?;
    Ok(found.map(|(token, over)| (token.0, over == Some(true))))
}

/// Uses a ticket: the token that it stands for, if it is still good. One that is found to be over is over for good, also if the clock is
/// set back.
pub(crate) fn redeem(
    connection: &mut AnyConnection,
    shown: ShownTicket<'_>,
    times: TicketTimes,
) -> Result<Option<FoundToken>, StoreError> {
    let Some((token, is_over)) = look_at(connection, shown, times)? else {
        return Ok(None);
    };
    let is_it = tickets::digest.eq(digest(shown.secret));
    if is_over {
        diesel::delete(tickets::table.filter(is_it)).execute(connection)?;
        return Ok(None);
    }
    // Another client may have been quicker.
    let bound_to = shown.bound_to();
    let is_free = tickets::client.is_null().or(tickets::client.eq(&bound_to));
    let used = diesel::update(tickets::table.filter(is_it).filter(is_free))
        .set((
            tickets::used_at.eq(connection.now().nullable()),
            tickets::client.eq(&bound_to),
        ))
        .execute(connection)?;
    if used == 0 {
        return Ok(None);
    }
    Ok(tokens::by_id(connection, &[token])?.pop())
}

/// Forgets tickets that are no longer good. Returns how many.
pub(crate) fn forget(
    connection: &mut AnyConnection,
    times: TicketTimes,
) -> Result<usize, StoreError> {
    let over = tickets::table.filter(is_over(connection, times));
    Ok(diesel::delete(over).execute(connection)?)
}

type IsOver = Box<
    dyn BoxableExpression<
            tickets::table,
            <AnyConnection as diesel::Connection>::Backend,
            SqlType = Nullable<Bool>,
        >,
>;

/// Whether a ticket is no longer good.
fn is_over(connection: &AnyConnection, times: TicketTimes) -> IsOver {
    let unused = tickets::used_at
        .is_null()
        .and(tickets::made_at.le(connection.ago(times.first_use)));
    Box::new(unused.or(tickets::used_at.le(connection.ago(times.idle).nullable())))
}
