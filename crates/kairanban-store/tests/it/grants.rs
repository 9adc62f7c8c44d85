//! The published grants of a server's role suffice for everything that a server does with the database, also for what it does
//! only now and then.

use std::{process::Command, time::Duration};

use kairanban_core::{BoardName, LogPosition, Revision, Scope, TopicId};
use kairanban_store::{
    AdminCommand, BoardEdit, DatabaseAddress, LogPage, NewToken, Page, Secret, Store, TicketTimes,
    Visible, Write, Writer, check, migrate,
};

use crate::place::{Kind, Place, TIMEOUTS, administer, config, main, run, topic};

#[test]
fn the_published_grants_suffice_for_all_that_a_server_does() {
    let place = Place::new(Kind::Postgres);
    let DatabaseAddress::Postgres(owner) = &place.address else {
        panic!("Postgres")
    };
    let role = format!("server_of_{}", std::process::id());
    let mut foreign = place.foreign();
    foreign.run(&format!("CREATE ROLE {role} LOGIN"));
    let (host, database) = (
        owner.rsplit_once('@').expect("a user").1,
        owner.rsplit_once('/').expect("a database").1,
    );
    assert!(host.ends_with(database));
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../config/grants-server.sql"
    );
    let arguments = [
        "-qX",
        "-v",
        &format!("role={role}"),
        "-v",
        "schema=public",
        "-f",
        file,
        owner,
    ];
    assert!(
        Command::new("psql")
            .args(arguments)
            .status()
            .expect("psql")
            .success()
    );
    let address: DatabaseAddress = format!("postgres://{role}@{host}")
        .parse()
        .expect("an address");
    let store = Store::open(config(&address)).expect("a store");
    everything(&store, &address);
    drop(store);
    for function in [
        "move_topic_ids()",
        "transaction_begun()",
        "classified_write(text, jsonb)",
    ] {
        foreign.run(&format!(
            "REVOKE EXECUTE ON FUNCTION {function} FROM {role}"
        ));
        let refused = check(&address, TIMEOUTS, &main(), false)
            .expect_err("a right is missing")
            .to_string();
        assert!(
            refused.contains(&format!(
                "GRANT EXECUTE ON FUNCTION public.{function} TO {role}"
            )),
            "{refused}"
        );
        foreign.run(&format!("GRANT EXECUTE ON FUNCTION {function} TO {role}"));
    }
    foreign.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// A trigger that is gone counts like one that is off, until it is back.
#[test]
fn a_writer_knows_that_a_trigger_is_missing() {
    let place = Place::new(Kind::Postgres);
    let mut foreign = place.foreign();
    let (writer, thread) =
        Writer::start(place.store.clone(), crate::place::WRITER, |_| {}).expect("a writer");
    let write = || {
        run(writer.write(Write::CreateTopic {
            board: main(),
            topic: topic("x"),
            key: None,
            right: None,
        }))
    };
    foreign.run("DROP TRIGGER topics_inserted ON topics");
    write().expect_err("no reader would see it");
    // Longer than between two checks of the writer's own.
    foreign.run("SELECT pg_sleep(1.5)");
    assert!(
        writer
            .health()
            .fault()
            .is_some_and(|fault| fault.contains("triggers")),
        "{:?}",
        writer.health().fault()
    );
    drop(writer);
    thread.join().expect("ended");
}

fn everything(store: &Store, address: &DatabaseAddress) {
    let known = start(store, address);
    write(store);
    use_tokens(store);
    read(store, &known);
    tidy_up(store);
}

fn start(store: &Store, address: &DatabaseAddress) -> LogPosition {
    assert!(
        check(address, TIMEOUTS, &main(), false)
            .expect("good")
            .is_current()
    );
    assert!(
        migrate(address, TIMEOUTS, &main(), false)
            .expect("nothing to do")
            .is_empty()
    );
    // A new epoch writes the identity under its lock.
    let (known, _) = store.settle(None).expect("an epoch");
    assert_eq!(known.epoch, *store.epoch());
    store.default_board().expect("read");
    known
}

