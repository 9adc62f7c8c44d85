//! Rules of the other formats, of compression, of WebSockets, and of streams of several boards.

use flate2::{Decompress, FlushDecompress};
use futures_util::{SinkExt as _, Stream, StreamExt as _};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite};

use crate::{
    Outcome, TestedServer, ensure,
    event_stream::{Events, Message, PATIENCE},
    list::List,
    unique,
};

const GZIP_HEADER: usize = 10;

pub(super) async fn lists(server: &TestedServer) -> Outcome {
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
        .flat_map(|fields| fields.keys())
        .collect();
    ensure(keys == ["contents"], || {
        format!("the tutorial's list has the keys {keys:?}")
    })
}

/// Opens a stream of JSON lines.
async fn lines(
    server: &TestedServer,
    path: &str,
) -> Result<impl Stream<Item = Result<Value, String>>, String> {
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
        match line {
            // An empty line only keeps the stream open.
            Ok(line) if line.is_empty() => None,
            Ok(line) => Some(parse(&line)),
            Err(error) => Some(Err(error.to_string())),
        }
    }))
}

fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))
}

/// Waits for the next item of a stream, and returns what `ended` says at its end.
async fn next<T>(
    stream: &mut (impl Stream<Item = T> + Unpin),
    late: &str,
    ended: &str,
) -> Result<T, String> {
    let item = timeout(PATIENCE, stream.next()).await;
    item.map_err(|_| late.to_owned())?
        .ok_or_else(|| ended.to_owned())
}

pub(super) async fn ndjson(server: &TestedServer) -> Outcome {
    let mut lines = Box::pin(lines(server, "/b/{board}/stream?format=ndjson").await?);
    let (late, ended) = ("no line came", "the stream ended");
    let mut list = List::default();
    list.apply(&message(&next(&mut lines, late, ended).await??))?;
    let comment = server.post_new().await?;
    list.apply(&message(&next(&mut lines, late, ended).await??))?;
    ensure(list.shows(&comment), || {
        format!("{comment:?} is not in the list")
    })
}

fn message(line: &Value) -> Message {
    Message {
        name: line["event"].as_str().unwrap_or_default().to_owned(),
        id: line["id"].as_str().map(ToOwned::to_owned),
        data: line["data"].to_string(),
        retry: None,
    }
}

async fn open(server: &TestedServer, format: &str) -> Result<Events, String> {
    Events::open(server, &format!("/b/{{board}}/stream?format={format}"), &[]).await
}

pub(super) async fn fragments(server: &TestedServer) -> Outcome {
    let mut html = open(server, "html").await?;
    let mut turbo = open(server, "turbo").await?;
    let mut raw = open(server, "raw").await?;
    let list = html.expect("snapshot").await?.data;
    ensure(!list.contains("hx-swap-oob"), || {
        "the first html is the list itself".to_owned()
    })?;
    let list = turbo.expect("").await?.data;
    let begin = r#"<turbo-stream action="update" target="topics">"#;
    ensure(list.starts_with(begin), || list.clone())?;
    raw.quiet().await?;
    let comment = server.post_new().await?;
    let patch = html.expect("patch").await?.data;
    ensure(
        patch.contains("hx-swap-oob=") && patch.contains(&comment),
        || patch.clone(),
    )?;
    let patch = turbo.expect("").await?.data;
    ensure(
        patch.contains("<turbo-stream action=") && patch.contains(&comment),
        || patch.clone(),
    )?;
    let posted = raw.expect("").await?;
    posted.cursor()?;
    ensure(posted.data == comment, || {
        format!("{posted:?} should be {comment:?}")
    })
}

fn is_gzip(head: &HeaderMap) -> bool {
    head.get("content-encoding")
        .is_some_and(|encoding| encoding == "gzip")
}

const ACCEPT_GZIP: [(&str, &str); 1] = [("accept-encoding", "gzip")];

pub(super) async fn no_gzip_unasked(server: &TestedServer) -> Outcome {
    let stream = Events::open(server, "/b/{board}/stream", &ACCEPT_GZIP).await?;
    ensure(!is_gzip(&stream.head), || {
        "gzip was sent unasked".to_owned()
    })
}

pub(super) async fn gzip(server: &TestedServer) -> Outcome {
    let path = "/b/{board}/stream?format=patch&compress=gzip";
    let answer = server.get(path, &ACCEPT_GZIP).await?;
    ensure(is_gzip(answer.headers()), || {
        "gzip was asked for and not sent".to_owned()
    })?;
    let mut bytes = answer.bytes_stream();
    let (mut packed, mut text, mut inflate) = (Vec::new(), Vec::new(), Decompress::new(false));
    let comment = server.post_new().await?;
    while !String::from_utf8_lossy(&text).contains(&comment) {
        let late = "an update did not arrive within gzip";
        let more = next(&mut bytes, late, "the stream ended").await?;
        packed.extend(more.map_err(|error| error.to_string())?);
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

type ClientSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open_web_socket(server: &TestedServer) -> Result<ClientSocket, String> {
    let address = server
        .url("/b/{board}/ws?since=now")
        .replacen("http", "ws", 1);
    let mut request = tungstenite::client::IntoClientRequest::into_client_request(address)
        .map_err(|error| error.to_string())?;
    if let Some(token) = &server.token {
        let value = format!("Bearer {token}")
            .parse()
            .map_err(|_| "the token cannot be sent in a header")?;
        request.headers_mut().insert("authorization", value);
    }
    let (socket, _) = connect_async(request)
        .await
        .map_err(|error| error.to_string())?;
    Ok(socket)
}

async fn send(socket: &mut ClientSocket, text: String) -> Outcome {
    let sent = socket.send(text.into()).await;
    sent.map_err(|error| error.to_string())
}

async fn next_frame(socket: &mut ClientSocket) -> Result<tungstenite::Message, String> {
    let frame = next(socket, "no frame came", "the socket closed").await?;
    frame.map_err(|error| error.to_string())
}

pub(super) async fn web_socket(server: &TestedServer) -> Outcome {
    let mut socket = open_web_socket(server).await?;
    let (comment, key) = (format!("conformance {}", unique()), unique());
    let create = json!({"op": "create", "comment": comment, "key": key});
    send(&mut socket, create.to_string()).await?;
    let (mut is_acknowledged, mut is_shown) = (false, false);
    while !(is_acknowledged && is_shown) {
        let tungstenite::Message::Text(text) = next_frame(&mut socket).await? else {
            continue;
        };
        let frame = parse(&text)?;
        is_acknowledged |= frame["event"] == "ack" && frame["data"]["key"] == key.as_str();
        is_shown |= frame["event"] == "patch" && text.contains(&comment);
    }
    Ok(())
}

pub(super) async fn web_socket_error(server: &TestedServer) -> Outcome {
    let mut socket = open_web_socket(server).await?;
    send(&mut socket, "no json".to_owned()).await?;
    let answer = next_frame(&mut socket).await?.to_string();
    ensure(answer.contains(r#""event":"error""#), || {
        format!("what is not JSON was answered with {answer}")
    })
}
