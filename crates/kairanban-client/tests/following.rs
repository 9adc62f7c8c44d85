//! Following and posting against a server that plays a script: what the client makes of each answer, and what it asks for next.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread::{self, JoinHandle},
    time::Duration,
};

use kairanban_client::{Client, ClientError, Follow, FollowMany, News, Op};
use kairanban_core::{BoardName, Digest};
use tokio::time::timeout;

/// No answer here takes long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers one connection after the other, each with a status and a body, and keeps the heads of the requests.
struct Server {
    base: String,
    answering: JoinHandle<Vec<String>>,
}

impl Server {
    fn play(answers: Vec<(&'static str, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let answering = thread::spawn(move || {
            let answer = |(status, body): (&str, String)| {
                let (mut socket, _) = listener.accept().expect("a connection");
                socket
                    .set_read_timeout(Some(PATIENCE))
                    .expect("a time limit");
                let request = read_request(&mut socket);
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                // In small pieces, which end within lines and within letters.
                for piece in (head + &body).as_bytes().chunks(7) {
                    socket.write_all(piece).expect("a client that reads");
                    socket.flush().expect("a client that reads");
                }
                request
            };
            answers.into_iter().map(answer).collect()
        });
        Self { base, answering }
    }

    fn client(&self) -> Client {
        Client::new(&self.base, Some("secret".to_owned())).expect("a client")
    }

    fn follow(&self) -> Follow {
        self.client().follow(board("main"))
    }

    /// The heads of all requests that the script had answers for.
    fn requests(self) -> Vec<String> {
        self.answering
            .join()
            .expect("the script was played to its end")
    }
}

/// The head of a request in lower case; its body, of the length that it names, is read too.
fn read_request(socket: &mut TcpStream) -> String {
    let (mut read, mut buffer) = (Vec::new(), [0; 1_024]);
    loop {
        let length = socket.read(&mut buffer).expect("a request");
        read.extend(&buffer[..length]);
        let text = String::from_utf8_lossy(&read).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        if body.len() >= length {
            return head.to_owned();
        }
    }
}

fn board(name: &str) -> BoardName {
    name.parse().expect("a name")
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request
        .lines()
        .find_map(|line| line.split_once(": ").filter(|(key, _)| *key == name))
        .map(|(_, value)| value)
}

fn topic(id: u64, revision: u64, comment: &str) -> String {
    let time = "2026-11-25T00:00:00Z";
    format!(
        r#"{{"id":{id},"comment":"{comment}","author":"","created_at":"{time}","updated_at":"{time}","edited_at":null,"revision":{revision}}}"#
    )
}

fn digest(pairs: &[(u64, u64)]) -> String {
    Digest::of_pairs(pairs.iter().copied()).to_string()
}

/// A list of topics (id and revision).
fn snapshot(revision: u64, topics: &[(u64, u64)]) -> String {
    let list: Vec<_> = topics
        .iter()
        .map(|(id, revision)| topic(*id, *revision, "回覧板"))
        .collect();
    let (digest, list) = (digest(topics), list.join(","));
    format!(
        "id: e-{revision}\nevent: snapshot\ndata: {{\"board\":\"main\",\"revision\":{revision},\"digest\":\"{digest}\",\"topics\":[{list}]}}\n\n"
    )
}

/// A patch that sets a topic, after which the list is `after`.
fn patch(from: u64, revision: u64, id: u64, after: &[(u64, u64)]) -> String {
    let (topic, digest) = (topic(id, revision, "new"), digest(after));
    format!(
        "id: e-{revision}\nevent: patch\ndata: {{\"board\":\"main\",\"from\":{from},\"revision\":{revision},\"digest\":\"{digest}\",\"ops\":[{{\"op\":\"set\",\"topic\":{topic}}}]}}\n\n"
    )
}

/// So that a test does not wait before the next stream.
const AT_ONCE: &str = "retry: 1\n\n";

fn stream(events: &[&str]) -> (&'static str, String) {
    ("200 OK", AT_ONCE.to_owned() + &events.concat())
}

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
    let server = Server::play(vec![
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
    let server = Server::play(vec![
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
        let server = Server::play(vec![stream(&[&broken]), stream(&[&snapshot(6, &[(1, 6)])])]);
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
    let server = Server::play(vec![away(), away(), stream(&[&snapshot(1, &[])]), gone]);
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
    let server = Server::play(vec![stream(&[stale, "event: fresh\ndata: {}\n\n"])]);
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
        let server = Server::play(vec![(status, "no JSON".to_owned())]);
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

#[tokio::test]
async fn several_boards_share_one_cursor() {
    let of = |board: &str, event: String| {
        let event = event.replace(r#""board":"main""#, &format!(r#""board":"{board}""#));
        // Only `cursor` has an id.
        event.split_once('\n').expect("an id").1.to_owned()
    };
    let cursor = |revision| {
        format!("id: e-{revision}\nevent: cursor\ndata: {{\"revision\":{revision}}}\n\n")
    };
    let server = Server::play(vec![
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
        follow
            .copy(&board("blue"))
            .map(|copy| copy.topics().count()),
        Some(1),
        "a reset of one board is for that one"
    );
    assert_eq!(
        next_of_many(&mut follow).await,
        (Some(board("red")), News::List)
    );
    assert_eq!(
        follow
            .copy(&board("blue"))
            .map(|copy| copy.topics().count()),
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
    let server = Server::play(vec![away, ("201 Created", topic(1, 2, "hello"))]);
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

    let server = Server::play(vec![(
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
