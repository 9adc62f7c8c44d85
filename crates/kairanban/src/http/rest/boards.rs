//! Boards: any client may look, administrators make, change and delete them.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Path, Payload},
};
use kairanban_core::{BoardName, Invalid};
use kairanban_store::BoardEdit;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    json,
    paging::PageRequest,
    responses::{BadBody, Forbidden, RefusalResponses},
};
use crate::{
    error::{ApiError, Problem},
    http::{board_after, board_name, body, caller, query::Query},
    render::{
        self,
        rest::{BoardSummary, BoardsView},
        schemas::{BoardNameSchema, BoardTitleSchema, PostPolicySchema, ReadPolicySchema},
    },
    state::AppState,
};

/// Query parameters of the list of boards.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BoardsQuery {
    /// The name of the board before.
    #[param(value_type = Option<BoardNameSchema>)]
    after: Option<String>,
    /// How many boards to return at most.
    #[param(minimum = 1)]
    limit: Option<usize>,
}

/// A board to be made, not checked yet.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with `name` and, if you like, `title`, `read` and `post`"
)]
pub struct BoardDraft {
    #[schema(value_type = BoardNameSchema)]
    name: String,
    #[schema(value_type = Option<BoardTitleSchema>)]
    title: Option<String>,
    /// Who may read it: `open` (the default) or `token`.
    #[schema(value_type = Option<ReadPolicySchema>)]
    read: Option<String>,
    /// Who may post on it: `open` (the default), `token` or `closed`.
    #[schema(value_type = Option<PostPolicySchema>)]
    post: Option<String>,
}

/// What is to change in a board, not checked yet.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with `title`, `read` or `post`"
)]
#[schema(as = BoardChange)]
pub struct BoardFields {
    #[schema(value_type = Option<BoardTitleSchema>)]
    title: Option<String>,
    #[schema(value_type = Option<ReadPolicySchema>)]
    read: Option<String>,
    #[schema(value_type = Option<PostPolicySchema>)]
    post: Option<String>,
}

/// Checks the fields of a board; returns every fault.
fn edit(
    title: Option<String>,
    read: Option<String>,
    post: Option<String>,
) -> Result<BoardEdit, Vec<Invalid>> {
    let title = title.map(|text| text.parse()).transpose();
    let read = read.map(|text| text.parse()).transpose();
    let post = post.map(|text| text.parse()).transpose();
    match (title, read, post) {
        (Ok(title), Ok(read), Ok(post)) => Ok(BoardEdit { title, read, post }),
        (title, read, post) => Err(title
            .err()
            .into_iter()
            .chain(read.err())
            .chain(post.err())
            .collect()),
    }
}

/// Answers `GET /api/v1/boards`, by name.
///
/// # Errors
/// If the query cannot be read, or the database is away.
#[utoipa::path(
    get,
    path = "/api/v1/boards",
    tag = "boards",
    summary = "Boards, by name",
    params(BoardsQuery),
    responses((status = 200, body = BoardsView<'_>, description = "Those that the caller may read, \
        by name"), RefusalResponses),
    security((), ("token" = [])),
)]
pub async fn get_boards(
    request: HttpRequest,
    state: Data<AppState>,
    query: Query<BoardsQuery>,
) -> Result<HttpResponse, ApiError> {
    let page = PageRequest::new(&request, &state, query.limit)?;
    let after_name = board_after(query.after.as_deref())?;
    let caller = caller::of(&request, &state).await?;
    state.begin_read(&request).await?;
    let boards = state.boards.boards(&caller, after_name, page.limit).await?;
    let response = page.begin_answer(boards.next.map(|last| format!("after={last}")));
    Ok(json(response, render::rest::boards(&boards.rows)))
}

/// Answers `GET /api/v1/boards/{board}`.
///
/// # Errors
/// If there is no such board, or the database is away.
#[utoipa::path(
    get,
    path = "/api/v1/boards/{board}",
    tag = "boards",
    summary = "One board",
    params(
        ("board" = BoardNameSchema, Path, description = "A board's name"),
    ),
    responses((status = 200, body = BoardSummary<'_>, description = "The board"), RefusalResponses),
    security((), ("token" = [])),
)]
pub async fn get_board_info(
    request: HttpRequest,
    state: Data<AppState>,
    board: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller::of(&request, &state).await?;
    state.begin_read(&request).await?;
    let board = state.boards.board(&caller, board_name(&board)?).await?;
    Ok(json(HttpResponse::Ok(), render::rest::board(&board)))
}

