//! Routes every address, in one table.

use actix_web::{
    Resource, Route,
    guard::{Any, Get, Head},
    web::{self, ServiceConfig, delete, get, patch, post, route},
};

use crate::{
    error::ApiError,
    http::{
        assets, error_responses, forms, health, metrics, pages,
        rest::{administration, boards, changes, openapi, sessions, tokens, topic_list, topics},
        socket, stream_handlers,
    },
};

const METRICS: &str = "/metrics";

/// Registers all addresses of the server.
pub fn configure(services: &mut ServiceConfig) {
    services
        .configure(as_the_tutorial_had_them)
        .configure(boards_for_people)
        .configure(rest)
        .configure(administration)
        .configure(description)
        .configure(assets_and_probes)
        .default_service(web::to(error_responses::no_such_page));
}

fn as_the_tutorial_had_them(services: &mut ServiceConfig) {
    services
        .service(
            address("/", "GET, HEAD, POST")
                .route(read().to(pages::get_default_board))
                .route(post().to(forms::post_default_board)),
        )
        .service(
            address(stream_handlers::TUTORIAL, "GET, HEAD")
                .route(read().to(stream_handlers::get_topic_stream)),
        );
}

fn boards_for_people(services: &mut ServiceConfig) {
    services
        .service(
            address("/b/{board}", "GET, HEAD, POST")
                .route(read().to(pages::get_board))
                .route(post().to(forms::post_board)),
        )
        .service(address("/boards", "GET, HEAD").route(read().to(pages::get_index)))
        .service(
            address("/login", "GET, HEAD, POST")
                .route(read().to(pages::get_login))
                .route(post().to(pages::post_login)),
        )
        .service(address("/logout", "POST").route(post().to(pages::post_logout)))
        .service(address("/b/{board}/topics", "GET, HEAD").route(read().to(pages::get_topics)))
        .service(address("/b/{board}/topics/{id}", "GET, HEAD").route(read().to(pages::get_topic)))
        .service(address("/b/{board}/qr", "GET, HEAD").route(read().to(pages::get_qr)))
        .service(
            address(stream_handlers::OF_MANY, "GET, HEAD")
                .route(read().to(stream_handlers::get_many_stream)),
        )
        .service(
            address(stream_handlers::OF_ONE, "GET, HEAD")
                .route(read().to(stream_handlers::get_board_stream)),
        )
        .service(address("/b/{board}/feed.xml", "GET, HEAD").route(read().to(pages::get_feed)))
        .service(address("/b/{board}/ws", "GET").route(get().to(socket::get_board_socket)));
}

fn rest(services: &mut ServiceConfig) {
    services
        .service(
            address("/api/v1/boards", "GET, HEAD, POST")
                .route(read().to(boards::get_boards))
                .route(post().to(boards::post_board_info)),
        )
        .service(
            address("/api/v1/boards/{board}", "GET, HEAD, PATCH, DELETE")
                .route(read().to(boards::get_board_info))
                .route(patch().to(boards::patch_board_info))
                .route(delete().to(boards::delete_board_info)),
        )
        .service(
            address("/api/v1/boards/{board}/topics", "GET, HEAD, POST")
                .route(read().to(topic_list::get_topics))
                .route(post().to(topics::post_topic)),
        )
        .service(
            address(
                "/api/v1/boards/{board}/topics/{id}",
                "GET, HEAD, PATCH, DELETE",
            )
            .route(read().to(topics::get_topic))
            .route(patch().to(topics::patch_topic))
            .route(delete().to(topics::delete_topic)),
        )
        .service(
            address("/api/v1/boards/{board}/topics/{id}/restore", "POST")
                .route(post().to(topics::restore_topic)),
        )
        .service(
            address("/api/v1/boards/{board}/changes", "GET, HEAD")
                .route(read().to(changes::get_changes)),
        );
}

fn administration(services: &mut ServiceConfig) {
    services
        .service(
            address("/api/v1/tokens", "GET, HEAD, POST")
                .route(read().to(tokens::get_tokens))
                .route(post().to(tokens::post_token)),
        )
        .service(
            address("/api/v1/tokens/{id}", "GET, HEAD, DELETE")
                .route(read().to(tokens::get_token))
                .route(delete().to(tokens::delete_token)),
        )
        .service(address("/api/v1/sessions", "GET, HEAD").route(read().to(sessions::get_sessions)))
        .service(
            address("/api/v1/sessions/{id}", "DELETE").route(delete().to(sessions::delete_session)),
        )
        .service(address("/api/v1/tickets", "POST").route(post().to(tokens::post_ticket)))
        .service(address("/api/v1/audit", "GET, HEAD").route(read().to(administration::get_audit)))
        .service(address("/api/v1/stats", "GET, HEAD").route(read().to(administration::get_stats)));
}

fn description(services: &mut ServiceConfig) {
    services
        .service(
            address("/api/v1/openapi.json", "GET, HEAD").route(read().to(openapi::get_openapi)),
        )
        .service(address("/api/v1/docs", "GET, HEAD").route(read().to(openapi::get_docs)))
        .service(
            address("/api/v1/docs/{file:[^/]*}", "GET, HEAD")
                .route(read().to(openapi::get_docs_file)),
        );
}

fn assets_and_probes(services: &mut ServiceConfig) {
    services
        .service(address("/assets/{name}", "GET, HEAD").route(read().to(assets::get_asset)))
        .service(address("/robots.txt", "GET, HEAD").route(read().to(assets::get_asset)))
        .service(address("/manifest.webmanifest", "GET, HEAD").route(read().to(assets::get_asset)))
        .service(address("/livez", "GET, HEAD").route(read().to(health::get_livez)))
        .service(address("/readyz", "GET, HEAD").route(read().to(health::get_readyz)))
        .service(address("/version", "GET, HEAD").route(read().to(health::get_version)))
        .service(address(METRICS, "GET, HEAD").route(read().to(metrics::get_metrics)));
}

/// Registers the only address of the listener for metrics.
pub fn configure_metrics(services: &mut ServiceConfig) {
    services.service(address(METRICS, "GET, HEAD").route(read().to(metrics::get_metrics_alone)));
}

/// Creates an address that refuses all methods but those in `allow`.
fn address(path: &str, allow: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || async move {
        Err::<&str, _>(ApiError::MethodNotAllowed { allow })
    }))
}

/// Accepts GET, and HEAD as HTTP demands it.
fn read() -> Route {
    route().guard(Any(Get()).or(Head()))
}
