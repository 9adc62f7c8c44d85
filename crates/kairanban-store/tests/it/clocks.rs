//! What is too old is so by the database's clock, whatever this process takes the time for.

use std::{path::PathBuf, process::Command, time::Duration};

use kairanban_core::Revision;
use kairanban_store::{NewTicket, Secret, TicketTimes, Writer};

use crate::{
    place::{DatabaseKind, Place, create, delete_topic, main, post_once, restore_topic, run},
    tokens::AUDIT,
};

crate::on_both!(only_what_is_too_old_expires);

const BOUND: Duration = Duration::from_secs(3_600);
const TIMES: TicketTimes = TicketTimes {
    first_use: BOUND,
    idle: BOUND,
};
/// Ages in seconds, on this side of the bound and beyond it.
const YOUNG: u32 = 3_500;
const OLD: u32 = 3_700;

/// Sets the times of all rows of a table back, as the database counts.
fn age(place: &Place, table: &str, column: &str, seconds: u32) {
    let then = match place.kind {
        DatabaseKind::Postgres => format!("now() - interval '{seconds} seconds'"),
        DatabaseKind::Sqlite => format!("datetime('now', '-{seconds} seconds')"),
    };
    place.foreign().run(&format!(
        "UPDATE {table} SET {column} = {then} WHERE {column} IS NOT NULL"
    ));
}

fn only_what_is_too_old_expires(place: &Place) {
    let (writer, _) = place.writer();
    old_keys_expire(place, &writer);
    old_deletes_are_final(place, &writer);
    old_tickets_expire(place);
    the_old_log_is_trimmed(place);
    let off = (place.store.now().expect("a time") - chrono::Utc::now()).abs();
    assert_eq!(
        off > chrono::TimeDelta::days(1),
        std::env::var_os("LD_PRELOAD").is_some(),
        "whose clock is wrong: {off}"
    );
}

fn old_keys_expire(place: &Place, writer: &Writer) {
    run(writer.write(post_once("x", Some("k")))).expect("written");
    for (seconds, gone) in [(YOUNG, 0), (OLD, 1)] {
        age(place, "idempotency", "used_at", seconds);
        assert_eq!(
            place.store.expire_keys(BOUND).expect("expired"),
            gone,
            "keys"
        );
    }
}

#[track_caller]
fn assert_expired(place: &Place, count: usize, what: &str) {
    let expired = place.store.expire(AUDIT, BOUND, TIMES);
    assert_eq!(expired.expect("expired"), count, "{what}");
}

fn old_deletes_are_final(place: &Place, writer: &Writer) {
    let id = create(place, "deleted").id;
    run(writer.write(delete_topic(id, None))).expect("deleted");
    age(place, "deleted_topics", "deleted_at", OLD);
    let undone = run(writer.write(restore_topic(id, BOUND)));
    assert!(undone.is_err(), "undo after too long");
    age(place, "deleted_topics", "deleted_at", YOUNG);
    assert_expired(place, 0, "deleted topics");
    let undone = run(writer.write(restore_topic(id, BOUND)));
    assert!(undone.is_ok(), "undo");
    run(writer.write(delete_topic(id, None))).expect("deleted");
    age(place, "deleted_topics", "deleted_at", OLD);
    assert_expired(place, 1, "deleted topics");
}

fn old_tickets_expire(place: &Place) {
    place
        .foreign()
        .run("INSERT INTO tokens (name, digest, scope) VALUES ('x', 'y', 'read')");
    let token = place.store.tokens(0, 1).expect("a list").rows[0].id;
    for column in ["made_at", "used_at"] {
        let ticket = Secret::ticket().expect("random");
        place
            .store
            .create_ticket(
                NewTicket {
                    token,
                    session: None,
                    board: &main(),
                    secret: &ticket,
                },
                TIMES,
                9,
            )
            .expect("a ticket");
        if column == "used_at" {
            assert!(opens(place, &ticket), "at once");
        }
        age(place, "tickets", column, YOUNG);
        assert_expired(place, 0, column);
        assert!(opens(place, &ticket), "{column}");
        if column == "made_at" {
            place.foreign().run("UPDATE tickets SET used_at = NULL");
        }
        age(place, "tickets", column, OLD);
        assert_expired(place, 1, column);
    }
}

fn opens(place: &Place, ticket: &Secret) -> bool {
    let used = place
        .store
        .use_ticket(ticket.reveal(), &main(), "192.0.2.1", TIMES);
    used.expect("read").is_some()
}

fn the_old_log_is_trimmed(place: &Place) {
    for (seconds, is_old) in [(YOUNG, false), (OLD, true)] {
        age(place, "changes", "at", seconds);
        let upto = place.store.head_before(BOUND).expect("a revision");
        assert_eq!(
            upto,
            if is_old { place.head() } else { Revision::ZERO },
            "the log"
        );
        assert_eq!(
            place.store.trim_log(10_000, BOUND).expect("trimmed") > 0,
            is_old,
            "the log"
        );
    }
}

/// Runs in a process of its own, below.
#[test]
#[ignore = "by a wrong clock"]
fn by_a_wrong_clock() {
    only_what_is_too_old_expires(&Place::new(DatabaseKind::Postgres));
}

#[test]
fn by_a_wrong_clock_of_ours_nothing_expires_too_early_or_too_late() {
    let mut folders = std::fs::read_dir("/usr/lib")
        .expect("libraries")
        .filter_map(Result::ok);
    let library: PathBuf = folders
        .find_map(|folder| {
            Some(folder.path().join("faketime/libfaketimeMT.so.1")).filter(|path| path.exists())
        })
        .expect("libfaketime; scripts/test installs it");
    for offset in ["+2d", "-2d"] {
        let mut child = Command::new(std::env::current_exe().expect("this program"));
        child.args(["clocks::by_a_wrong_clock", "--exact", "--ignored"]);
        child
            .envs([("FAKETIME", offset), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")])
            .env("LD_PRELOAD", &library);
        let output = child.output().expect("a run");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{offset}: {said}"
        );
    }
}
