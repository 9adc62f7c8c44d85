//! The rules, in the order of `docs/PROTOCOL.md`.

mod dialects;
mod rest;
mod resuming;
mod streaming;

use crate::Check;

macro_rules! checks {
    ($($rule:literal => $check:path,)*) => { vec![$(($rule, |server| Box::pin($check(server)))),*] };
}

/// All of them.
pub(crate) fn all() -> Vec<(&'static str, Check)> {
    checks! {
        "Opening: the headers let nobody between hold the stream back" => streaming::headers,
        "Opening: retry comes first, then the whole list with its cursor and \
         digest" => streaming::opening,
        "Opening: a board that is not there is 404, an unknown format 400, another Accept \
         406" => streaming::refusals,
        "Applying: each post is one patch that applies, with the digest of the list after \
         it" => streaming::patches,
        "Applying: two streams are told the same" => streaming::same_for_all,
        "Coming back: up to date costs no event" => resuming::up_to_date,
        "Coming back: what was missed comes as one patch, or as the list" => resuming::missed,
        "Coming back: the header wins, then last_event_id, lastEventId, \
         since" => resuming::where_the_cursor_stands,
        "Coming back: an empty header and earliest mean from the start, now means from \
         here" => resuming::words,
        "Coming back: since=10m begins where the board was then" => resuming::time,
        "Coming back: since=yesterday is 400, unless the header counts" => resuming::no_start,
        "Coming back: a cursor that cannot be served is reset, then the list" => resuming::resets,
        "While it is open: a heartbeat can be an event" => streaming::heartbeat,
        "Other forms: list, and the tutorial's address" => dialects::lists,
        "Other forms: ndjson is the patch stream, a line each" => dialects::ndjson,
        "Other forms: html and turbo are fragments, raw is the comments" => dialects::fragments,
        "Other forms: compress=gzip flushes each update; nobody is sent gzip \
         unasked" => dialects::gzip,
        "Other forms: a socket streams, and posts" => dialects::socket,
        "Several boards: an id stands on cursor alone" => dialects::many,
        "Polling: an ETag that still holds is 304, and wait waits" => rest::polling,
        "Posting: one key is one topic; another body under it is 422" => rest::keys,
    }
}
