//! What is too old is so by the database's clock, whatever this process takes the time for.

use std::{path::PathBuf, process::Command, time::Duration};

use kairanban_core::Revision;
use kairanban_store::{AdminCommand, Secret, TicketTimes, Write, Writer};

use crate::place::{Kind, Place, administer, create, main, run, topic};

crate::on_both!(only_what_is_too_old_is_forgotten);

const BOUND: Duration = Duration::from_secs(3_600);
const TIMES: TicketTimes = TicketTimes {
    first_use: BOUND,
    idle: BOUND,
};
/// Seconds.
const YOUNG: u32 = 3_500;
const OLD: u32 = 3_700;

/// Sets the times of all rows of a table back, as the database counts.
fn age(place: &Place, table: &str, column: &str, seconds: u32) {
    let then = match place.kind {
        Kind::Postgres => format!("now() - interval '{seconds} seconds'"),
        Kind::Sqlite => format!("datetime('now', '-{seconds} seconds')"),
    };
    place.foreign().run(&format!(
        "UPDATE {table} SET {column} = {then} WHERE {column} IS NOT NULL"
    ));
}

fn only_what_is_too_old_is_forgotten(place: &Place) {
    let (writer, _) = place.writer();
    old_keys_are_forgotten(place, &writer);
    old_deletes_are_final(place, &writer);
    old_tickets_are_forgotten(place);
    the_old_log_is_forgotten(place);
    let off = (place.store.now().expect("a time") - chrono::Utc::now()).abs();
    assert_eq!(
        off > chrono::TimeDelta::days(1),
        std::env::var_os("LD_PRELOAD").is_some(),
        "whose clock is wrong: {off}"
    );
}

fn old_keys_are_forgotten(place: &Place, writer: &Writer) {
    let keyed = Write::CreateTopic {
        board: main(),
        topic: topic("x"),
        key: Some("k".parse().expect("a key")),
        right: None,
    };
    run(writer.write(keyed)).expect("written");
    for (seconds, gone) in [(YOUNG, 0), (OLD, 1)] {
        age(place, "idempotency", "used_at", seconds);
        assert_eq!(
            place.store.forget_keys(BOUND).expect("forgotten"),
            gone,
            "keys"
        );
    }
}

fn old_deletes_are_final(place: &Place, writer: &Writer) {
    let id = create(place, "deleted").id;
    run(writer.write(administer(AdminCommand::DeleteTopic {
        board: main(),
        id,
        expected: None,
    })))
    .expect("deleted");
    let restore = || {
        run(writer.write(administer(AdminCommand::RestoreTopic {
            board: main(),
            id,
            within: BOUND,
        })))
        .is_ok()
    };
    age(place, "deleted_topics", "deleted_at", OLD);
    assert!(!restore(), "undo after too long");
    age(place, "deleted_topics", "deleted_at", YOUNG);
    assert_eq!(
        place.store.forget(100, BOUND, TIMES).expect("forgotten"),
        0,
        "deleted topics"
    );
    assert!(restore(), "undo");
    run(writer.write(administer(AdminCommand::DeleteTopic {
        board: main(),
        id,
        expected: None,
    })))
    .expect("deleted");
    age(place, "deleted_topics", "deleted_at", OLD);
    assert_eq!(
        place.store.forget(100, BOUND, TIMES).expect("forgotten"),
        1,
        "deleted topics"
    );
}

fn old_tickets_are_forgotten(place: &Place) {
    place
        .foreign()
        .run("INSERT INTO tokens (name, digest, scope) VALUES ('x', 'y', 'read')");
    let token = place.store.tokens(0, 1).expect("a list")[0].id;
    for column in ["made_at", "used_at"] {
        let ticket = Secret::ticket().expect("random");
        place
            .store
            .create_ticket(token, &main(), &ticket)
            .expect("a ticket");
        let open = || {
            place
                .store
                .use_ticket(ticket.reveal(), &main(), TIMES)
                .expect("read")
                .is_some()
        };
        if column == "used_at" {
            assert!(open(), "at once");
        }
        age(place, "tickets", column, YOUNG);
        assert_eq!(
            place.store.forget(100, BOUND, TIMES).expect("forgotten"),
            0,
            "tickets, {column}"
        );
        assert!(open(), "{column}");
        place.foreign().run(if column == "made_at" {
            "UPDATE tickets SET used_at = NULL"
        } else {
            "SELECT 1"
        });
        age(place, "tickets", column, OLD);
        assert_eq!(
            place.store.forget(100, BOUND, TIMES).expect("forgotten"),
            1,
            "tickets, {column}"
        );
    }
}

fn the_old_log_is_forgotten(place: &Place) {
    for (seconds, is_old) in [(YOUNG, false), (OLD, true)] {
        age(place, "changes", "at", seconds);
        let upto = place.store.head_before(BOUND).expect("a revision");
        assert_eq!(
            upto,
            if is_old { place.head() } else { Revision::ZERO },
            "the log"
        );
        assert_eq!(
            place.store.prune(10_000, BOUND).expect("pruned") > 0,
            is_old,
            "the log"
        );
    }
}

/// Runs in a process of its own, below.
#[test]
#[ignore = "by a wrong clock"]
fn by_a_wrong_clock() {
    only_what_is_too_old_is_forgotten(&Place::new(Kind::Postgres));
}

#[test]
fn a_wrong_clock_of_ours_forgets_nothing_too_early_or_too_late() {
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
