//! The rules, in the order of `docs/PROTOCOL.md`.

mod formats;
mod rest;
mod resuming;
mod several;
mod streaming;

use crate::RuleCheck;

macro_rules! checks {
    ($($rule:literal => $check:path,)*) => {
        vec![$(($rule, |server| Box::pin($check(server)))),*]
    };
}

/// Returns all rules, each with its check.
pub(crate) fn all() -> Vec<(&'static str, RuleCheck)> {
    checks! {
        "Opening: the headers keep proxies from holding the stream back" => streaming::headers,
        "Opening: the first event has retry, and the whole list with its cursor and digest"
            => streaming::opening,
        "Opening: a missing board is 404, an unknown format 400, another Accept 406"
            => streaming::refusals,
        "Applying: each post is one patch that applies, with the digest of the list after it"
            => streaming::patches,
        "Applying: two streams are sent the same" => streaming::same_for_all,
        "Coming back: a reader that is up to date is sent no event" => resuming::up_to_date,
        "Coming back: what was missed comes as one patch, or as the list" => resuming::missed,
        "Coming back: the header wins, then last_event_id, lastEventId, since"
            => resuming::precedence,
        "Coming back: an empty header and earliest mean the whole list, now means changes only"
            => resuming::words,
        "Coming back: since=10m begins with the board of ten minutes ago" => resuming::time,
        "Coming back: since=yesterday is 400, unless there is a cursor in the header"
            => resuming::invalid_start,
        "Coming back: a cursor that cannot be served is answered with reset, then the list"
            => resuming::resets,
        "While it is open: a heartbeat can be an event" => streaming::heartbeat,
        "Other forms: list, and the tutorial's address" => formats::lists,
        "Other forms: ndjson is the patch stream, one event on each line" => formats::ndjson,
        "Other forms: html and turbo are fragments, raw is the comments" => formats::fragments,
        "Other forms: compress=gzip flushes each update" => formats::gzip,
        "Other forms: gzip is not sent unasked" => formats::no_gzip_unasked,
        "Other forms: a WebSocket streams, and takes posts" => formats::web_socket,
        "Other forms: a WebSocket answers what is not JSON with an error"
            => formats::web_socket_error,
        "Several boards: only cursor has an id" => several::one_cursor,
        "Several boards: one that ends gets a bye of its own, and the others go on"
            => several::end_of_one,
        "Polling: an ETag that still matches is 304, and wait waits for the next change"
            => rest::polling,
        "Posting: one key is one topic; another body with the same key is 422" => rest::keys,
    }
}
