//! Rules of opening a stream, of applying its events, and of what it sends while it is open.

use crate::{Outcome, TestedServer, ensure, event_stream::Events, list::List};

const PATCHES: &str = "/b/{board}/stream?format=patch";

pub(super) async fn headers(server: &TestedServer) -> Outcome {
    let stream = Events::open(server, PATCHES, &[("accept", "text/event-stream")]).await?;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache"),
        ("cache-control", "no-transform"),
        ("x-accel-buffering", "no"),
    ] {
        let found = stream
            .head
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        ensure(found.contains(value), || {
            format!("{name} is {found:?} and lacks {value}")
        })?;
    }
    Ok(())
}

pub(super) async fn opening(server: &TestedServer) -> Outcome {
    let mut stream = Events::open(server, PATCHES, &[]).await?;
    let first = stream.expect("snapshot").await?;
    ensure(
        first.retry.is_some_and(|wait| wait.as_millis() >= 100),
        || format!("expected retry with the first event, got {first:?}"),
    )?;
    let mut list = List::default();
    list.apply(&first)?;
    let (epoch, revision) = first
        .cursor()?
        .rsplit_once('-')
        .ok_or("a cursor is epoch-revision")?;
    ensure(revision == list.revision.to_string(), || {
        format!("the cursor says {revision}, the list {}", list.revision)
    })?;
    let hex = epoch.len() <= 16
        && !epoch.is_empty()
        && epoch
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    ensure(hex, || format!("{epoch:?} is not an epoch"))
}

pub(super) async fn refusals(server: &TestedServer) -> Outcome {
    for (path, accept, status) in [
        ("/b/no-such-board-here/stream", "*/*", 404),
        ("/b/{board}/stream?format=xml", "*/*", 400),
        ("/b/{board}/stream", "image/png", 406),
    ] {
        let answered = server
            .get(path, &[("accept", accept)])
            .await?
            .status()
            .as_u16();
        ensure(answered == status, || {
            format!("{path} was answered with {answered}, not {status}")
        })?;
    }
    Ok(())
}

pub(super) async fn patches(server: &TestedServer) -> Outcome {
    let mut stream = Events::open(server, PATCHES, &[]).await?;
    let mut list = List::default();
    list.apply(&stream.expect("snapshot").await?)?;
    for _ in 0..3 {
        let comment = server.post_new().await?;
        let patch = stream.expect("patch").await?;
        list.apply(&patch)?;
        patch.cursor()?;
        ensure(list.shows(&comment), || {
            format!("{comment:?} was posted and is not in the list")
        })?;
    }
    Ok(())
}

pub(super) async fn same_for_all(server: &TestedServer) -> Outcome {
    let mut streams = [
        Events::open(server, PATCHES, &[]).await?,
        Events::open(server, PATCHES, &[]).await?,
    ];
    for stream in &mut streams {
        stream.expect("snapshot").await?;
    }
    server.post_new().await?;
    let [one, other] = &mut streams;
    let (one, other) = (one.expect("patch").await?, other.expect("patch").await?);
    ensure(one.id == other.id && one.data == other.data, || {
        format!("{one:?} and {other:?}")
    })
}

pub(super) async fn heartbeat(server: &TestedServer) -> Outcome {
    let path = "/b/{board}/stream?format=patch&since=now&heartbeat=event";
    let beat = Events::open(server, path, &[])
        .await?
        .expect("heartbeat")
        .await?;
    ensure(beat.id.is_none(), || {
        format!("a heartbeat completes no state: {beat:?}")
    })
}
