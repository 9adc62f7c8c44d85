//! Reads a topic from a request's body: form, text or JSON. Strict, because what is guessed here
//! stands on the board.

use actix_web::{HttpRequest, http::header, web::Payload};
use bytes::Bytes;
use kairanban_core::{IdempotencyKey, IdempotencyKeyError, NewTopic, TopicEdit};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::{
    error::ApiError,
    http::{accept, urlencoded},
    limits::ClientAddress,
    render::schemas::{AuthorSchema, CommentSchema},
    state::AppState,
};

/// A topic as a client sent it, not checked yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with `comment` and, if you like, `author`"
)]
pub struct Draft {
    /// The text of the topic.
    #[schema(value_type = CommentSchema)]
    pub comment: String,
    /// Who says they wrote it.
    #[schema(value_type = AuthorSchema)]
    #[serde(default)]
    pub author: String,
}

impl Draft {
    /// Checks the topic against the rules of the core.
    ///
    /// # Errors
    /// One fault per field.
    pub fn check(&self) -> Result<NewTopic, ApiError> {
        NewTopic::try_new(&self.comment, &self.author).map_err(ApiError::Invalid)
    }
}

/// What a client wants to change in a topic, not checked yet.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with `comment` or `author`"
)]
pub struct Edit {
    #[schema(value_type = Option<CommentSchema>)]
    comment: Option<String>,
    #[schema(value_type = Option<AuthorSchema>)]
    author: Option<String>,
}

impl Edit {
    /// Checks the change against the rules of the core.
    ///
    /// # Errors
    /// One fault per field.
    pub fn check(&self) -> Result<TopicEdit, ApiError> {
        TopicEdit::try_new(self.comment.as_deref(), self.author.as_deref())
            .map_err(ApiError::Invalid)
    }
}

/// What a body can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// The body is a form: `application/x-www-form-urlencoded`.
    Form,
    /// The body is the comment: `text/plain`.
    Text,
    /// The body is an object: `application/json`.
    Json,
}

impl BodyKind {
    /// Returns the kind that `Content-Type` names, among those that are `taken` here.
    ///
    /// # Errors
    /// 415, with what is taken.
    pub fn of(request: &HttpRequest, taken: &[Self]) -> Result<Self, ApiError> {
        let unsupported = || {
            let (taken, accept) = match taken {
                [Self::Json] => ("application/json", "application/json"),
                [Self::Form] => ("a form", "application/x-www-form-urlencoded"),
                _ => (
                    "a form, text/plain or application/json",
                    "application/x-www-form-urlencoded, text/plain, application/json",
                ),
            };
            ApiError::UnsupportedMediaType { taken, accept }
        };
        let mut codings = accept::elements(request.headers(), header::CONTENT_ENCODING);
        if codings.any(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return Err(unsupported());
        }
        let mut lines = request.headers().get_all(header::CONTENT_TYPE);
        let text = lines.next().and_then(|value| value.to_str().ok());
        if lines.next().is_some() {
            return Err(ApiError::bad_request("Content-Type is repeated"));
        }
        let text = accept::tidy_parameters(text.unwrap_or_default());
        let media: mime::Mime = text.parse().map_err(|_| unsupported())?;
        let kind = match media.essence_str() {
            "application/x-www-form-urlencoded" => Self::Form,
            "text/plain" => Self::Text,
            "application/json" => Self::Json,
            _ => return Err(unsupported()),
        };
        let is_utf8 = media
            .params()
            .filter(|(name, _)| *name == mime::CHARSET)
            .all(|(_, charset)| is_utf8_label(charset.as_str()));
        if is_utf8 && taken.contains(&kind) {
            Ok(kind)
        } else {
            Err(unsupported())
        }
    }
}

/// Returns whether a charset is UTF-8, by any of the labels that are in use for it, or its subset
/// ASCII.
fn is_utf8_label(label: &str) -> bool {
    ["utf-8", "utf8", "us-ascii", "ascii"]
        .iter()
        .any(|known| label.eq_ignore_ascii_case(known))
}

/// Returns the idempotency key of a request, if it has one.
///
/// # Errors
/// 400, if that is no key, or there are several.
pub fn idempotency_key(request: &HttpRequest) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut lines = request.headers().get_all("idempotency-key");
    let Some(value) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(ApiError::bad_request("Idempotency-Key is repeated"));
    }
    let key = value.to_str().ok().and_then(|text| text.parse().ok());
    key.map(Some)
        .ok_or_else(|| ApiError::bad_request(IdempotencyKeyError.to_string()))
}

/// Counts the write, then reads the body and what it says.
///
/// # Errors
/// If the client writes too much, or the body is too long, too slow, of the wrong kind, or cannot
/// be read.
pub async fn draft(
    request: &HttpRequest,
    payload: Payload,
    state: &AppState,
    taken: &[BodyKind],
) -> Result<Draft, ApiError> {
    let kind = BodyKind::of(request, taken)?;
    state
        .quota
        .take(ClientAddress::of(request, &state.trusted_proxies))?;
    parse(kind, &read(payload, request, state).await?)
}

/// Reads a topic from the bytes of a body.
///
/// # Errors
/// 400, or 422 if a JSON object has an unknown key.
pub fn parse(kind: BodyKind, body: &[u8]) -> Result<Draft, ApiError> {
    match kind {
        BodyKind::Form => form(body),
        BodyKind::Text => Ok(Draft {
            comment: utf8(body)?.to_owned(),
            author: String::new(),
        }),
        BodyKind::Json => json(body),
    }
}

