//! Errors in the form that the client wants.

use actix_web::{
    Error, HttpRequest, HttpResponse, ResponseError as _,
    body::{BoxBody, EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{StatusCode, header},
    middleware::Next,
    web::Data,
};

use kairanban_core::terminal;

use crate::{
    error::{ApiError, Problem},
    http::{
        accept::{self, Representation},
        caller, pages,
    },
    preferences::Preferences,
    state::AppState,
};

/// Turns a problem into text or a page for those who want that.
///
/// # Errors
/// Those of the services within.
pub async fn problems(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut response = next.call(request).await?.map_into_boxed_body();
    let Some(problem) = response.response().extensions().get::<Problem>().cloned() else {
        return Ok(response);
    };
    let request = response.request().clone();
    // What the client wants cannot be read from a list that is refused for its length.
    let elements_max = request
        .app_data::<Data<AppState>>()
        .map_or(usize::MAX, |state| state.list_elements_max);
    if accept::long_list(request.headers(), elements_max).is_some() {
        return Ok(response);
    }
    response
        .headers_mut()
        .append(header::VARY, header::HeaderValue::from_static(pages::VARY));
    let (kind, body) = match Representation::of_error(&request) {
        Representation::Json => return Ok(response),
        Representation::Text => ("text/plain; charset=utf-8", text(&problem)),
        Representation::Html => match page(&request, &problem).await {
            Some(page) => ("text/html; charset=utf-8", page),
            None => ("text/plain; charset=utf-8", text(&problem)),
        },
    };
    Ok(response.map_body(|head, _| {
        head.headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        BoxBody::new(body)
    }))
}

async fn page(request: &HttpRequest, problem: &Problem) -> Option<String> {
    let state = request.app_data::<Data<AppState>>()?;
    // A database that is away, or a client that asks too much, is not asked for more.
    if problem.status < 500 && problem.status != StatusCode::TOO_MANY_REQUESTS {
        caller::note_on_error_page(request, state).await;
    }
    let reader = Preferences::of(request);
    state.pages.problem(&reader, problem).ok()
}

fn text(problem: &Problem) -> String {
    // It may have the words of a trigger, which other programs wrote.
    let detail = terminal::harmless(&problem.detail);
    format!("{} {}: {detail}\n", problem.status, problem.title)
}

/// Refuses a request in a middleware. It is answered, because an `Err` would pass by the middleware
/// outside of that one.
pub(super) fn refused<B>(
    request: ServiceRequest,
    error: &ApiError,
) -> ServiceResponse<EitherBody<B>> {
    request
        .into_response(error.error_response())
        .map_into_right_body()
}

/// Answers 404 at an address that does not exist.
pub async fn no_such_page() -> Result<HttpResponse, ApiError> {
    Err(ApiError::nothing_here())
}
