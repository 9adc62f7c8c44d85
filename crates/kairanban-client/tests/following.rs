//! Following and posting against a server that plays a script: what the client makes of each answer, and what it asks for next.

mod script;

use kairanban_client::{ClientError, Follow, FollowMany, News, Op};
use kairanban_core::BoardName;
use script::{PATIENCE, ScriptedServer, board, digest, header, patch, snapshot, stream, topic};
use tokio::time::timeout;

async fn next(follow: &mut Follow) -> Result<News, ClientError> {
    timeout(PATIENCE, follow.next())
        .await
        .expect("something happens")
}

fn ids(follow: &Follow) -> Vec<i64> {
    follow.copy().topics().map(|topic| topic.id).collect()
}

#[tokio::test]
async fn comes_back_with_its_cursor_and_goes_on_from_there() {
    let server = ScriptedServer::play(vec![
        stream(&[&snapshot(3, &[(1, 2), (2, 3)])]),
        // What it has already is skipped; comments and unknown events are, too.
        stream(&[
            ":\n\n",
            "event: weather\ndata: rain\n\n",
            &patch(2, 3, 2, &[]),
            &patch(3, 4, 3, &[(1, 2), (2, 3), (3, 4)]),
            // The last `retry` counts, also one within an event.
            "retry: 60000\n\n",
            "retry: 1\nevent: bye\ndata: {\"reason\":\"rotate\"}\n\n",
        ]),
        stream(&[&patch(4, 6, 1, &[(1, 6), (2, 3), (3, 4)])]),
    ]);
    let mut follow = server.follow();
    assert_eq!(next(&mut follow).await.expect("the list"), News::List);
    assert_eq!(
        follow.copy().topics().next().map(|topic| &*topic.comment),
        Some("回覧板")
    );
    let changed = next(&mut follow).await.expect("a change");
    assert!(
        matches!(&changed, News::Changed(ops) if matches!(&ops[..], [Op::Set { topic }] if topic.id == 3)),
        "{changed:?}"
    );
    assert!(matches!(next(&mut follow).await, Ok(News::Changed(_))));
    assert_eq!(
        (
            ids(&follow),
            follow.copy().revision(),
            follow.copy().cursor()
        ),
        (vec![1, 2, 3], 6, Some("e-6"))
    );
    let requests = server.requests();
    let asked: Vec<_> = requests
        .iter()
        .map(|request| header(request, "last-event-id"))
        .collect();
    assert_eq!(asked, [None, Some("e-3"), Some("e-4")]);
    for request in &requests {
        assert!(
            request.starts_with("get /b/main/stream?format=patch http/1.1"),
            "{request}"
        );
        assert_eq!(header(request, "authorization"), Some("bearer secret"));
    }
}

#[tokio::test]
async fn a_reset_forgets_the_cursor_and_the_list() {
    let server = ScriptedServer::play(vec![
        stream(&[
            &snapshot(9, &[(1, 9)]),
            "id: \nevent: reset\ndata: {\"reason\":\"epoch\"}\n\n",
        ]),
        stream(&[&snapshot(2, &[(7, 2)])]),
    ]);
    let mut follow = server.follow();
    assert_eq!(next(&mut follow).await.expect("the list"), News::List);
    // The stream ends before the new list came.
    assert_eq!(next(&mut follow).await.expect("the new list"), News::List);
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
        let mut heard = next(&mut follow).await;
        if matches!(heard, Ok(News::List)) {
            heard = next(&mut follow).await;
        }
        assert!(
            matches!(
                heard,
                Err(ClientError::Differs { .. } | ClientError::Protocol(_))
            ),
            "{heard:?} after {broken}"
        );
        assert_eq!(next(&mut follow).await.expect("the list again"), News::List);
        assert_eq!(follow.copy().revision(), 6);
        assert_eq!(
            header(&server.requests()[1], "last-event-id"),
            None,
            "a wrong list is no place to go on from"
        );
    }
}

