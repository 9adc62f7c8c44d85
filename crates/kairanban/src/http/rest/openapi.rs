//! The API's own description: an OpenAPI document made from the handlers, and pages to browse it
//! that need no other site.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Path},
};
use bytes::Bytes;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Document, RefOr, Schema,
        path::{Operation, ParameterIn},
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};
use utoipa_swagger_ui::Config;

use super::{
    administration, boards, changes, sessions, tokens, topic_list, topics, write_conditions,
};
use crate::{
    config::RestSettings,
    error::ApiError,
    http::{conditional::revalidated, shared_file::SharedFile},
    render::schemas::{CursorSchema, IdempotencyKeySchema},
    state::AppState,
};

/// The document's address, as the pages that show it know it.
const ADDRESS: &str = "/api/v1/openapi.json";
/// Those pages style themselves by attributes and draw small pictures from `data:`.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' \
    'unsafe-inline'; connect-src 'self'; img-src 'self' data:; form-action 'none'; base-uri \
    'none'; frame-ancestors 'none'";

/// The OpenAPI document of the REST interface.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "kairanban",
        description = "A live bulletin board. Every committed write appears on every open stream. \
            The streams themselves are at `/b/{board}/stream`."
    ),
    // The document's own address is where the interface is.
    servers((url = "/", description = "This server")),
    paths(
        boards::get_boards,
        boards::post_board_info,
        boards::get_board_info,
        boards::patch_board_info,
        boards::delete_board_info,
        topic_list::get_topics,
        topics::post_topic,
        topics::get_topic,
        topics::patch_topic,
        topics::delete_topic,
        topics::restore_topic,
        changes::get_changes,
        tokens::get_tokens,
        tokens::post_token,
        tokens::get_token,
        tokens::delete_token,
        tokens::post_ticket,
        sessions::get_sessions,
        sessions::delete_session,
        administration::get_audit,
        administration::get_stats,
    ),
    // Schemas that only parameters name are not collected.
    components(schemas(CursorSchema, IdempotencyKeySchema)),
    modifiers(&BearerToken, &WriteConditions)
)]
struct Api;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, document: &mut Document) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", scheme);
        for operation in operations(document) {
            operation.description = operation.description.take().map(for_clients);
        }
    }
}

/// Conditions count on every write, whatever handler it has.
struct WriteConditions;

impl Modify for WriteConditions {
    fn modify(&self, document: &mut Document) {
        let paths = document.paths.paths.values_mut();
        paths
            .flat_map(|path| {
                [
                    &mut path.post,
                    &mut path.put,
                    &mut path.patch,
                    &mut path.delete,
                ]
            })
            .flatten()
            .for_each(write_conditions::describe);
    }
}

/// Rewrites the documentation of a handler, whose section on errors begins with "If" or "Without".
/// A client meets no errors of Rust.
fn for_clients(text: String) -> String {
    text.replace("# Errors\nIf ", "Fails if ")
        .replace("# Errors\nWithout ", "Fails without ")
}

fn operations(document: &mut Document) -> impl Iterator<Item = &mut Operation> {
    document
        .paths
        .paths
        .values_mut()
        .flat_map(|path| {
            [
                &mut path.get,
                &mut path.head,
                &mut path.post,
                &mut path.patch,
                &mut path.delete,
            ]
        })
        .flatten()
}

/// Writes the settings that bound query parameters into the document.
fn set_bounds(document: &mut Document, settings: &RestSettings) {
    let parameters = operations(document)
        .filter_map(|operation| operation.parameters.as_mut())
        .flatten();
    for parameter in parameters {
        let RefOr::T(parameter) = parameter else {
            continue;
        };
        let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema else {
            continue;
        };
        match (&parameter.parameter_in, parameter.name.as_str()) {
            (ParameterIn::Query, "limit") => schema.maximum = Some(settings.page_max.get().into()),
            (ParameterIn::Query, "wait") => {
                schema.maximum = Some(settings.wait_max.as_secs().into());
            }
            (ParameterIn::Query, "q") => schema.max_length = Some(settings.search_chars_max),
            _ => {}
        }
    }
}

/// The document as it is sent, from its first reader on.
#[derive(Debug, Default)]
pub struct DocumentFile(OnceLock<serde_json::Result<SharedFile>>);

/// Answers `GET /api/v1/openapi.json`.
///
/// # Errors
/// If the document cannot be written, which a test holds that it can.
pub async fn get_openapi(
    request: HttpRequest,
    state: Data<AppState>,
    file: Data<DocumentFile>,
) -> Result<HttpResponse, ApiError> {
    let file = file.0.get_or_init(|| {
        let text = document(&state.rest).to_pretty_json()?;
        Ok(SharedFile::new((text + "\n").into()))
    });
    let file = file
        .as_ref()
        .map_err(|error: &serde_json::Error| ApiError::Internal {
            cause: error.to_string(),
        });
    file?.answer(&request, "application/json")
}

/// Makes the document of a server with these settings.
fn document(settings: &RestSettings) -> Document {
    let mut document = Api::openapi();
    set_bounds(&mut document, settings);
    document
}

/// Answers `GET /api/v1/docs`: to where its files stand beside it.
pub async fn get_docs() -> HttpResponse {
    HttpResponse::MovedPermanently()
        .insert_header((header::LOCATION, "/api/v1/docs/"))
        .finish()
}

/// Answers `GET /api/v1/docs/{file}`.
///
/// # Errors
/// If there is no such file.
pub async fn get_docs_file(file: Path<String>) -> Result<HttpResponse, ApiError> {
    // No validator: that would be another site.
    let config = Config::from(ADDRESS)
        .validator_url("none")
        .try_it_out_enabled(true);
    let found = utoipa_swagger_ui::serve(&file, Arc::new(config));
    let found = found.map_err(|error| ApiError::Internal {
        cause: error.to_string(),
    })?;
    let found = found.ok_or_else(ApiError::nothing_here)?;
    let mut response = HttpResponse::Ok();
    if found.gzpipped {
        response.insert_header((header::CONTENT_ENCODING, "gzip"));
    }
    Ok(revalidated(&mut response)
        .content_type(found.content_type)
        .insert_header((header::CONTENT_SECURITY_POLICY, DOCS_POLICY))
        .body(match found.bytes {
            Cow::Borrowed(built_in) => Bytes::from_static(built_in),
            Cow::Owned(made) => made.into(),
        }))
}
