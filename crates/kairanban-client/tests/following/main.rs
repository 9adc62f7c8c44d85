//! Follows and posts against a server that plays a script: what the client reports after each
//! answer, and what it requests next.

mod many;
mod script;

use kairanban_client::{ClientError, Follow, FollowEvent, ListOp, ListedTopic};
use script::{PATIENCE, ScriptedServer, board, digest, header, patch, snapshot, stream, topic};
use tokio::time::timeout;

async fn next(follow: &mut Follow) -> Result<FollowEvent, ClientError> {
    timeout(PATIENCE, follow.next())
        .await
        .expect("something happens")
}

fn ids(follow: &Follow) -> Vec<i64> {
    follow.copy().topics().map(|topic| topic.id).collect()
}

/// Returns the `Last-Event-ID` of each request.
fn cursors(requests: &[String]) -> Vec<Option<&str>> {
    let cursors = requests
        .iter()
        .map(|request| header(request, "last-event-id"));
    cursors.collect()
}

#[tokio::test]
async fn continues_at_its_cursor_on_the_next_connection() {
    let server = ScriptedServer::play(vec![
        stream(&[&snapshot(3, &[(1, 2), (2, 3)])]),
        stream(&[
            &patch(3, 4, 3, &[(1, 2), (2, 3), (3, 4)]),
            "event: bye\ndata: {\"reason\":\"rotate\"}\n\n",
        ]),
        stream(&[&patch(4, 6, 1, &[(1, 6), (2, 3), (3, 4)])]),
    ]);
    let mut follow = server.follow();
    assert_eq!(
        next(&mut follow).await.expect("the list"),
        FollowEvent::List
    );
    let first = follow.copy().topics().next();
    assert_eq!(first.map(|topic| &*topic.comment), Some("回覧板"));
    for _ in 0..2 {
        assert!(matches!(
            next(&mut follow).await,
            Ok(FollowEvent::Changed(_))
        ));
    }
    assert_eq!(ids(&follow), [1, 2, 3]);
    let copy = follow.copy();
    assert_eq!((copy.revision(), copy.cursor()), (6, Some("e-6")));
    let requests = server.requests();
    assert_eq!(cursors(&requests), [None, Some("e-3"), Some("e-4")]);
    for request in &requests {
        assert!(
            request.starts_with("get /b/main/stream?format=patch http/1.1"),
            "{request}"
        );
        assert_eq!(header(request, "authorization"), Some("bearer secret"));
    }
}

#[tokio::test]
async fn skips_comments_unknown_events_and_old_patches() {
    let server = ScriptedServer::play(vec![stream(&[
        &snapshot(3, &[(1, 2), (2, 3)]),
        ":\n\n",
        "event: weather\ndata: rain\n\n",
        &patch(2, 3, 2, &[]),
        &patch(3, 4, 3, &[(1, 2), (2, 3), (3, 4)]),
    ])]);
    let mut follow = server.follow();
    assert_eq!(
        next(&mut follow).await.expect("the list"),
        FollowEvent::List
    );
    let Ok(FollowEvent::Changed(ops)) = next(&mut follow).await else {
        panic!("a change")
    };
    assert!(
        matches!(&ops[..], [ListOp::Set { topic }] if topic.id == 3),
        "{ops:?}"
    );
}

