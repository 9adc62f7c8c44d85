//! Every address, in one table.

use actix_web::{
    Resource,
    guard::{Any, Get, Head},
    web::{self, ServiceConfig, delete, get, patch, post, resource, route},
};

use crate::{
    error::ApiError,
    http::{
        assets, forms, health, pages, present,
        rest::{changes, topics},
        stream,
    },
};

/// Registers them.
pub fn configure(services: &mut ServiceConfig) {
    let board = || resource("/b/{board}");
    services
        // As the tutorial had them.
        .service(
            page(resource("/"), "GET, HEAD, POST")
                .route(post().to(forms::post_default_board))
                .route(read().to(pages::get_default_board)),
        )
        .service(page(resource("/topic_stream/"), "GET").route(get().to(stream::get_topic_stream)))
        // Boards.
        .service(page(board(), "GET, HEAD, POST").route(post().to(forms::post_board)).route(read().to(pages::get_board)))
        .service(page(resource("/b/{board}/stream"), "GET").route(get().to(stream::get_board_stream)))
        // REST.
        .service(
            page(resource("/api/v1/boards/{board}/topics"), "GET, HEAD, POST")
                .route(post().to(topics::post_topic))
                .route(read().to(topics::get_topics)),
        )
        .service(
            page(resource("/api/v1/boards/{board}/topics/{id}"), "GET, HEAD, PATCH, DELETE")
                .route(patch().to(topics::patch_topic))
                .route(delete().to(topics::delete_topic))
                .route(read().to(topics::get_topic)),
        )
        .service(page(resource("/api/v1/boards/{board}/changes"), "GET, HEAD").route(read().to(changes::get_changes)))
        // What the page loads, and probes.
        .service(page(resource("/assets/{name}"), "GET, HEAD").route(read().to(assets::get_asset)))
        .service(page(resource("/livez"), "GET, HEAD").route(read().to(health::get_livez)))
        .service(page(resource("/readyz"), "GET, HEAD").route(read().to(health::get_readyz)))
        .default_service(web::to(present::no_such_page));
}

/// An address that answers the methods in `allow`, and says so to all others.
fn page(resource: Resource, allow: &'static str) -> Resource {
    resource.default_service(web::to(move || async move { Err::<&str, _>(ApiError::MethodNotAllowed { allow }) }))
}

/// GET, and HEAD as HTTP demands it.
fn read() -> actix_web::Route {
    route().guard(Any(Get()).or(Head()))
}
