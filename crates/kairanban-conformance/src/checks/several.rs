//! Streams of several boards.

use crate::{Outcome, TestedServer, ensure, event_stream::Events, list::List, unique};

pub(super) async fn one_cursor(server: &TestedServer) -> Outcome {
    let mut stream = Events::open(server, "/stream?board={board}&format=patch", &[]).await?;
    let mut list = List::default();
    let first = stream.expect("snapshot").await?;
    list.apply(&first)?;
    let cursor = stream.expect("cursor").await?;
    ensure(first.id.is_none() && cursor.cursor().is_ok(), || {
        format!("{first:?}, then {cursor:?}")
    })?;
    let comment = server.post_new().await?;
    let patch = stream.expect("patch").await?;
    ensure(
        patch.json()?["board"] == server.board.as_str() && patch.id.is_none(),
        || format!("{patch:?}"),
    )?;
    list.apply(&patch)?;
    ensure(list.shows(&comment), || {
        format!("{comment:?} is not in the list")
    })?;
    stream.expect("cursor").await?.cursor().map(drop)
}

/// Names a board that is not there: it has ended before the stream begins, as one that ends later.
pub(super) async fn end_of_one(server: &TestedServer) -> Outcome {
    let missing = format!("absent-{}", unique().to_lowercase());
    let path = format!("/stream?board={missing}&board={{board}}&format=patch");
    let mut stream = Events::open(server, &path, &[]).await?;
    stream.expect("snapshot").await?;
    let cursor = end_of(&missing, &mut stream).await?;
    let comment = server.post_new().await?;
    let patch = stream.expect("patch").await?;
    ensure(patch.data.contains(&comment), || {
        format!("the stream does not go on: {patch:?}")
    })?;
    let mut back = Events::open(server, &path, &[("last-event-id", &cursor)]).await?;
    back.expect("patch").await?;
    end_of(&missing, &mut back).await.map(drop)
}

/// Expects the cursor that does not claim a board, and then the end of the board.
async fn end_of(board: &str, stream: &mut Events) -> Result<String, String> {
    let cursor = stream.expect("cursor").await?;
    ensure(cursor.cursor()?.ends_with(&format!("~{board}")), || {
        format!("{cursor:?} claims the board {board}")
    })?;
    let bye = stream.expect("bye").await?;
    let (is_of_board, is_end) = (
        bye.json()?["board"] == board,
        bye.json()?["reason"] == "gone",
    );
    ensure(
        is_of_board && is_end && bye.id.is_none() && bye.retry.is_none(),
        || format!("expected the end of {board}, got {bye:?}"),
    )?;
    cursor.cursor().map(str::to_owned)
}