#[tokio::test]
async fn the_last_retry_counts_also_one_within_an_event() {
    let server = ScriptedServer::play(vec![
        stream(&[
            "retry: 60000\n\n",
            "retry: 1\nevent: bye\ndata: {\"reason\":\"rotate\"}\n\n",
        ]),
        stream(&[&snapshot(3, &[(1, 3)])]),
    ]);
    assert_eq!(
        next(&mut server.follow()).await.expect("the list"),
        FollowEvent::List
    );
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_reset_drops_the_cursor_and_the_list() {
    let server = ScriptedServer::play(vec![
        stream(&[
            &snapshot(9, &[(1, 9)]),
            "id: \nevent: reset\ndata: {\"reason\":\"epoch\"}\n\n",
        ]),
        stream(&[&snapshot(2, &[(7, 2)])]),
    ]);
    let mut follow = server.follow();
    assert_eq!(
        next(&mut follow).await.expect("the list"),
        FollowEvent::List
    );
    // The stream ends before the new list came.
    assert_eq!(
        next(&mut follow).await.expect("the new list"),
        FollowEvent::List
    );
    assert_eq!((ids(&follow), follow.copy().revision()), (vec![7], 2));
    let requests = server.requests();
    assert_eq!(header(&requests[1], "last-event-id"), None);
}

#[tokio::test]
async fn a_list_that_differs_or_a_gap_is_reported_and_read_again() {
    let broken = [
        snapshot(5, &[(1, 5)]).replace(&digest(&[(1, 5)]), "0000000000000000"),
        snapshot(4, &[(1, 4)]) + &patch(5, 6, 1, &[(1, 6)]),
        snapshot(4, &[(1, 4)]) + "id: e-5\nevent: patch\ndata: {\"from\":4}\n\n",
    ];
    for broken in broken {
        let server =
            ScriptedServer::play(vec![stream(&[&broken]), stream(&[&snapshot(6, &[(1, 6)])])]);
        let mut follow = server.follow();
        let mut result = next(&mut follow).await;
        if matches!(result, Ok(FollowEvent::List)) {
            result = next(&mut follow).await;
        }
        assert!(
            matches!(
                result,
                Err(ClientError::Differs { .. } | ClientError::Protocol(_))
            ),
            "{result:?} after {broken}"
        );
        assert_eq!(
            next(&mut follow).await.expect("the list again"),
            FollowEvent::List
        );
        assert_eq!(follow.copy().revision(), 6);
        assert_eq!(
            header(&server.requests()[1], "last-event-id"),
            None,
            "a wrong list is no base for patches"
        );
    }
}

#[tokio::test]
async fn an_outage_is_reported_once_and_a_refusal_ends_it() {
    let away = ("503 Service Unavailable", r#"{"detail":"away"}"#.to_owned());
    let gone = ("404 Not Found", r#"{"detail":"no such board"}"#.to_owned());
    let list = stream(&[&snapshot(1, &[])]);
    let server = ScriptedServer::play(vec![away.clone(), away, list, gone]);
    let mut follow = server.follow();
    assert_eq!(
        next(&mut follow).await.expect("an outage"),
        FollowEvent::Lost("away".to_owned())
    );
    assert_eq!(next(&mut follow).await.expect("back"), FollowEvent::Back);
    assert_eq!(
        next(&mut follow).await.expect("the list"),
        FollowEvent::List
    );
    let end = next(&mut follow).await;
    assert!(
        matches!(&end, Err(ClientError::NotFound(detail)) if detail == "no such board"),
        "{end:?}"
    );
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn a_stream_that_is_refused_for_now_counts_as_lost_until_one_goes_on() {
    let refused = "event: bye\ndata: {\"reason\":\"limit\"}\n\n";
    let server = ScriptedServer::play(vec![
        stream(&[&snapshot(3, &[(1, 3)])]),
        stream(&[refused]),
        stream(&[refused]),
        // It missed nothing.
        stream(&[":\n\n"]),
        stream(&[&patch(3, 4, 2, &[(1, 3), (2, 4)])]),
    ]);
    let mut follow = server.follow();
    assert_eq!(
        next(&mut follow).await.expect("the list"),
        FollowEvent::List
    );
    let lost = next(&mut follow).await.expect("a refusal");
    assert!(
        matches!(&lost, FollowEvent::Lost(why) if why.contains("no more room")),
        "{lost:?}"
    );
    assert_eq!(next(&mut follow).await.expect("back"), FollowEvent::Back);
    assert!(matches!(
        next(&mut follow).await,
        Ok(FollowEvent::Changed(_))
    ));
}

#[tokio::test]
async fn the_list_of_boards_is_read_page_by_page() {
    let page = |name: &str| {
        let board = format!(
            r#"{{"name":"{name}","title":"","read":"open","post":"open","revision":1,"topics":0}}"#
        );
        format!(r#"{{"boards":[{board}]}}"#)
    };
    let more = "200 OK\r\nlink: </api/v1/boards?after=a>; rel=\"next\"";
    let server = ScriptedServer::play(vec![(more, page("a")), ("200 OK", page("b"))]);
    let boards = server.client().boards().await.expect("boards");
    let names: Vec<_> = boards.iter().map(|board| board.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(server.requests()[1].starts_with("get /api/v1/boards?after=a "));
}

#[tokio::test]
async fn says_that_the_database_is_away_and_back() {
    let stale = "event: stale\ndata: {\"since\":\"2026-11-25T01:02:03Z\"}\n\n";
    let server = ScriptedServer::play(vec![stream(&[stale, "event: fresh\ndata: {}\n\n"])]);
    let mut follow = server.follow();
    let since = "2026-11-25T01:02:03Z".parse().expect("a time");
    assert_eq!(
        next(&mut follow).await.expect("stale"),
        FollowEvent::Stale(since)
    );
    assert_eq!(next(&mut follow).await.expect("fresh"), FollowEvent::Fresh);
}

#[tokio::test]
async fn each_refusal_has_its_error() {
    for (status, expected) in [
        ("401 Unauthorized", "NotAllowed"),
        ("403 Forbidden", "NotAllowed"),
        ("404 Not Found", "NotFound"),
        ("422 Unprocessable Entity", "Refused"),
    ] {
        let server = ScriptedServer::play(vec![(status, "no JSON".to_owned())]);
        let error = next(&mut server.follow()).await.expect_err(status);
        let (name, detail) = (format!("{error:?}"), error.to_string());
        assert!(
            name.starts_with(expected) && detail.contains(&status[..3]),
            "{status}: {name}: {detail}"
        );
    }
}

/// Posts `hello`, and returns what the client reports.
async fn post(server: &ScriptedServer) -> Result<ListedTopic, ClientError> {
    let (client, board) = (server.client(), board("main"));
    timeout(PATIENCE, client.post(&board, "hello", ""))
        .await
        .expect("an answer")
}

#[tokio::test]
async fn a_post_is_repeated_with_the_same_key() {
    let away = ("503 Service Unavailable", r#"{"detail":"away"}"#.to_owned());
    let server = ScriptedServer::play(vec![away, ("201 Created", topic(1, 2, "hello"))]);
    let posted = post(&server).await.expect("a topic");
    assert_eq!((posted.id, &*posted.comment), (1, "hello"));
    let requests = server.requests();
    let keys: Vec<_> = requests
        .iter()
        .map(|request| header(request, "idempotency-key").expect("a key"))
        .collect();
    assert!(keys[0] == keys[1] && keys[0].len() >= 16, "{keys:?}");
}

#[tokio::test]
async fn a_post_that_is_refused_is_not_repeated() {
    let refusal = (
        "422 Unprocessable Entity",
        r#"{"detail":"too long"}"#.to_owned(),
    );
    let server = ScriptedServer::play(vec![refusal]);
    let refused = post(&server).await;
    assert!(
        matches!(&refused, Err(ClientError::Refused(detail)) if detail == "too long"),
        "{refused:?}"
    );
    assert_eq!(server.requests().len(), 1);
}
