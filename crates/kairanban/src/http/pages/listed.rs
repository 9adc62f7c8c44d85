//! Pages of topics that are not the live list, and the address of a board to hang up.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path},
};
use kairanban_core::TopicId;
use kairanban_store::Page;
use percent_encoding::{NON_ALPHANUMERIC as QUERY, utf8_percent_encode};
use serde::Deserialize;

use super::{answer, answer_as_text};
use crate::{
    error::ApiError,
    http::{
        accept::Representation,
        board_name, caller,
        query::Query,
        rest::{topic_list, topics::topic_id},
    },
    preferences::Preferences,
    render::{
        self,
        page::{ListedBy, ListedTopics},
    },
    state::AppState,
};

/// Topics on a page.
const TOPICS_ON_PAGE: usize = 100;

/// Which topics to show.
#[derive(Debug, Deserialize)]
pub struct ListedQuery {
    /// Topics older than this one.
    before: Option<i64>,
    /// Topics with this text in their comment.
    q: Option<String>,
}

/// Answers `GET /b/{board}/topics`: all topics page by page, or those that a search finds.
///
/// # Errors
/// If there is no such board, or it cannot be read.
pub async fn get_topics(
    request: HttpRequest,
    state: Data<AppState>,
    board: Path<String>,
    query: Query<ListedQuery>,
) -> Result<HttpResponse, ApiError> {
    let (board, caller) = (board_name(&board)?, caller::of(&request, &state).await?);
    state.begin_read(&request).await?;
    let wanted = Page {
        before: topic_list::before(query.before)?,
        limit: TOPICS_ON_PAGE,
    };
    let sought = query.q.as_deref().map(str::trim);
    let (topics, next) = match sought {
        Some("") => {
            // Finds out whether there is such a board.
            state.boards.board(&caller, board.clone()).await?;
            (Vec::new(), None)
        }
        Some(text) => {
            let found =
                topic_list::search(&request, &state, &caller, board.clone(), text, wanted).await?;
            (found.topics, found.next)
        }
        None => {
            let page = state.boards.page(&caller, board.clone(), wanted).await?;
            (page.rows, page.next.map(TopicId))
        }
    };
    if Representation::of_page(&request) == Representation::Text {
        let mut text = render::text::topics(&topics, state.pages.zone());
        if let Some(TopicId(next)) = next {
            let query = sought.map(|text| format!("&q={}", utf8_percent_encode(text, QUERY)));
            let (site, query) = (
                state.site.address(request.headers()),
                query.unwrap_or_default(),
            );
            let address = format!("{site}/b/{board}/topics?before={next}{query}");
            text.push_str(&format!("# older: curl '{address}'\n"));
        }
        return Ok(answer_as_text(&request, text));
    }
    let (reader, navigation) = (
        Preferences::of(&request),
        state.boards.navigation(&caller, &board).await,
    );
    let page = state.pages.listed(&ListedTopics {
        reader: &reader,
        navigation: &navigation,
        board: &board,
        topics: &topics,
        found: match (sought, query.before) {
            (Some(text), _) => ListedBy::Search(text),
            (None, Some(_)) => ListedBy::Older,
            (None, None) => ListedBy::All,
        },
        next,
    })?;
    answer(&request, &reader, HttpResponse::Ok(), page.into())
}

/// Answers `GET /b/{board}/topics/{id}`: a topic at its own address, archived or not.
///
/// # Errors
/// If there is no such topic, or it cannot be read.
pub async fn get_topic(
    request: HttpRequest,
    state: Data<AppState>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (board, id) = (board_name(&path.0)?, topic_id(&path.1)?);
    let caller = caller::of(&request, &state).await?;
    state.begin_read(&request).await?;
    let topic = state.boards.topic(&caller, board.clone(), id).await?;
    if Representation::of_page(&request) == Representation::Text {
        let text = render::text::topics(&[topic], state.pages.zone());
        return Ok(answer_as_text(&request, text));
    }
    let (reader, navigation) = (
        Preferences::of(&request),
        state.boards.navigation(&caller, &board).await,
    );
    let page = state.pages.listed(&ListedTopics {
        reader: &reader,
        navigation: &navigation,
        board: &board,
        topics: &[topic],
        found: ListedBy::Single(id),
        next: None,
    })?;
    answer(&request, &reader, HttpResponse::Ok(), page.into())
}

/// Answers `GET /b/{board}/qr`: the address of a board as a QR code.
///
/// # Errors
/// If there is no such board, or it cannot be read.
pub async fn get_qr(
    request: HttpRequest,
    state: Data<AppState>,
    board: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let (board, caller) = (board_name(&board)?, caller::of(&request, &state).await?);
    state.begin_read(&request).await?;
    state.boards.board(&caller, board.clone()).await?;
    let navigation = state.boards.navigation(&caller, &board).await;
    let (site, reader) = (
        state.site.address(request.headers()),
        Preferences::of(&request),
    );
    let address = format!("{site}{}", state.pages.path_of(&board));
    let page = state.pages.qr(&reader, &navigation, &board, &address)?;
    answer(&request, &reader, HttpResponse::Ok(), page.into())
}