/// Answers `POST /api/v1/boards`, for administrators of all boards.
///
/// # Errors
/// Without an administrator's token, or if the board is not allowed, or exists.
#[utoipa::path(
    post,
    path = "/api/v1/boards",
    tag = "boards",
    summary = "Create a board",
    request_body = BoardDraft,
    responses(
        (status = 201, body = BoardSummary<'_>, description = "Created",
            headers(("Location" = String, description = "Its address"))),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "A board with this name exists"),
        RefusalResponses, Forbidden, BadBody,
    ),
    security(("token" = [])),
)]
pub async fn post_board_info(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let administrator = caller::administrator(&request, &state).await?;
    let BoardDraft {
        name,
        title,
        read,
        post,
    } = body::json_object(&request, payload, &state).await?;
    // The core calls it a board's name wherever it stands; here it stands in `name`.
    let name = name.parse::<BoardName>().map_err(|fault| Invalid {
        field: "name",
        ..fault
    });
    let (name, wanted) = match (name, edit(title, read, post)) {
        (Ok(name), Ok(wanted)) => (name, wanted),
        (name, wanted) => {
            return Err(ApiError::Invalid(
                name.err()
                    .into_iter()
                    .chain(wanted.err().unwrap_or_default())
                    .collect(),
            ));
        }
    };
    let board = state
        .boards
        .create_board(&administrator, name, wanted)
        .await?;
    let location = format!("/api/v1/boards/{}", board.name);
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .content_type("application/json")
        .body(render::rest::board(&board)))
}

/// Answers `PATCH /api/v1/boards/{board}`, for its administrators.
///
/// # Errors
/// Without an administrator's token, or if there is no such board, or the title is not allowed.
#[utoipa::path(
    patch,
    path = "/api/v1/boards/{board}",
    tag = "boards",
    summary = "Change a board: title and policies",
    params(
        ("board" = BoardNameSchema, Path, description = "A board's name"),
    ),
    request_body = BoardFields,
    responses((status = 200, body = BoardSummary<'_>, description = "As it stands \
        now"), RefusalResponses, Forbidden, BadBody),
    security(("token" = [])),
)]
pub async fn patch_board_info(
    request: HttpRequest,
    state: Data<AppState>,
    board: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let board = board_name(&board)?;
    let administrator = caller::board_administrator(&request, &state, board).await?;
    let BoardFields { title, read, post } = body::json_object(&request, payload, &state).await?;
    let edit = edit(title, read, post).map_err(ApiError::Invalid)?;
    let board = state.boards.update_board(&administrator, edit).await?;
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .body(render::rest::board(&board)))
}

/// Answers `DELETE /api/v1/boards/{board}`, with all its topics, for administrators of all boards.
/// Open streams receive `bye`.
///
/// # Errors
/// Without an administrator's token, or if there is no such board, or it is the one at `/`.
#[utoipa::path(
    delete,
    path = "/api/v1/boards/{board}",
    tag = "boards",
    summary = "Delete a board with its topics",
    params(
        ("board" = BoardNameSchema, Path, description = "A board's name"),
    ),
    responses(
        (status = 204, description = "Deleted; its streams receive `bye`, or go on with other boards"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "It is the board at `/`"),
        RefusalResponses, Forbidden,
    ),
    security(("token" = [])),
)]
pub async fn delete_board_info(
    request: HttpRequest,
    state: Data<AppState>,
    board: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let board = board_name(&board)?;
    let administrator = caller::administrator(&request, &state).await?;
    if board == state.default_board {
        return Err(ApiError::Conflict(
            "the board at / cannot be deleted; set board.default to another board first".to_owned(),
        ));
    }
    state.boards.delete_board(&administrator, board).await?;
    Ok(HttpResponse::NoContent().finish())
}