/// Reads a JSON object from an administrator: counted by the token, not as a client's write.
///
/// # Errors
/// As [`draft`].
pub async fn json_object<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: Payload,
    state: &AppState,
) -> Result<T, ApiError> {
    BodyKind::of(request, &[BodyKind::Json])?;
    json(&read(payload, request, state).await?)
}

async fn read(
    payload: Payload,
    request: &HttpRequest,
    state: &AppState,
) -> Result<Bytes, ApiError> {
    let bytes_max = state.body_bytes_max;
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Err(ApiError::TooLarge { bytes_max });
    }
    match timeout(state.body_wait, payload.to_bytes_limited(bytes_max)).await {
        Ok(Ok(Ok(body))) => Ok(body),
        Ok(Ok(Err(error))) => Err(ApiError::bad_request(format!(
            "the body ended early: {error}"
        ))),
        Ok(Err(_)) => Err(ApiError::TooLarge { bytes_max }),
        Err(_) => Err(ApiError::TooSlow),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, ApiError> {
    std::str::from_utf8(bytes).map_err(|_| ApiError::bad_request("the body is not UTF-8"))
}

/// Reads the fields of these names from a form.
///
/// # Errors
/// As [`draft`], but for what a client writes.
pub async fn fields<const N: usize>(
    request: &HttpRequest,
    payload: Payload,
    state: &AppState,
    names: [&str; N],
) -> Result<[Option<String>; N], ApiError> {
    BodyKind::of(request, &[BodyKind::Form])?;
    parse_fields(&read(payload, request, state).await?, names)
}

/// Parses a topic from a form.
fn form(body: &[u8]) -> Result<Draft, ApiError> {
    let [comment, author] = parse_fields(body, ["comment", "author"])?;
    let comment = comment.ok_or_else(|| ApiError::bad_request("the field comment is missing"))?;
    Ok(Draft {
        comment,
        author: author.unwrap_or_default(),
    })
}

/// Parses a form. Ignores unknown fields: a form may carry a token of its framework.
fn parse_fields<const N: usize>(
    body: &[u8],
    names: [&str; N],
) -> Result<[Option<String>; N], ApiError> {
    let mut values = [const { None }; N];
    for (name, value) in urlencoded::pairs(body) {
        let (name, value) = (decode(name)?, decode(value)?);
        let Some(at) = names.iter().position(|known| *known == name) else {
            continue;
        };
        let slot: &mut Option<String> = &mut values[at];
        if slot.replace(value).is_some() {
            return Err(ApiError::bad_request(format!(
                "the field {name} is repeated"
            )));
        }
    }
    Ok(values)
}

fn decode(text: &[u8]) -> Result<String, ApiError> {
    urlencoded::decode(text).map_err(|fault| ApiError::bad_request(format!("the form {fault}")))
}

/// Reads a JSON object, strictly.
///
/// # Errors
/// 400 with the path if it cannot be read, 422 if it has an unknown key.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // A list would be taken for the fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::bad_request("the body is not a JSON object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value: T = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let detail = error.into_inner().to_string();
        // serde has one kind of error for all that does not fit; only its words tell them apart.
        if detail.starts_with("unknown field") {
            ApiError::UnknownKey(detail)
        } else if path == "." {
            ApiError::bad_request(detail)
        } else {
            ApiError::bad_request_at(path, detail)
        }
    })?;
    reader
        .end()
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError as _;

    use super::*;

    fn status(read: Result<Draft, ApiError>) -> u16 {
        read.map_or_else(|error| error.status_code().as_u16(), |_| 200)
    }

    #[test]
    fn forms_are_read_strictly() {
        let draft =
            form(b"csrfmiddlewaretoken=x&comment=a+b%0D%0A%e5%9b%9e&author=").expect("a draft");
        assert_eq!(
            (draft.comment.as_str(), draft.author.as_str()),
            ("a b\r\n回", "")
        );
        for wrong in [
            "",
            "author=x",
            "comment=a&comment=b",
            "comment=a%ffb",
            "comment=a%zzb",
            "comment=a%4",
        ] {
            assert_eq!(status(form(wrong.as_bytes())), 400, "{wrong}");
        }
    }

    #[test]
    fn json_is_read_strictly() {
        assert_eq!(status(json(br#" {"comment":"a"} "#)), 200);
        let deep = format!("{{\"comment\":{}", "[".repeat(100_000));
        for wrong in [
            "",
            "null",
            "[]",
            r#"["a"]"#,
            r#""x""#,
            "1",
            r#"{"comment":"a""#,
            r#"{"comment":"a"}x"#,
            "\u{FEFF}{\"comment\":\"a\"}",
            "{\"comment\":\"a\nb\"}",
            r#"{"comment":"\ud800"}"#,
            r#"{"comment":"a","comment":"b"}"#,
            r#"{"comment":1}"#,
            r#"{"comment":null}"#,
            r#"{"author":"a"}"#,
            &deep,
        ] {
            assert_eq!(status(json(wrong.as_bytes())), 400, "{wrong:.40}");
        }
        assert_eq!(status(json(b"{\"comment\":\"a\xffb\"}")), 400);
        for key in [
            r#"{"comment":"a","id":1}"#,
            r#"{"comment":"a","revision":9}"#,
        ] {
            assert_eq!(status(json(key.as_bytes())), 422, "{key}");
        }
        let Err(ApiError::BadRequest { path, .. }) = json::<Draft>(br#"{"comment":1}"#) else {
            panic!("unreadable")
        };
        assert_eq!(path.as_deref(), Some("comment"));
    }
}
