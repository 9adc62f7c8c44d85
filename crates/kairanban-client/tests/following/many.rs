//! Follows several boards in one stream.

use kairanban_client::{ClientError, FollowEvent, FollowMany};
use kairanban_core::BoardName;
use tokio::time::timeout;

use super::{
    cursors,
    script::{PATIENCE, ScriptedServer, board, patch, snapshot, stream},
};

async fn next_of_many(follow: &mut FollowMany) -> (Option<BoardName>, FollowEvent) {
    timeout(PATIENCE, follow.next())
        .await
        .expect("something happens")
        .expect("no error")
}

/// Makes an event of a stream of several boards, in which only `cursor` has an id.
fn of(board: &str, event: String) -> String {
    let event = event.replace(r#""board":"main""#, &format!(r#""board":"{board}""#));
    event.split_once('\n').expect("an id").1.to_owned()
}

fn cursor(revision: u64) -> String {
    format!("id: e-{revision}\nevent: cursor\ndata: {{\"revision\":{revision}}}\n\n")
}

fn topics_shown(follow: &FollowMany, name: &str) -> Option<usize> {
    follow.copy(&board(name)).map(|copy| copy.topics().count())
}

#[tokio::test]
async fn several_boards_share_one_cursor() {
    let server = ScriptedServer::play(vec![
        stream(&[
            &of("red", snapshot(3, &[(1, 3)])),
            &of("blue", snapshot(2, &[(2, 2)])),
            &cursor(5),
        ]),
        // The connection is lost before the next cursor: the patch counts, and the cursor is still
        // the last one.
        stream(&[&of("blue", patch(5, 6, 2, &[(2, 6)]))]),
        stream(&[&of("red", snapshot(6, &[])), &cursor(6)]),
        stream(&[&of("red", patch(6, 7, 1, &[(1, 7)]))]),
    ]);
    let mut follow = server.client().follow_many([board("red"), board("blue")]);
    let [red, blue] = ["red", "blue"].map(|name| Some(board(name)));
    assert_eq!(
        next_of_many(&mut follow).await,
        (red.clone(), FollowEvent::List)
    );
    assert_eq!(
        next_of_many(&mut follow).await,
        (blue.clone(), FollowEvent::List)
    );
    let (name, event) = next_of_many(&mut follow).await;
    assert!(
        matches!(event, FollowEvent::Changed(_)) && name == blue,
        "{event:?}"
    );
    assert_eq!(follow.cursor(), Some("e-5"));
    assert_eq!(
        next_of_many(&mut follow).await,
        (red.clone(), FollowEvent::List)
    );
    let (name, event) = next_of_many(&mut follow).await;
    assert!(
        matches!(event, FollowEvent::Changed(_)) && name == red,
        "{event:?}"
    );
    let requests = server.requests();
    assert!(
        requests[0].starts_with("get /stream?board=blue&board=red&format=patch http/1.1"),
        "{}",
        requests[0]
    );
    assert_eq!(
        cursors(&requests),
        [None, Some("e-5"), Some("e-5"), Some("e-6")]
    );
}

#[tokio::test]
async fn a_reset_is_for_its_board_and_one_without_a_board_for_all() {
    let server = ScriptedServer::play(vec![
        stream(&[
            &of("red", snapshot(3, &[(1, 3)])),
            &of("blue", snapshot(2, &[(2, 2)])),
            &cursor(5),
            "event: reset\ndata: {\"board\":\"red\",\"reason\":\"trimmed\"}\n\n",
            &of("red", snapshot(6, &[])),
            &cursor(6),
        ]),
        stream(&["id: \nevent: reset\ndata: {\"reason\":\"epoch\"}\n\n"]),
        stream(&[&of("red", snapshot(1, &[]))]),
    ]);
    let mut follow = server.client().follow_many([board("red"), board("blue")]);
    for name in ["red", "blue", "red"] {
        let expected = (Some(board(name)), FollowEvent::List);
        assert_eq!(next_of_many(&mut follow).await, expected);
    }
    assert_eq!(topics_shown(&follow, "blue"), Some(1));
    assert_eq!(
        next_of_many(&mut follow).await,
        (Some(board("red")), FollowEvent::List)
    );
    assert_eq!(topics_shown(&follow, "blue"), Some(0));
    let requests = server.requests();
    assert_eq!(cursors(&requests), [None, Some("e-6"), None]);
}

/// The cursor of a stream on which a board ended.
fn cursor_without(revision: u64, board: &str) -> String {
    cursor(revision).replacen('\n', &format!("~{board}\n"), 1)
}

#[tokio::test]
async fn a_board_that_ends_ends_alone_and_comes_back_with_its_list() {
    let bye = "event: bye\ndata: {\"board\":\"blue\",\"reason\":\"gone\"}\n\n";
    let server = ScriptedServer::play(vec![
        stream(&[
            &of("red", snapshot(3, &[(1, 3)])),
            &of("blue", snapshot(2, &[(2, 2)])),
            &cursor(5),
            &cursor_without(5, "blue"),
            bye,
            &of("red", patch(5, 6, 1, &[(1, 6)])),
            &cursor_without(6, "blue"),
            "event: bye\ndata: {\"reason\":\"rotate\"}\n\n",
        ]),
        // Another board has the name.
        stream(&[&of("blue", snapshot(7, &[(3, 7)])), &cursor(7)]),
        stream(&["event: bye\ndata: {\"reason\":\"gone\"}\n\n"]),
        ("404 Not Found", r#"{"detail":"no such board"}"#.to_owned()),
    ]);
    let mut follow = server.client().follow_many([board("red"), board("blue")]);
    let [red, blue] = ["red", "blue"].map(|name| Some(board(name)));
    for board in [&red, &blue] {
        assert_eq!(
            next_of_many(&mut follow).await,
            (board.clone(), FollowEvent::List)
        );
    }
    let ended = (blue.clone(), FollowEvent::Ended("gone".to_owned()));
    assert_eq!(next_of_many(&mut follow).await, ended);
    assert_eq!(
        topics_shown(&follow, "blue"),
        Some(0),
        "it may no longer be read"
    );
    let (name, event) = next_of_many(&mut follow).await;
    assert!(
        matches!(event, FollowEvent::Changed(_)) && name == red,
        "{event:?}"
    );
    assert_eq!(
        next_of_many(&mut follow).await,
        (blue.clone(), FollowEvent::List)
    );
    assert_eq!(topics_shown(&follow, "blue"), Some(1));
    // The last board ends the stream, and the reconnect is refused.
    let end = timeout(PATIENCE, follow.next()).await.expect("an end");
    assert!(matches!(end, Err(ClientError::NotFound(_))), "{end:?}");
    assert_eq!(
        cursors(&server.requests()),
        [None, Some("e-6~blue"), Some("e-7"), Some("e-7")]
    );
}
