//! What some peers need after their start, and what their readers need after their first bytes.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context as _, Result};
use memchr::memmem;

use super::{
    POCKETBASE_PASSWORD, POCKETBASE_USER, PUSHPIN_PUBLISH_OFFSET, at_offset, request_once,
};
use crate::{
    process,
    wire::{self, Endpoint},
};

const JSON: &str = "application/json";

/// Waits for its processes, which come up one after the other.
pub(super) fn pushpin(_: &Path, address: SocketAddr) -> Result<Endpoint> {
    process::wait_for(at_offset(address, PUSHPIN_PUBLISH_OFFSET), "/")?;
    process::wait_for(address, "/stream")?;
    Ok(address.into())
}

/// Creates the collection `topics`, which every client may read and write.
pub(super) fn pocketbase(_: &Path, address: SocketAddr) -> Result<Endpoint> {
    let endpoint = address.into();
    let login = serde_json::json!({"identity": POCKETBASE_USER, "password": POCKETBASE_PASSWORD});
    let path = "/api/collections/_superusers/auth-with-password";
    let request = wire::post(&endpoint, path, JSON, "", &login.to_string());
    let response = request_once(address, &request)?;
    let token = json_text(&response, "token").context("no token")?;
    let every_client = "";
    let collection = serde_json::json!({
        "name": "topics", "type": "base",
        "listRule": every_client, "viewRule": every_client, "createRule": every_client,
        "fields": [{"name": "comment", "type": "text"}],
    });
    let authorization = format!("authorization: {token}\r\n");
    let body = collection.to_string();
    let request = wire::post(&endpoint, "/api/collections", JSON, &authorization, &body);
    request_once(address, &request)?;
    Ok(endpoint)
}

/// Creates the stream `board`.
pub(super) fn durable_streams(_: &Path, address: SocketAddr) -> Result<Endpoint> {
    let endpoint = address.into();
    let request = wire::with_body("PUT", &endpoint, "/v1/stream/board", "text/plain", "", "");
    request_once(address, &request)?;
    Ok(endpoint)
}

/// Waits for the first event, before which the reader is not subscribed.
pub(super) fn greet_centrifuge(_: SocketAddr, received: &[u8]) -> Result<bool> {
    Ok(memmem::find(received, b"data: ").is_some())
}

/// Subscribes the client whose id its stream has sent.
pub(super) fn greet_pocketbase(address: SocketAddr, received: &[u8]) -> Result<bool> {
    let Some(client) = json_text(received, "clientId") else {
        return Ok(false);
    };
    let body = serde_json::json!({"clientId": client, "subscriptions": ["topics"]}).to_string();
    let request = wire::post(&address.into(), "/api/realtime", JSON, "", &body);
    request_once(address, &request).map(|_| true)
}

/// Returns the text of the first field of this name in some JSON.
fn json_text(received: &[u8], field: &str) -> Option<String> {
    let key = format!("\"{field}\":\"");
    let begin = memmem::find(received, key.as_bytes())? + key.len();
    let end = begin + memchr::memchr(b'"', &received[begin..])?;
    String::from_utf8(received[begin..end].to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_once_all_of_it_is_there() {
        let event = br#"data: {"clientId":"abc","token":""}"#;
        assert_eq!(json_text(event, "clientId").as_deref(), Some("abc"));
        assert_eq!(json_text(event, "token").as_deref(), Some(""));
        assert_eq!(json_text(&event[..20], "clientId"), None);
        assert_eq!(json_text(event, "client"), None);
    }
}
