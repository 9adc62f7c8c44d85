//! Clocks that are wrong: the server's days ahead of its database's or behind, or set while it
//! runs. On SQLite they are one clock. libfaketime stands between the server and the system; what
//! counts time without a calendar is left alone.

mod place;

use std::time::{Duration, Instant};

use chrono::TimeDelta;

use crate::{
    node::{Database, Node, program},
    sse::Watched,
};
use place::{Place, WrongClock, bye};

crate::on_both!(
    everything_goes_on_when_the_clock_steps_back,
    everything_goes_on_when_the_clock_steps_forward,
    what_was_seen_to_be_over_stays_over,
    a_stream_ends_with_its_token_although_the_clock_steps_back,
    what_only_counts_time_does_not_look_at_the_clock,
);

const JSON: &str = "application/json";
const TOPICS: &str = "/api/v1/boards/main/topics";
const STREAM: &str = "/b/main/stream?format=patch";

/// The server's clock is wrong from the start, and the database's is right.
fn a_server_by_a_wrong_clock(offset: &str) {
    let place = Place::new(Database::postgres(), offset);
    let database = &place.node.database;
    place.post("an hour ago");
    database.sql("UPDATE changes SET at = at - interval '1 hour';");
    let one = place.post("now");
    assert_eq!(place.lately(), ["now"], "since=10m");
    for (age, status, when) in [
        ("23 hours 59 minutes", 200, "undo within a day"),
        ("24 hours 1 minute", 404, "undo after more than a day"),
    ] {
        place.delete(one);
        database.sql(&format!(
            "UPDATE deleted_topics SET deleted_at = deleted_at - interval '{age}';"
        ));
        assert_eq!(place.restore(one), status, "{when}");
    }
    let ticket = place.ticket();
    database.sql("UPDATE tickets SET made_at = made_at - interval '61 seconds';");
    let status = place.node.get(&ticket).status;
    assert_eq!(status, 401, "a ticket that was not used for a minute");
    place.everything_works();
    a_token_of_the_terminal_lasts_a_day(&place);
}

/// The terminal's clock is the server's.
fn a_token_of_the_terminal_lasts_a_day(place: &Place) {
    let database = &place.node.database;
    let output = program()
        .envs(place.clock.environment())
        .args(["--database-url", &database.url(), "token", "create"])
        .args(["--scope", "read", "--days", "1"])
        .output()
        .expect("the program");
    assert!(output.status.success(), "{output:?}");
    let right = "SELECT expires_at BETWEEN now() + interval '23 hours' \
        AND now() + interval '25 hours' FROM tokens ORDER BY id DESC LIMIT 1;";
    assert_eq!(database.sql(right), "t", "--days 1");
    let token = String::from_utf8_lossy(&output.stdout);
    assert_eq!(place.status(TOPICS, token.trim()), 200);
}

#[test]
fn a_server_ahead_of_its_database() {
    a_server_by_a_wrong_clock("+2d");
}

#[test]
fn a_server_behind_its_database() {
    a_server_by_a_wrong_clock("-2d");
}

fn everything_goes_on_when_the_clock_steps_back(database: Database) {
    everything_goes_on(&Place::new(database, "+0"), "-2d");
}

fn everything_goes_on_when_the_clock_steps_forward(database: Database) {
    everything_goes_on(&Place::new(database, "+0"), "+2d");
}

fn everything_goes_on(place: &Place, offset: &str) {
    let (deleted, long, ticket) = (
        place.post("deleted"),
        place.token(TimeDelta::hours(1)),
        place.ticket(),
    );
    place.delete(deleted);
    assert_eq!(place.status(TOPICS, &long), 200);
    let mut watched = Watched::new(place.open(STREAM, &place.admin));
    watched.take();
    place.clock.set(offset);
    // Later, on SQLite, is later for everything: there the database's clock was set.
    let lasts = place.node.database.is_postgres() || !offset.starts_with('+');
    assert_eq!(place.restore(deleted) == 200, lasts, "undo from before");
    assert_eq!(
        place.status(TOPICS, &long) == 200,
        lasts,
        "a token from before"
    );
    assert_ticket_lasts(place, &ticket, lasts);
    let page = place.node.get(&format!("{TOPICS}?limit=1"));
    assert_eq!(page.status, 404, "the board is still private");
    place.post("after the step");
    assert!(
        place
            .lately()
            .iter()
            .any(|comment| comment == "after the step"),
        "since=10m"
    );
    place.everything_works();
    while !watched.mirror.comments().contains(&"after the step") {
        watched.take();
    }
}

