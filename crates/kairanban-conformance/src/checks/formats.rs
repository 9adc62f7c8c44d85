//! Other forms, and several boards.

use flate2::{Decompress, FlushDecompress};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::{connect_async, tungstenite};

use crate::{
    Outcome, Server, ensure,
    stream::{Events, List, Message, PATIENCE},
    unique,
};

const GZIP_HEADER: usize = 10;

pub(super) async fn lists(server: &Server) -> Outcome {
    let mut stream = Events::open(server, "/b/{board}/stream", &[]).await?;
    let first = stream.expect("").await?.json()?;
    ensure(
        first["revision"].is_u64() && first["contents"].is_array(),
        || format!("no list: {first}"),
    )?;
    let comment = server.post_new().await?;
    let next = stream.expect("").await?;
    let newest = next.json()?["contents"]
        .as_array()
        .and_then(|contents| contents.last().cloned())
        .unwrap_or_default();
    next.cursor()?;
    ensure(
        newest["comment"] == comment.as_str() && newest["id"].is_u64(),
        || format!("{newest} should be {comment:?}"),
    )?;
    // The tutorial's address is of the default board.
    let tutorial = Events::open(server, "/topic_stream/", &[])
        .await?
        .expect("")
        .await?
        .json()?;
    let keys: Vec<_> = tutorial
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key.clone())
        .collect();
    ensure(keys == ["contents"], || {
        format!("the tutorial's list has the keys {keys:?}")
    })
}

/// A stream of lines, as they come.
async fn lines(
    server: &Server,
    path: &str,
) -> Result<impl futures_util::Stream<Item = Result<Value, String>>, String> {
    let answer = server.get(path, &[]).await?;
    ensure(answer.status().as_u16() == 200, || {
        format!("{path}: {}", answer.status())
    })?;
    let reader = tokio_util::io::StreamReader::new(
        answer
            .bytes_stream()
            .map(|bytes| bytes.map_err(std::io::Error::other)),
    );
    let lines = tokio_util::codec::FramedRead::new(reader, tokio_util::codec::LinesCodec::new());
    Ok(lines.filter_map(|line| async {
        let line = line.map_err(|error| error.to_string());
        // The empty ones only keep the stream open.
        let parse =
            |line: String| serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"));
        line.map(|line| (!line.is_empty()).then(|| parse(line)))
            .transpose()
            .map(|line| line.and_then(|line| line))
    }))
}

pub(super) async fn ndjson(server: &Server) -> Outcome {
    let mut lines = Box::pin(lines(server, "/b/{board}/stream?format=ndjson").await?);
    let mut list = List::default();
    let comment = async {
        let mut take = async || {
            let line = timeout(PATIENCE, lines.next())
                .await
                .map_err(|_| "no line came")?
                .ok_or("the stream ended")??;
            list.take(&message(&line))
        };
        take().await?;
        let comment = server.post_new().await?;
        take().await?;
        Ok::<_, String>(comment)
    }
    .await?;
    ensure(list.shows(&comment), || {
        format!("{comment:?} is not in the list")
    })
}

fn message(line: &Value) -> Message {
    let text = |key: &str| line[key].as_str().map(ToOwned::to_owned);
    Message {
        name: text("event").unwrap_or_default(),
        id: text("id"),
        data: line["data"].to_string(),
    }
}

