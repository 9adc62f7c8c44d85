//! Rules of polling the list and of posting over REST.

use tokio::time::Instant;

use crate::{Outcome, TestedServer, ensure, unique};

const LIST: &str = "/api/v1/boards/{board}/topics";

async fn tag(server: &TestedServer) -> Result<String, String> {
    let list = server.get(LIST, &[]).await?;
    let tag = list
        .headers()
        .get("etag")
        .and_then(|tag| tag.to_str().ok())
        .map(ToOwned::to_owned);
    tag.ok_or_else(|| "the list has no ETag".to_owned())
}

pub(super) async fn polling(server: &TestedServer) -> Outcome {
    let tag = tag(server).await?;
    let again = server
        .get(LIST, &[("if-none-match", &tag)])
        .await?
        .status()
        .as_u16();
    ensure(again == 304, || {
        format!("nothing changed, and the answer is {again}")
    })?;
    let began = Instant::now();
    let waits = format!("{LIST}?wait=1");
    let waited = server
        .get(&waits, &[("if-none-match", &tag)])
        .await?
        .status()
        .as_u16();
    ensure(waited == 304 && began.elapsed().as_millis() >= 900, || {
        format!("{waited} after {:?}", began.elapsed())
    })?;
    let waits = format!("{LIST}?wait=10");
    let headers = [("if-none-match", tag.as_str())];
    let (answer, posted) = tokio::join!(server.get(&waits, &headers), server.post_new());
    let (answer, comment) = (answer?, posted?);
    ensure(answer.status().as_u16() == 200, || {
        format!("a wait for a change ended with {}", answer.status())
    })?;
    let list = answer.text().await.map_err(|error| error.to_string())?;
    ensure(list.contains(&comment), || {
        format!("the list that was waited for lacks {comment:?}")
    })
}

pub(super) async fn keys(server: &TestedServer) -> Outcome {
    let (comment, key) = (format!("conformance {}", unique()), unique());
    let (first, again) = (
        server.post(&comment, &key).await?,
        server.post(&comment, &key).await?,
    );
    ensure(
        first.0 == 201 && again.0 == 201 && first.1["id"] == again.1["id"],
        || format!("{first:?}, then {again:?}"),
    )?;
    let (status, _) = server.post("conformance: another comment", &key).await?;
    ensure(status == 422, || {
        format!("another comment with the same key was answered with {status}")
    })
}