fn assert_ticket_lasts(place: &Place, ticket: &str, lasts: bool) {
    if lasts {
        let first = place.node.stream(ticket).event();
        assert_eq!(first.name, "snapshot", "a ticket from before");
    } else {
        assert_eq!(place.node.get(ticket).status, 401, "a ticket from before");
    }
}

fn what_was_seen_to_be_over_stays_over(database: Database) {
    let place = Place::new(database, "+0");
    let (token, ticket) = (place.token(TimeDelta::seconds(2)), place.ticket());
    assert_eq!(place.status(TOPICS, &token), 200);
    let age = if place.node.database.is_postgres() {
        "made_at - interval '61 seconds'"
    } else {
        "datetime(made_at, '-61 seconds')"
    };
    place
        .node
        .database
        .sql(&format!("UPDATE tickets SET made_at = {age};"));
    assert_eq!(place.node.get(&ticket).status, 401, "too late");
    await_status(&place, &token, 401, Duration::from_secs(5), "it has ended");
    place.clock.set("-2d");
    assert_eq!(place.status(TOPICS, &token), 401, "the token is good again");
    assert_eq!(
        place.node.get(&ticket).status,
        401,
        "the ticket is good again"
    );
    // An administrator who puts its end off means it.
    let later = if place.node.database.is_postgres() {
        "now() + interval '1 hour'"
    } else {
        "datetime('now', '+1 hour')"
    };
    place.node.database.sql(&format!(
        "UPDATE tokens SET expires_at = {later} WHERE expires_at IS NOT NULL;"
    ));
    let at_most = Duration::from_secs(3);
    await_status(&place, &token, 200, at_most, "its end was put off");
}

#[track_caller]
fn await_status(place: &Place, token: &str, status: u16, at_most: Duration, why: &str) {
    let began = Instant::now();
    while place.status(TOPICS, token) != status {
        assert!(began.elapsed() < at_most, "no {status}: {why}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn a_stream_ends_with_its_token_although_the_clock_steps_back(database: Database) {
    let place = Place::new(database, "+0");
    let token = place.token(TimeDelta::seconds(3));
    let (mut stream, began) = (place.open(STREAM, &token), Instant::now());
    assert_eq!(stream.event().name, "snapshot");
    place.clock.set("-2d");
    assert_eq!(bye(&mut stream), "auth");
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        place.status(TOPICS, &token),
        401,
        "and it does not come back"
    );
    assert_eq!(place.node.send("GET", STREAM, JSON, "").status, 404);
}

/// Heartbeats come, and a client that posts too much has to wait just as long, whatever happens to
/// the clock.
fn what_only_counts_time_does_not_look_at_the_clock(database: Database) {
    let clock = WrongClock::new("+0");
    let settings = [
        ("KAIRANBAN_STREAM__HEARTBEAT_S", "1"),
        ("KAIRANBAN_LIMITS__POSTS_PER_CLIENT_BURST", "3"),
        ("KAIRANBAN_LIMITS__POSTS_PER_CLIENT_PER_S", "1"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let node = Node::start_in(database, [clock.environment(), settings.to_vec()].concat());
    let mut stream = node.stream(STREAM);
    stream.event();
    for offset in ["+2d", "-2d"] {
        while node.send("POST", "/", "text/plain", "x").status == 201 {}
        clock.set(offset);
        assert_one_post_a_second(&node, offset);
        while stream.raw(Duration::from_millis(10)).is_some() {}
        let (began, at_most) = (Instant::now(), Duration::from_secs(3));
        while !stream.raw(at_most).expect("a heartbeat").comment {}
        assert!(began.elapsed() < at_most, "a heartbeat ({offset})");
    }
}

fn assert_one_post_a_second(node: &Node, offset: &str) {
    let (began, mut posts) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_millis(2_500) {
        posts += u32::from(node.send("POST", "/", "text/plain", "x").status == 201);
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert!(
        (1..=3).contains(&posts),
        "{posts} posts in 2.5 s, one a second is allowed ({offset})"
    );
}
