//! Errors in the form that the client wants.

use actix_web::{
    Error, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header,
    middleware::Next,
    web::Data,
};

use crate::{
    error::{ApiError, Problem},
    http::{
        accept::{self, Representation},
        pages,
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
        Representation::Html => {
            let state = request.app_data::<Data<AppState>>();
            let page = state.map(|state| state.pages.problem(&Preferences::of(&request), &problem));
            match page {
                Some(Ok(page)) => ("text/html; charset=utf-8", page),
                _ => ("text/plain; charset=utf-8", text(&problem)),
            }
        }
    };
    Ok(response.map_body(|head, _| {
        head.headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        BoxBody::new(body)
    }))
}

fn text(problem: &Problem) -> String {
    format!("{} {}: {}\n", problem.status, problem.title, problem.detail)
}

/// Answers 404 at an address that does not exist.
pub async fn no_such_page() -> Result<HttpResponse, ApiError> {
    Err(ApiError::NotFound(
        "there is nothing at this address".to_owned(),
    ))
}
