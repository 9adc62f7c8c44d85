//! New topics, as many as a group of writes has, with a handful of statements for all of them.

use std::collections::HashMap;

use diesel::{prelude::*, sql_types::BigInt};
use kairanban_core::{
    Action, BoardId, BoardName, IdempotencyKey, NewTopic, Policies, Scope, TopicId,
};
use serde::Serialize;

use super::board::board_policies;
use crate::{
    StoreError, classified,
    connection::AnyConnection,
    error::Refusal,
    idempotency,
    rows::CreatedRow,
    schema::topics,
    sql::{FixedWithText, Piece},
};

/// A request for a new topic on a board.
#[derive(Clone, Debug)]
pub struct Creation {
    /// The name of the board.
    pub board: BoardName,
    /// The text and author of the topic.
    pub topic: NewTopic,
    /// The idempotency key of the request. The same key on the same board yields the same topic.
    pub key: Option<IdempotencyKey>,
    /// The scope of the client's token on this board; `None` without one.
    pub scope: Option<Scope>,
}

/// The topic that a request leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// A new topic was written.
    New(TopicId),
    /// An earlier request with the same key created it. It may be gone by now.
    Earlier(TopicId),
}

/// A topic on its way into Postgres, as JSON: any number of those is one value.
#[derive(Serialize)]
struct NewTopicRow<'a> {
    board_id: i64,
    comment: &'a str,
    author: &'a str,
}

/// Creates topics, or finds those that earlier requests with the same keys created; no two of
/// `wanted` have the same key. What the writers may do is asked here, within the transaction.
/// Returns the outcome of each.
///
/// # Errors
/// If all of it has to be undone: the database failed or refused one of them, without saying which
/// or why.
pub(crate) fn create_topics(
    connection: &mut AnyConnection,
    wanted: &[&Creation],
) -> Result<Vec<Result<Created, StoreError>>, StoreError> {
    let decisions = decide(connection, wanted)?;
    let new: Vec<_> = new(&decisions, wanted).collect();
    let ids = insert(connection, &new)?;
    let keys = new.iter().zip(&ids).filter_map(|((board, creation), id)| {
        Some((*board, creation.key.as_ref()?, &creation.topic, (*id)?))
    });
    idempotency::insert(connection, &keys.collect::<Vec<_>>())?;
    let mut ids = ids.into_iter();
    Ok(decisions
        .into_iter()
        .map(|decision| match decision? {
            Decision::Found(id) => Ok(Created::Earlier(id)),
            Decision::Create(_) => {
                let id = ids.next().flatten();
                id.map(Created::New)
                    .ok_or_else(|| classified::row_dropped("topics"))
            }
        })
        .collect())
}

/// Creates topics like [`create_topics`], each under a savepoint: slower, but a topic that the
/// database refuses is its own outcome.
///
/// # Errors
/// If all of it has to be undone: the database failed.
pub(crate) fn create_each(
    connection: &mut AnyConnection,
    wanted: &[&Creation],
) -> Result<Vec<Result<Created, StoreError>>, StoreError> {
    let mut outcomes = try_each(connection, wanted)?;
    let conflicts: Vec<_> = (0..outcomes.len())
        .filter(|at| {
            matches!(
                outcomes[*at],
                Err(StoreError::Refused(Refusal { conflict: true, .. }))
            )
        })
        .collect();
    if !conflicts.is_empty() {
        // Another program was quicker with the key or the board, and now what it did is there; or
        // it took the next ids, and now others are drawn.
        let again: Vec<_> = conflicts.iter().map(|at| wanted[*at]).collect();
        for (at, outcome) in conflicts.into_iter().zip(try_each(connection, &again)?) {
            outcomes[at] = outcome;
        }
    }
    Ok(outcomes)
}

