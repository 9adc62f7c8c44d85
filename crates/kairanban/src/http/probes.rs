//! What is answered on a connection for which there is no room: probes. All else is refused, and
//! the connection ends.

use actix_web::{
    Error,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::ConnectionType,
    middleware::Next,
};

use crate::{
    http::{error_responses, stream_handlers},
    net::connection_gate::{ConnectionPermit, refusal},
};

/// The addresses of probes. They are asked for by address, or by programs beside the server, which
/// know no name of it.
pub const PROBES: [&str; 4] = ["/livez", "/readyz", "/version", "/metrics"];

/// Refuses all but probes where there is no room. Streams refuse themselves, by a success that ends
/// at once.
///
/// # Errors
/// Those of the services within.
pub async fn probes_only(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    let connection = request.conn_data::<ConnectionPermit>();
    let Some(reason) = connection.and_then(ConnectionPermit::probes_only) else {
        return Ok(next.call(request).await?.map_into_left_body());
    };
    let is_admitted = PROBES.contains(&request.path()) || is_stream(&request);
    let mut response = if is_admitted {
        next.call(request).await?.map_into_left_body()
    } else {
        error_responses::refused(request, &refusal(reason))
    };
    let head = response.response_mut().head_mut();
    head.set_connection_type(ConnectionType::Close);
    Ok(response)
}

fn is_stream(request: &ServiceRequest) -> bool {
    request
        .match_pattern()
        .is_some_and(|pattern| stream_handlers::ADDRESSES.contains(&pattern.as_str()))
}
