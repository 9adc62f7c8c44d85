//! Rules of coming back with a cursor, or at a time.

use crate::{Outcome, TestedServer, ensure, event_stream::Events, list::List};

const PATCHES: &str = "/b/{board}/stream?format=patch";

/// Returns the board's newest cursor, and its list.
async fn now(server: &TestedServer) -> Result<(String, List), String> {
    let first = Events::open(server, PATCHES, &[])
        .await?
        .expect("snapshot")
        .await?;
    let mut list = List::default();
    list.apply(&first)?;
    Ok((first.cursor()?.to_owned(), list))
}

pub(super) async fn up_to_date(server: &TestedServer) -> Outcome {
    let (cursor, _) = now(server).await?;
    Events::open(server, PATCHES, &[("last-event-id", &cursor)])
        .await?
        .quiet()
        .await
}

pub(super) async fn missed(server: &TestedServer) -> Outcome {
    let (cursor, mut list) = now(server).await?;
    let posted = [server.post_new().await?, server.post_new().await?];
    let mut stream = Events::open(server, PATCHES, &[("last-event-id", &cursor)]).await?;
    list.apply(&stream.message().await?)?;
    ensure(posted.iter().all(|comment| list.shows(comment)), || {
        format!("{posted:?} were missed and are not in the list")
    })?;
    stream.quiet().await
}

pub(super) async fn precedence(server: &TestedServer) -> Outcome {
    let (cursor, _) = now(server).await?;
    for name in ["last_event_id", "lastEventId", "since"] {
        let path = format!("{PATCHES}&{name}={cursor}");
        Events::open(server, &path, &[])
            .await?
            .quiet()
            .await
            .map_err(|error| format!("{name}: {error}"))?;
    }
    let header_wins = format!("{PATCHES}&last_event_id=0-1");
    Events::open(server, &header_wins, &[("last-event-id", &cursor)])
        .await?
        .quiet()
        .await
}

pub(super) async fn words(server: &TestedServer) -> Outcome {
    let (cursor, _) = now(server).await?;
    let empty = format!("{PATCHES}&last_event_id={cursor}");
    Events::open(server, &empty, &[("last-event-id", "")])
        .await?
        .expect("snapshot")
        .await?;
    Events::open(server, &format!("{PATCHES}&since=earliest"), &[])
        .await?
        .expect("snapshot")
        .await?;
    let mut stream = Events::open(server, &format!("{PATCHES}&since=now"), &[]).await?;
    stream.quiet().await?;
    server.post_new().await?;
    stream.expect("patch").await.map(drop)
}

pub(super) async fn time(server: &TestedServer) -> Outcome {
    let comment = server.post_new().await?;
    let first = Events::open(server, &format!("{PATCHES}&since=10m"), &[])
        .await?
        .message()
        .await?;
    let is_list = matches!(first.name.as_str(), "patch" | "snapshot");
    ensure(is_list && first.data.contains(&comment), || {
        format!("what was posted just now is not in {first:?}")
    })?;
    Events::open(server, &format!("{PATCHES}&since=0s"), &[])
        .await?
        .quiet()
        .await
}

pub(super) async fn invalid_start(server: &TestedServer) -> Outcome {
    let path = format!("{PATCHES}&since=yesterday");
    let status = server.get(&path, &[]).await?.status().as_u16();
    ensure(status == 400, || {
        format!("{path} was answered with {status}, not 400")
    })?;
    let (cursor, _) = now(server).await?;
    Events::open(server, &path, &[("last-event-id", &cursor)])
        .await?
        .quiet()
        .await
}

pub(super) async fn resets(server: &TestedServer) -> Outcome {
    let (cursor, _) = now(server).await?;
    let epoch = cursor
        .rsplit_once('-')
        .map(|(epoch, _)| epoch)
        .unwrap_or_default();
    let future = format!("{epoch}-9007199254740991");
    for (cursor, reason) in [
        ("0-1", "epoch"),
        (future.as_str(), "future"),
        ("no cursor", "invalid"),
        ("now", "invalid"),
    ] {
        let mut stream = Events::open(server, PATCHES, &[("last-event-id", cursor)]).await?;
        let reset = stream.expect("reset").await?;
        ensure(reset.json()?["reason"] == reason, || {
            format!("{cursor}: {reset:?} should say {reason}")
        })?;
        ensure(reset.id.as_deref() == Some(""), || {
            format!("{cursor}: a reset has an empty id: {reset:?}")
        })?;
        List::default().apply(&stream.expect("snapshot").await?)?;
    }
    Ok(())
}