/// Creates one topic in a transaction of its own, without a savepoint.
///
/// # Errors
/// If the topic is refused, or the database is away.
pub(crate) fn create_one(
    connection: &mut AnyConnection,
    creation: &Creation,
) -> Result<Created, StoreError> {
    let decision = decide(connection, &[creation])?.pop();
    match decision
        .ok_or_else(|| StoreError::Internal("nothing was decided about a topic".to_owned()))??
    {
        Decision::Found(id) => Ok(Created::Earlier(id)),
        Decision::Create(board) => insert_checked(connection, board, creation).map(Created::New),
    }
}

fn try_each(
    connection: &mut AnyConnection,
    wanted: &[&Creation],
) -> Result<Vec<Result<Created, StoreError>>, StoreError> {
    let decisions = decide(connection, wanted)?;
    let outcome = |(decision, creation): (Result<Decision, StoreError>, &Creation)| match decision {
        Err(error) => Ok(Err(error)),
        Ok(Decision::Found(id)) => Ok(Ok(Created::Earlier(id))),
        Ok(Decision::Create(board)) => {
            match connection.transaction(|connection| insert_checked(connection, board, creation)) {
                Ok(id) => Ok(Ok(Created::New(id))),
                Err(error) if error.is_locked() => {
                    connection.stop_waiting_for_locks()?;
                    Ok(Err(error))
                }
                Err(error @ (StoreError::Refused(_) | StoreError::KeyInUse)) => {
                    connection.ensure_in_write()?;
                    if matches!(error, StoreError::KeyInUse) {
                        connection.stop_waiting_for_keys()?;
                    }
                    Ok(Err(error))
                }
                Err(error) => Err(error),
            }
        }
    };
    decisions
        .into_iter()
        .zip(wanted.iter().copied())
        .map(outcome)
        .collect()
}

/// Decides for each whether it is new.
fn decide(
    connection: &mut AnyConnection,
    wanted: &[&Creation],
) -> Result<Vec<Result<Decision, StoreError>>, StoreError> {
    let boards = boards(connection, wanted)?;
    let earlier = earlier(connection, wanted, &boards)?;
    let decide = |creation: &Creation| {
        let (board_id, policies) = boards
            .get(&creation.board)
            .copied()
            .flatten()
            .ok_or_else(|| StoreError::NoSuchBoard(creation.board.clone()))?;
        policies
            .authorize(creation.scope, Action::Post)
            .map_err(|why| StoreError::not_permitted(why, &creation.board))?;
        let earlier = creation
            .key
            .as_ref()
            .and_then(|key| earlier.get(&(board_id, key.clone())));
        Ok(match earlier {
            Some(earlier) => Decision::Found(earlier.topic_for(&creation.topic)?),
            None => Decision::Create(board_id),
        })
    };
    Ok(wanted.iter().copied().map(decide).collect())
}

/// Returns those that are new, each with its board.
fn new<'w>(
    decisions: &'w [Result<Decision, StoreError>],
    wanted: &'w [&Creation],
) -> impl Iterator<Item = (BoardId, &'w Creation)> {
    decisions
        .iter()
        .zip(wanted)
        .filter_map(|(decision, creation)| match decision {
            Ok(Decision::Create(board_id)) => Some((*board_id, *creation)),
            _ => None,
        })
}

enum Decision {
    Found(TopicId),
    Create(BoardId),
}

type Boards<'a> = HashMap<&'a BoardName, Option<(BoardId, Policies)>>;

/// Looks up each board that is named once; `None` if no board has the name.
fn boards<'a>(
    connection: &mut AnyConnection,
    wanted: &[&'a Creation],
) -> Result<Boards<'a>, StoreError> {
    let mut boards = Boards::new();
    for creation in wanted {
        let board = &creation.board;
        if !boards.contains_key(board) {
            let found = match board_policies(connection, board) {
                Err(StoreError::NoSuchBoard(_)) => None,
                found => Some(found?),
            };
            boards.insert(board, found);
        }
    }
    Ok(boards)
}

