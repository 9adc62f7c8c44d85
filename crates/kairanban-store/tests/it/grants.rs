//! The published grants of a server's role suffice for everything that a server does with the
//! database, also for what it does only now and then.

use std::{process::Command, time::Duration};

use kairanban_core::{BoardName, LogPosition, Revision, Scope, TopicId, VisibleBoards};
use kairanban_store::{
    AdminCommand, AuditBounds, BoardEdit, DatabaseAddress, LogPage, NewBrowserSession, NewTicket,
    NewToken, Page, Secret, Store, StoreError, TicketTimes, Write, Writer, check, migrate,
};

use crate::place::{
    DatabaseKind, Foreign, Place, TIMEOUTS, administer, config, delete_topic, edit_topic, main,
    post, post_once, restore_topic, run,
};

/// A role with the published grants of a server, dropped at the end.
struct GrantedRole {
    name: String,
    owner: Foreign,
    address: DatabaseAddress,
}

impl GrantedRole {
    fn new(place: &Place, kind: &str) -> Self {
        let name = format!("{kind}_of_{}", std::process::id());
        let mut owner = place.foreign();
        owner.run(&format!("CREATE ROLE {name} LOGIN"));
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../config/grants-server.sql"
        );
        let granted = Command::new("psql")
            .args(["-qX", "-v", &format!("role={name}"), "-v", "schema=public"])
            .args(["-f", file, place.url()])
            .status();
        assert!(granted.expect("psql").success());
        let (_, host) = place.url().rsplit_once('@').expect("a user");
        assert!(host.contains('/'), "a database: {host}");
        let address = format!("postgres://{name}@{host}");
        Self {
            name,
            owner,
            address: address.parse().expect("an address"),
        }
    }
}

impl Drop for GrantedRole {
    fn drop(&mut self) {
        let gone = self
            .owner
            .try_run(&format!("DROP OWNED BY {0}; DROP ROLE {0}", self.name));
        assert!(gone.is_ok() || std::thread::panicking(), "{gone:?}");
    }
}

#[test]
fn the_published_grants_suffice_for_all_that_a_server_does() {
    let place = Place::new(DatabaseKind::Postgres);
    let role = GrantedRole::new(&place, "server");
    let store = Store::open(config(&role.address)).expect("a store");
    everything(&store, &role.address);
}

#[test]
fn a_function_that_a_server_may_not_call_is_named_with_its_grant() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut role = GrantedRole::new(&place, "checked");
    for function in [
        "move_topic_ids()",
        "transaction_begun()",
        "classified_write(text, jsonb)",
    ] {
        let (name, call) = (&role.name, format!("EXECUTE ON FUNCTION {function}"));
        role.owner.run(&format!("REVOKE {call} FROM {name}"));
        let refused = check(&role.address, TIMEOUTS, &main(), false)
            .expect_err("a right is missing")
            .to_string();
        let grant = format!("GRANT EXECUTE ON FUNCTION public.{function} TO {name}");
        assert!(refused.contains(&grant), "{refused}");
        role.owner.run(&format!("GRANT {call} TO {name}"));
    }
}

/// A server that is running when a right is taken away does not call the database unreachable.
#[test]
fn a_right_that_a_running_server_lacks_is_named_with_its_grant() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut role = GrantedRole::new(&place, "running");
    let store = Store::open(config(&role.address)).expect("a store");
    let page = Page {
        before: None,
        limit: 1,
    };
    let log = LogPage {
        after: Revision::ZERO,
        after_id: None,
        limit: 1,
    };
    let new = NewToken {
        name: "bot".parse().expect("a name"),
        scope: Scope::Read,
        board: None,
        expires_at: None,
    };
    type Use<'a> = &'a dyn Fn() -> Result<(), StoreError>;
    let uses: [(&str, &str, Use<'_>); 7] = [
        ("SELECT", "boards", &|| {
            store.boards(&VisibleBoards::All, None, 1).map(drop)
        }),
        ("SELECT", "topics", &|| store.page(&main(), &page).map(drop)),
        ("SELECT", "changes", &|| store.log(&main(), log).map(drop)),
        ("SELECT", "tokens", &|| store.tokens(0, 1).map(drop)),
        ("SELECT", "audit", &|| store.audit(None, 1).map(drop)),
        ("INSERT", "tokens", &|| {
            let secret = Secret::token().expect("random");
            store.create_token(&new, &secret).map(drop)
        }),
        ("UPDATE", "tokens", &|| store.revoke_token(1)),
    ];
    for (right, table, attempt) in uses {
        let name = &role.name;
        role.owner
            .run(&format!("REVOKE {right} ON {table} FROM {name}"));
        let said = attempt().expect_err("a right is missing").to_string();
        let denied = format!("permission denied for table {table}");
        let grant = format!("GRANT {right} ON public.{table} TO {name}");
        assert!(
            said.contains(&denied) && said.contains(&grant) && !said.contains("not available"),
            "{right} {table}: {said}"
        );
        role.owner
            .run(&format!("GRANT {right} ON {table} TO {name}"));
    }
}

