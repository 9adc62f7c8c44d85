//! A thousand readers: one write reaches all, the database is read once, and idling costs nothing.

use std::time::{Duration, Instant};

use crate::node::{Database, Node};

const READERS: usize = 1_000;

#[test]
fn one_post_reaches_a_thousand_by_one_read() {
    let node = Node::start_with(Database::postgres(), &[("LIMITS__STREAMS_PER_CLIENT_MAX", "2000")]);
    let database = &node.database;
    database.sql("CREATE EXTENSION pg_stat_statements;");
    // Calls of statements that read topics, but not of the writer's own.
    let reads = || {
        let text = "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE \
                    datname = current_database()) AND query ILIKE 'select%' AND query ILIKE '%\"topics\"%' AND query NOT ILIKE '%\"topics\".\"id\" = ANY%';";
        database.sql(text).parse::<u64>().expect("a count")
    };
    let cold = reads();
    let mut streams: Vec<_> = (0..READERS).map(|_| node.stream("/topic_stream/")).collect();
    streams.iter_mut().for_each(|stream| drop(stream.event()));
    let polls = |since: Instant| since.elapsed().as_millis() as u64 / 1_500 + 1;
    // Readers that arrive together cost one reading; the rest is the slow poll, which finds nothing.
    let connecting = Instant::now();
    assert!(reads() - cold <= 1 + polls(connecting) + 5, "{} readings for {READERS} readers", reads() - cold);

    let (before, began) = (reads(), Instant::now());
    node.post("to all");
    for stream in &mut streams {
        assert!(stream.event().data.contains("to all"));
    }
    let took = began.elapsed();
    // One for the change (two, if the poll came at the same time), one per poll since.
    let read = reads() - before;
    assert!((1..=2 + polls(began)).contains(&read), "{read} readings for one post in {took:?}");

    // Idle: heartbeats are 15 s apart.
    let (cpu, idle) = (node.cpu(), Instant::now());
    streams[0].quiet_for(Duration::from_secs(5));
    let share = (node.cpu() - cpu).as_secs_f64() / idle.elapsed().as_secs_f64();
    assert!(share < 0.01, "{:.2} % of a core while idle", share * 100.0);
}
