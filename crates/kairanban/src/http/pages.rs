//! Board pages: complete without script, live with it.

mod index;
mod listed;
mod login;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
    web::{Data, Path},
};
use bytes::Bytes;
use kairanban_core::{Action, BoardName, Invalid};

use crate::{
    auth::Caller,
    error::ApiError,
    http::{
        accept::{self, Representation},
        board_name,
        body::Draft,
        caller, conditional,
        rest::topic_list,
    },
    preferences::Preferences,
    render::{
        self,
        filled::{RenderedPage, tag_of},
        page::BoardPage,
    },
    service::BoardView,
    state::AppState,
};

pub use self::{
    index::get_index,
    listed::{get_qr, get_topic, get_topics},
    login::{get_login, post_login, post_logout},
};

/// What a page depends on, beside its address.
pub const VARY: &str = "Accept, Accept-Language, Accept-Encoding, Cookie";
/// What it depends on if the client names no form.
const VARY_BY_PROGRAM: &str = "Accept, Accept-Language, Accept-Encoding, Cookie, User-Agent";
const PLAIN: &str = "text/plain; charset=utf-8";

fn vary(request: &HttpRequest) -> &'static str {
    if Representation::depends_on_program(request) {
        VARY_BY_PROGRAM
    } else {
        VARY
    }
}

/// Answers `GET /`
///
/// # Errors
/// If the board cannot be read.
pub async fn get_default_board(
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    get(&request, &state, &state.default_board).await
}

/// Answers `GET /b/{board}`
///
/// # Errors
/// If there is no such board, or it cannot be read.
pub async fn get_board(
    request: HttpRequest,
    state: Data<AppState>,
    board: Path<String>,
) -> Result<HttpResponse, ApiError> {
    get(&request, &state, &board_name(&board)?).await
}

/// Answers `GET /b/{board}/feed.xml`: the board in Atom, for feed readers.
///
/// # Errors
/// As [`get_board`].
pub async fn get_feed(
    request: HttpRequest,
    state: Data<AppState>,
    board: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let caller = caller::of(&request, &state).await?;
    let board = board_name(&board)?;
    let _unloaded = state.begin_unloaded(&request, &caller, [&board]).await?;
    let view = state.boards.read(&caller, &board).await?;
    let title = state.boards.navigation(&caller, &board).await.title;
    let tag = tag_of(format!("{} {title}", view.snapshot.cursor()).as_bytes());
    let (mut response, is_known) = conditional::start_tagged(&request, &view, &tag)?;
    if is_known {
        return Ok(response.finish());
    }
    let site = state.site.address(request.headers());
    let feed = state.pages.feed(&site, &title, &view.snapshot)?;
    Ok(response
        .content_type("application/atom+xml; charset=utf-8")
        .body(feed))
}

async fn get(
    request: &HttpRequest,
    state: &AppState,
    board: &BoardName,
) -> Result<HttpResponse, ApiError> {
    let caller = caller::of_page(request, state, board).await?;
    let _unloaded = state.begin_unloaded(request, &caller, [board]).await?;
    let view = state.boards.read(&caller, board).await?;
    match Representation::of_page(request) {
        Representation::Json => topic_list::list(request, &view),
        Representation::Text => Ok(text(request, state, &view)),
        Representation::Html => {
            let (status, draft) = (StatusCode::OK, Draft::default());
            page(request, state, &caller, &view, status, &draft, &[]).await
        }
    }
}

fn text(request: &HttpRequest, state: &AppState, view: &BoardView) -> HttpResponse {
    let mut response = conditional::answer(StatusCode::OK, view);
    let list = if view.snapshot.topics().is_empty() {
        let (board, site) = (view.snapshot.board(), state.site.address(request.headers()));
        let path = state.pages.path_of(board);
        Bytes::from(format!(
            "# {board} is empty. To post: curl -d comment=hello {site}{path}\n"
        ))
    } else {
        render::text::live_list(&view.snapshot, state.pages.zone())
    };
    response
        .content_type(PLAIN)
        .insert_header((header::VARY, vary(request)))
        .body(list)
}

/// Sends text that no cache may serve without asking.
fn answer_as_text(request: &HttpRequest, text: String) -> HttpResponse {
    conditional::revalidated(&mut HttpResponse::Ok())
        .content_type(PLAIN)
        .insert_header((header::VARY, vary(request)))
        .body(text)
}

/// Renders the page; after a post that was refused, with what was typed and what is wrong with it.
pub(super) async fn page(
    request: &HttpRequest,
    state: &AppState,
    caller: &Caller,
    view: &BoardView,
    status: StatusCode,
    draft: &Draft,
    faults: &[Invalid],
) -> Result<HttpResponse, ApiError> {
    let (reader, board) = (Preferences::of(request), view.snapshot.board());
    let navigation = state.boards.navigation(caller, board).await;
    let page = BoardPage {
        reader: &reader,
        navigation: &navigation,
        policies: view.policies,
        posting: caller.authorize(Action::Post, board, view.policies),
        snapshot: &view.snapshot,
        topics_max: state.topics_max,
        heartbeat: state.timing.heartbeat(),
        boards_per_stream: state.boards_per_stream_max,
        stale_since: view.stale_since,
        is_wall: reader.query.iter().any(is_wall),
        is_packed: accept::asks_for_gzip(request),
        comment: &draft.comment,
        author: &draft.author,
        faults,
    };
    let page = state.pages.board(&page)?;
    let response = conditional::answer(status, view);
    answer(request, &reader, response, page)
}

fn is_wall((key, value): &(String, String)) -> bool {
    (key.as_str(), value.as_str()) == ("view", "wall")
}

/// Sends a page that no cache may serve without asking.
fn answer(
    request: &HttpRequest,
    reader: &Preferences,
    mut response: HttpResponseBuilder,
    page: RenderedPage,
) -> Result<HttpResponse, ApiError> {
    response
        .content_type("text/html; charset=utf-8")
        .insert_header((header::VARY, vary(request)));
    for cookie in reader.cookies(request) {
        response.append_header((header::SET_COOKIE, cookie));
    }
    let tag = page.tag().to_owned();
    conditional::answer_in_coding(request, response.finish(), &tag, |is_packed| {
        if is_packed {
            page.packed()
        } else {
            page.plain()
        }
    })
}