/// A trigger that is gone counts like one that is off, until it is back.
#[test]
fn a_writer_knows_that_a_trigger_is_missing() {
    let place = Place::new(DatabaseKind::Postgres);
    let mut foreign = place.foreign();
    let (writer, thread) =
        Writer::start(place.store.clone(), crate::place::WRITER, |_| {}).expect("a writer");
    foreign.run("DROP TRIGGER topics_inserted ON topics");
    run(writer.write(post("x"))).expect_err("no reader would see it");
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
    run(writer.write(post_once("0", Some("once")))).expect("posted");
    for number in 1..8 {
        run(writer.write(post(&number.to_string()))).expect("posted");
    }
    let newest = Page {
        limit: 1,
        ..Page::default()
    };
    let id = store.page(&main(), &newest).expect("a page").rows[0].id;
    for command in commands_on_topic(id).into_iter().chain(commands_on_board()) {
        run(writer.write(command)).expect("done");
    }
    drop(writer);
    thread.join().expect("ended");
}

/// Each command on a topic that the writer runs.
fn commands_on_topic(id: TopicId) -> [Write; 4] {
    [
        edit_topic(id, "edited", None),
        delete_topic(id, None),
        restore_topic(id, Duration::from_secs(60)),
        delete_topic(id, None),
    ]
}

/// Each command on a board that the writer runs, on one of its own.
fn commands_on_board() -> [Write; 3] {
    let board: BoardName = "other".parse().expect("a name");
    let create = AdminCommand::CreateBoard {
        board: board.clone(),
        wanted: BoardEdit::default(),
    };
    let update = AdminCommand::UpdateBoard {
        board: board.clone(),
        edit: BoardEdit {
            title: Some("t".parse().expect("a title")),
            ..BoardEdit::default()
        },
    };
    [create, update, AdminCommand::DeleteBoard { board }].map(administer)
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
    let good = TicketTimes {
        first_use: Duration::from_secs(60),
        idle: Duration::from_secs(60),
    };
    store
        .create_ticket(
            NewTicket {
                token,
                session: None,
                board: &main(),
                secret: &ticket,
            },
            good,
            9,
        )
        .expect("made");
    assert!(
        store
            .use_ticket(ticket.reveal(), &main(), "192.0.2.1", good)
            .expect("used")
            .is_some()
    );
    use_sessions(store, &secret);
    store.revoke_token(token).expect("revoked");
}

fn use_sessions(store: &Store, token: &Secret) {
    let found = store.find_tokens(&[token.reveal().to_owned()]);
    let token = found.expect("found").pop().flatten().expect("a token");
    for _ in 0..2 {
        let secret = Secret::session().expect("random");
        let new = NewBrowserSession {
            token: &token,
            secret: &secret,
            age_max: Duration::from_secs(60),
            alive_max: 1,
        };
        store
            .create_session(new)
            .expect("begun, and the one before ended");
        let secret = secret.reveal();
        let found = store.find_sessions(&[secret.to_owned()]);
        let found = found.expect("found").pop().flatten().expect("a session");
        assert_eq!(store.tokens_in_use(&[found.key()]).expect("read").len(), 1);
        assert_eq!(store.sessions(0, 9).expect("read").rows.len(), 1);
    }
}

/// Reads, follows and reconciles.
fn read(store: &Store, known: &LogPosition) {
    store.load(store.epoch(), &main()).expect("the board");
    store.boards(&VisibleBoards::All, None, 9).expect("boards");
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
                after_id: None,
                limit: 9,
            },
        )
        .expect("the log");
    store
        .head_before(std::time::Duration::ZERO)
        .expect("a revision");
    assert_eq!(store.audit(None, 99).expect("the audit").rows.len(), 9);
}

fn tidy_up(store: &Store) {
    let times = TicketTimes {
        first_use: Duration::ZERO,
        idle: Duration::ZERO,
    };
    let at_once = Duration::ZERO;
    let none = AuditBounds {
        max: 0,
        per_actor_min: 0,
    };
    assert!(store.archive(&main(), 100).expect("archived") > 0);
    assert!(store.expire(none, at_once, times).expect("expired") >= 3);
    assert!(store.expire_keys(at_once).expect("expired") > 0);
    assert!(store.trim_log(0, at_once).expect("trimmed") > 0);
    assert!(store.trimmed_to().expect("how far") > Revision::ZERO);
}