/// Finds what the keys led to before.
fn earlier(
    connection: &mut AnyConnection,
    wanted: &[&Creation],
    boards: &Boards<'_>,
) -> Result<HashMap<(BoardId, IdempotencyKey), idempotency::Earlier>, StoreError> {
    let mut keys: HashMap<BoardId, Vec<&IdempotencyKey>> = HashMap::new();
    for Creation {
        board, key, scope, ..
    } in wanted
    {
        let open = boards
            .get(board)
            .copied()
            .flatten()
            .filter(|(_, policies)| policies.authorize(*scope, Action::Post).is_ok());
        // A board that is hidden from the writer costs no more statements than one that is missing.
        if let (Some((board_id, _)), Some(key)) = (open, key) {
            keys.entry(board_id).or_default().push(key);
        }
    }
    let mut all = HashMap::new();
    for (board, keys) in keys {
        let found = idempotency::find(connection, board, &keys)?;
        all.extend(
            found
                .into_iter()
                .map(|(key, earlier)| ((board, key), earlier)),
        );
    }
    Ok(all)
}

/// Writes topics. Returns their ids, in the order of `new`; `None` for one that a trigger dropped.
fn insert(
    connection: &mut AnyConnection,
    new: &[(BoardId, &Creation)],
) -> Result<Vec<Option<TopicId>>, StoreError> {
    match connection.insert_topics_sql() {
        Some(sql) if new.len() > 1 => insert_together(connection, sql, new),
        _ => new
            .iter()
            .map(|(board, creation)| insert_one(connection, *board, &creation.topic).map(Some))
            .collect(),
    }
}

type NewTopicColumns<'a> = (
    Option<diesel::dsl::Eq<topics::id, Piece<BigInt>>>,
    diesel::dsl::Eq<topics::board_id, i64>,
    diesel::dsl::Eq<topics::comment, &'a str>,
    diesel::dsl::Eq<topics::author, &'a str>,
);

fn columns<'t>(
    connection: &AnyConnection,
    board: BoardId,
    topic: &'t NewTopic,
) -> NewTopicColumns<'t> {
    let drawn = connection.draw_topic_id_sql();
    (
        drawn.map(|drawn| topics::id.eq(Piece::new(drawn))),
        topics::board_id.eq(board.0),
        topics::comment.eq(topic.comment()),
        topics::author.eq(topic.author()),
    )
}

fn insert_one(
    connection: &mut AnyConnection,
    board: BoardId,
    topic: &NewTopic,
) -> Result<TopicId, StoreError> {
    let statement = diesel::insert_into(topics::table)
        .values(columns(connection, board, topic))
        .returning(topics::id);
    Ok(TopicId(statement.get_result(connection)?))
}

/// Writes a topic and its key, or finds out why not.
fn insert_checked(
    connection: &mut AnyConnection,
    board: BoardId,
    creation: &Creation,
) -> Result<TopicId, StoreError> {
    let statement = diesel::insert_into(topics::table)
        .values(columns(connection, board, &creation.topic))
        .returning(topics::id);
    let id = TopicId(connection.insert_row("topics", statement)?);
    if let Some(key) = &creation.key {
        idempotency::insert_checked(connection, (board, key, &creation.topic, id))?;
    }
    Ok(id)
}

fn insert_together(
    connection: &mut AnyConnection,
    sql: &'static str,
    new: &[(BoardId, &Creation)],
) -> Result<Vec<Option<TopicId>>, StoreError> {
    let rows = new.iter().map(|(board, creation)| NewTopicRow {
        board_id: board.0,
        comment: creation.topic.comment(),
        author: creation.topic.author(),
    });
    // They hold strings and numbers: nothing that JSON cannot say.
    let rows = serde_json::to_string(&rows.collect::<Vec<_>>()).unwrap_or_default();
    let created: Vec<CreatedRow> = FixedWithText::new(sql, &rows).load(connection)?;
    created
        .into_iter()
        .map(|CreatedRow { drawn, id }| match drawn {
            Some(_) => Ok(id.map(TopicId)),
            // Alone, each row says which id it has.
            None => Err(StoreError::Internal(
                "a trigger of the database set another id for a topic".to_owned(),
            )),
        })
        .collect()
}