fn write(store: &Store) {
    let (writer, thread) =
        Writer::start(store.clone(), crate::place::WRITER, |_| {}).expect("a writer");
    let mut key = Some("once".parse().expect("a key"));
    for number in 0..8 {
        let create = Write::CreateTopic {
            board: main(),
            topic: topic(&number.to_string()),
            key: key.take(),
            right: None,
        };
        run(writer.write(create)).expect("posted");
    }
    let id = store
        .page(
            &main(),
            &Page {
                limit: 1,
                ..Page::default()
            },
        )
        .expect("a page")[0]
        .id;
    for command in commands(id) {
        run(writer.write(administer(command))).expect("done");
    }
    drop(writer);
    thread.join().expect("ended");
}

/// Each command that the writer runs, on a topic and on a board of its own.
fn commands(id: TopicId) -> Vec<AdminCommand> {
    let other: BoardName = "other".parse().expect("a name");
    let edit = kairanban_core::TopicEdit::try_new(Some("edited"), None).expect("allowed");
    vec![
        AdminCommand::UpdateTopic {
            board: main(),
            id,
            edit,
            expected: None,
        },
        AdminCommand::DeleteTopic {
            board: main(),
            id,
            expected: None,
        },
        AdminCommand::RestoreTopic {
            board: main(),
            id,
            within: Duration::from_secs(60),
        },
        AdminCommand::DeleteTopic {
            board: main(),
            id,
            expected: None,
        },
        AdminCommand::CreateBoard {
            board: other.clone(),
            wanted: BoardEdit::default(),
        },
        AdminCommand::UpdateBoard {
            board: other.clone(),
            edit: BoardEdit {
                title: Some("t".parse().expect("a title")),
                ..BoardEdit::default()
            },
        },
        AdminCommand::DeleteBoard {
            board: other.clone(),
        },
    ]
}

fn use_tokens(store: &Store) {
    let secret = Secret::token().expect("random");
    let new = NewToken {
        name: "bot".parse().expect("a name"),
        scope: Scope::Read,
        board: None,
        expires_at: None,
    };
    let token = store.create_token(&new, &secret).expect("made");
    assert!(
        store
            .find_tokens(&[secret.reveal().to_owned()])
            .expect("found")[0]
            .is_some()
    );
    let ticket = Secret::ticket().expect("random");
    store.create_ticket(token, &main(), &ticket).expect("made");
    let good = TicketTimes {
        first_use: Duration::from_secs(60),
        idle: Duration::from_secs(60),
    };
    assert!(
        store
            .use_ticket(ticket.reveal(), &main(), good)
            .expect("used")
            .is_some()
    );
    store.revoke_token(token).expect("revoked");
}

/// Reads, follows and reconciles.
fn read(store: &Store, known: &LogPosition) {
    store.load(store.epoch(), &main()).expect("the board");
    store.boards(&Visible::All, None, 9).expect("boards");
    let place = store.board_head(&main()).expect("the board");
    store.contents(&[place.id]).expect("contents");
    assert!(store.changes_since(known).expect("the log").is_some());
    assert!(
        store
            .log_missed(place.id, place.revision, true)
            .expect("logged")
    );
    store
        .log(
            &main(),
            LogPage {
                after: Revision::ZERO,
                place: None,
                limit: 9,
            },
        )
        .expect("the log");
    store
        .head_before(std::time::Duration::ZERO)
        .expect("a revision");
    assert_eq!(store.audit(None, 99).expect("the audit").len(), 9);
}

fn tidy_up(store: &Store) {
    let times = TicketTimes {
        first_use: Duration::ZERO,
        idle: Duration::ZERO,
    };
    let at_once = Duration::ZERO;
    assert!(store.archive(&main(), 100).expect("archived") > 0);
    assert!(store.forget(0, at_once, times).expect("forgotten") >= 3);
    assert!(store.forget_keys(at_once).expect("forgotten") > 0);
    assert!(store.prune(0, at_once).expect("pruned") > 0);
    assert!(store.trimmed_to().expect("how far") > Revision::ZERO);
}