pub(super) async fn fragments(server: &Server) -> Outcome {
    let open = async |format: &str| {
        Events::open(server, &format!("/b/{{board}}/stream?format={format}"), &[]).await
    };
    let (mut html, mut turbo, mut raw) = (
        open("html").await?,
        open("turbo").await?,
        open("raw").await?,
    );
    let (list, elements) = (html.expect("snapshot").await?, turbo.expect("").await?);
    ensure(!list.data.contains("hx-swap-oob"), || {
        "the first html is the list itself".to_owned()
    })?;
    ensure(
        elements
            .data
            .starts_with(r#"<turbo-stream action="update" target="topics">"#),
        || elements.data.clone(),
    )?;
    raw.quiet().await?;
    let comment = server.post_new().await?;
    let patch = html.expect("patch").await?;
    ensure(
        patch.data.contains("hx-swap-oob=") && patch.data.contains(&comment),
        || patch.data.clone(),
    )?;
    let element = turbo.expect("").await?;
    ensure(
        element.data.contains("<turbo-stream action=") && element.data.contains(&comment),
        || element.data.clone(),
    )?;
    let said = raw.expect("").await?;
    said.cursor()?;
    ensure(said.data == comment, || {
        format!("{said:?} should be {comment:?}")
    })
}

pub(super) async fn gzip(server: &Server) -> Outcome {
    let accept = [("accept-encoding", "gzip")];
    let encoding = |head: &reqwest::header::HeaderMap| {
        head.get("content-encoding")
            .is_some_and(|encoding| encoding == "gzip")
    };
    let plain = Events::open(server, "/b/{board}/stream", &accept).await?;
    ensure(!encoding(&plain.head), || {
        "gzip was sent unasked".to_owned()
    })?;
    let answer = server
        .get("/b/{board}/stream?format=patch&compress=gzip", &accept)
        .await?;
    ensure(encoding(answer.headers()), || {
        "gzip was asked for and not sent".to_owned()
    })?;
    let mut bytes = answer.bytes_stream();
    let (mut packed, mut text, mut inflate) = (Vec::new(), Vec::new(), Decompress::new(false));
    let comment = server.post_new().await?;
    while !String::from_utf8_lossy(&text).contains(&comment) {
        let more = timeout(PATIENCE, bytes.next())
            .await
            .map_err(|_| "an update did not arrive within gzip")?;
        packed.extend(
            more.ok_or("the stream ended")?
                .map_err(|error| error.to_string())?,
        );
        if packed.len() > GZIP_HEADER {
            text.reserve(1 << 20);
            let from = usize::try_from(inflate.total_in())
                .unwrap_or(usize::MAX)
                .saturating_add(GZIP_HEADER);
            inflate
                .decompress_vec(&packed[from..], &mut text, FlushDecompress::Sync)
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

pub(super) async fn socket(server: &Server) -> Outcome {
    let address = server
        .url("/b/{board}/ws?since=now")
        .replacen("http", "ws", 1);
    let mut request = tungstenite::client::IntoClientRequest::into_client_request(address)
        .map_err(|error| error.to_string())?;
    if let Some(token) = &server.token {
        let value = format!("Bearer {token}")
            .parse()
            .map_err(|_| "the token is no header")?;
        request.headers_mut().insert("authorization", value);
    }
    let (mut socket, _) = connect_async(request)
        .await
        .map_err(|error| error.to_string())?;
    let (comment, key) = (format!("conformance {}", unique()), unique());
    let create = json!({"op": "create", "comment": comment, "key": key}).to_string();
    socket
        .send(create.into())
        .await
        .map_err(|error| error.to_string())?;
    let (mut acknowledged, mut told) = (false, false);
    while !(acknowledged && told) {
        let frame = timeout(PATIENCE, socket.next())
            .await
            .map_err(|_| "a frame did not come")?
            .ok_or("the socket closed")?;
        let tungstenite::Message::Text(text) = frame.map_err(|error| error.to_string())? else {
            continue;
        };
        let frame: Value =
            serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        acknowledged |= frame["event"] == "ack" && frame["data"]["key"] == key.as_str();
        told |= frame["event"] == "patch" && text.contains(&comment);
    }
    socket
        .send("no json".into())
        .await
        .map_err(|error| error.to_string())?;
    let answer = timeout(PATIENCE, socket.next())
        .await
        .map_err(|_| "no answer to what is no JSON")?
        .ok_or("the socket closed")?;
    let text = answer.map_err(|error| error.to_string())?.to_string();
    ensure(text.contains(r#""event":"error""#), || {
        format!("what is no JSON was answered with {text}")
    })
}

pub(super) async fn many(server: &Server) -> Outcome {
    let mut stream = Events::open(server, "/stream?board={board}&format=patch", &[]).await?;
    let mut list = List::default();
    let first = stream.expect("snapshot").await?;
    list.take(&first)?;
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
    list.take(&patch)?;
    ensure(list.shows(&comment), || {
        format!("{comment:?} is not in the list")
    })?;
    stream.expect("cursor").await?.cursor().map(drop)
}