#[tokio::test]
async fn an_outage_is_reported_once_and_a_refusal_ends_it() {
    let away = || ("503 Service Unavailable", r#"{"detail":"away"}"#.to_owned());
    let gone = ("404 Not Found", r#"{"detail":"no such board"}"#.to_owned());
    let server = ScriptedServer::play(vec![away(), away(), stream(&[&snapshot(1, &[])]), gone]);
    let mut follow = server.follow();
    assert_eq!(
        next(&mut follow).await.expect("an outage"),
        News::Lost("away".to_owned())
    );
    assert_eq!(next(&mut follow).await.expect("the list"), News::List);
    let end = next(&mut follow).await;
    assert!(
        matches!(&end, Err(ClientError::NotFound(detail)) if detail == "no such board"),
        "{end:?}"
    );
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn says_that_the_database_is_away_and_back() {
    let stale = "event: stale\ndata: {\"since\":\"2026-11-25T01:02:03Z\"}\n\n";
    let server = ScriptedServer::play(vec![stream(&[stale, "event: fresh\ndata: {}\n\n"])]);
    let mut follow = server.follow();
    let since = "2026-11-25T01:02:03Z".parse().expect("a time");
    assert_eq!(next(&mut follow).await.expect("stale"), News::Stale(since));
    assert_eq!(next(&mut follow).await.expect("fresh"), News::Fresh);
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

async fn next_of_many(follow: &mut FollowMany) -> (Option<BoardName>, News) {
    timeout(PATIENCE, follow.next())
        .await
        .expect("something happens")
        .expect("no error")
}

/// An event of a stream of several boards, on which only `cursor` has an id.
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
        // The cut comes before the cursor: what it has counts, and the cursor is the one before.
        stream(&[&of("blue", patch(5, 6, 2, &[(2, 6)]))]),
        stream(&[
            "event: reset\ndata: {\"board\":\"red\",\"reason\":\"trimmed\"}\n\n",
            &of("red", snapshot(6, &[])),
            &cursor(6),
        ]),
        stream(&["id: \nevent: reset\ndata: {\"reason\":\"epoch\"}\n\n"]),
        stream(&[&of("red", snapshot(1, &[]))]),
    ]);
    let mut follow = server.client().follow_many([board("red"), board("blue")]);
    assert_eq!(
        next_of_many(&mut follow).await,
        (Some(board("red")), News::List)
    );
    assert_eq!(
        next_of_many(&mut follow).await,
        (Some(board("blue")), News::List)
    );
    assert!(
        matches!(next_of_many(&mut follow).await, (Some(name), News::Changed(_)) if name == board("blue"))
    );
    assert_eq!(follow.cursor(), Some("e-5"));
    assert_eq!(
        next_of_many(&mut follow).await,
        (Some(board("red")), News::List)
    );
    assert_eq!(
        topics_shown(&follow, "blue"),
        Some(1),
        "a reset of one board is for that one"
    );
    assert_eq!(
        next_of_many(&mut follow).await,
        (Some(board("red")), News::List)
    );
    assert_eq!(
        topics_shown(&follow, "blue"),
        Some(0),
        "a reset without a board is for all"
    );
    let requests = server.requests();
    assert!(
        requests[0].starts_with("get /stream?board=blue&board=red&format=patch http/1.1"),
        "{}",
        requests[0]
    );
    let asked: Vec<_> = requests
        .iter()
        .map(|request| header(request, "last-event-id"))
        .collect();
    assert_eq!(asked, [None, Some("e-5"), Some("e-5"), Some("e-6"), None]);
}

#[tokio::test]
async fn a_post_is_repeated_with_the_same_key_and_a_refusal_is_not() {
    let away = ("503 Service Unavailable", r#"{"detail":"away"}"#.to_owned());
    let server = ScriptedServer::play(vec![away, ("201 Created", topic(1, 2, "hello"))]);
    let posted = timeout(PATIENCE, server.client().post(&board("main"), "hello", ""))
        .await
        .expect("an answer")
        .expect("a topic");
    assert_eq!((posted.id, &*posted.comment), (1, "hello"));
    let requests = server.requests();
    let keys: Vec<_> = requests
        .iter()
        .map(|request| header(request, "idempotency-key").expect("a key"))
        .collect();
    assert!(keys[0] == keys[1] && keys[0].len() >= 16, "{keys:?}");

    let server = ScriptedServer::play(vec![(
        "422 Unprocessable Entity",
        r#"{"detail":"too long"}"#.to_owned(),
    )]);
    let refused = timeout(PATIENCE, server.client().post(&board("main"), "hello", ""))
        .await
        .expect("an answer");
    assert!(
        matches!(&refused, Err(ClientError::Refused(detail)) if detail == "too long"),
        "{refused:?}"
    );
    assert_eq!(server.requests().len(), 1);
}
