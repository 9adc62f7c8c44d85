//! What the pool writes (tickets, tokens, the audit, archiving, trimming and what expires) after
//! the database took no writes for a while.

use std::{
    thread,
    time::{Duration, Instant},
};

use kairanban_core::BoardId;
use kairanban_store::{NewTicket, Secret, StoreError};

use crate::{
    place::{DatabaseKind, Foreign, Place, config, main},
    tokens::{AUDIT, TIMES, try_make_token},
};

const PATIENCE: Duration = Duration::from_secs(3);

/// Makes a database read-only for the sessions that connect from now on, or writable.
fn set_read_only(foreign: &mut Foreign, is_on: bool) {
    let name = foreign.ask("SELECT current_database()");
    foreign.run(&format!(
        "ALTER DATABASE {name} SET default_transaction_read_only = {is_on}"
    ));
}

/// The number of sessions of the pool.
fn sessions(foreign: &mut Foreign) -> i64 {
    foreign.number(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'kairanban' \
         AND datname = current_database()",
    )
}

/// Makes all sessions of the pool such that connected while the database was read-only.
fn fill_pool_while_read_only(place: &Place, foreign: &mut Foreign) {
    set_read_only(foreign, true);
    foreign.run(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
         WHERE application_name = 'kairanban' AND datname = current_database()",
    );
    // Each reader waits for the board, so that the others take more sessions.
    let mut lock = place.foreign();
    lock.run("BEGIN READ WRITE; LOCK TABLE boards IN ACCESS EXCLUSIVE MODE");
    thread::scope(|scope| {
        let all = config(&place.address).pool_max;
        for _ in 0..all {
            // One that waits too long has had its session all the same.
            scope.spawn(|| drop(place.store.load(place.store.epoch(), &main())));
        }
        let deadline = Instant::now() + PATIENCE;
        while sessions(foreign) < i64::from(all) {
            assert!(Instant::now() < deadline, "not all sessions were opened");
            thread::yield_now();
        }
        lock.run("ROLLBACK");
    });
    set_read_only(foreign, false);
}

/// What a write is called, and how it is done.
type PoolWrite = (&'static str, fn(&Place) -> Result<(), StoreError>);

/// Each kind of write that the pool does.
const WRITES: [PoolWrite; 8] = [
    ("a ticket", |place| {
        let secret = Secret::ticket().expect("a secret");
        let ticket = NewTicket {
            token: 1,
            session: None,
            board: &main(),
            secret: &secret,
        };
        place.store.create_ticket(ticket, TIMES, 100)
    }),
    ("a token", |place| try_make_token(place, None).map(drop)),
    ("revoking", |place| place.store.revoke_token(2)),
    ("expiring", |place| {
        place.store.expire(AUDIT, Duration::ZERO, TIMES).map(drop)
    }),
    ("expiring keys", |place| {
        place.store.expire_keys(Duration::ZERO).map(drop)
    }),
    ("trimming changes", |place| {
        place.store.trim_log(0, Duration::ZERO).map(drop)
    }),
    ("archiving", |place| {
        let archived = place.store.archive(&main(), 1)?;
        assert_eq!(archived, 1);
        Ok(())
    }),
    ("the reconcile", |place| {
        let logged = place.store.log_missed(BoardId(1), place.head(), true)?;
        assert!(logged);
        Ok(())
    }),
];

#[test]
fn the_pool_writes_again_as_soon_as_the_database_takes_writes() {
    for (what, write) in WRITES {
        let place = Place::new(DatabaseKind::Postgres);
        let mut foreign = place.foreign();
        foreign.run(
            "INSERT INTO tokens (name, digest, scope) VALUES ('a', 'a', 'read'), ('b', 'b', 'read'); \
             INSERT INTO topics (comment) SELECT g::text FROM generate_series(1, 20) g",
        );
        fill_pool_while_read_only(&place, &mut foreign);
        write(&place).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

#[test]
fn a_write_that_was_refused_is_possible_again_within_seconds() {
    for (what, write) in WRITES.iter().take(3) {
        let place = Place::new(DatabaseKind::Postgres);
        let mut foreign = place.foreign();
        foreign.run(
            "INSERT INTO tokens (name, digest, scope) \
             VALUES ('a', 'a', 'read'), ('b', 'b', 'read')",
        );
        fill_pool_while_read_only(&place, &mut foreign);
        set_read_only(&mut foreign, true);
        for _ in 0..20 {
            let refused = write(&place).expect_err(what).to_string();
            assert!(refused.contains("read-only"), "{what}: {refused}");
        }
        set_read_only(&mut foreign, false);
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = write(&place) {
            assert!(Instant::now() < deadline, "{what}: {error}");
            thread::yield_now();
        }
    }
}
