//! What a server itself would write while triggers are off. Readers would not be shown it, so it is
//! rolled back, whatever it is; what changes nothing is not.

use std::time::Duration;

use kairanban_core::{BoardName, Scope, TopicId};
use kairanban_store::{
    AdminCommand, BoardEdit, NewBrowserSession, NewToken, Secret, StoreError, Write, WriteResult,
    repair,
};

use crate::{
    contract::futures,
    place::{
        DatabaseKind, Place, TIMEOUTS, administer, create, delete_topic, edit_topic, main, post,
        post_once, restore_topic, run,
    },
    tokens::make_token,
};

crate::on_both!(
    whatever_draws_no_revision_is_rolled_back,
    a_neighbour_that_draws_one_hides_nothing,
    what_changes_nothing_needs_no_revision,
    the_terminal_and_the_archiver_write_nothing_unlogged,
);

/// What there is to write about.
struct Scene {
    live: TopicId,
    deleted: TopicId,
    token: i64,
    /// A session of another token, and its secret.
    session: (i64, String),
}

impl Scene {
    fn new(place: &Place) -> Self {
        let (live, deleted) = (create(place, "live").id, create(place, "deleted").id);
        let (writer, _) = place.writer();
        for write in [delete_topic(deleted, None), create_board("other")] {
            run(writer.write(write)).expect("written");
        }
        let secret = Secret::token().expect("random");
        let token = place.store.create_token(&new_token(), &secret);
        Self {
            live,
            deleted,
            token: token.expect("a token"),
            session: begin_session(place),
        }
    }
}

fn begin_session(place: &Place) -> (i64, String) {
    let found = place.store.find_tokens(&[make_token(place, None)]);
    let token = found.expect("read").pop().flatten().expect("a token");
    let secret = Secret::session().expect("random");
    let new = NewBrowserSession {
        token: &token,
        secret: &secret,
        age_max: Duration::from_secs(3_600),
        alive_max: 1,
    };
    place.store.create_session(new).expect("a session");
    let listed = place.store.sessions(0, 1).expect("a list");
    (listed.rows[0].id, secret.reveal().to_owned())
}

/// A write, and the triggers that log it.
struct Case {
    write: fn(&Scene) -> Write,
    /// Each behind its table.
    on_postgres: &'static [(&'static str, &'static str)],
    on_sqlite: &'static [&'static str],
}

const fn case(
    write: fn(&Scene) -> Write,
    on_postgres: &'static [(&'static str, &'static str)],
    on_sqlite: &'static [&'static str],
) -> Case {
    Case {
        write,
        on_postgres,
        on_sqlite,
    }
}

/// What a post takes, too, comes first. [`index_of`] has each kind of write.
const CASES: [Case; 10] = [
    case(
        |_| post("unseen"),
        &[("topics", "topics_inserted")],
        &["topics_inserted"],
    ),
    case(
        |scene| restore_topic(scene.deleted, Duration::from_secs(600)),
        &[("topics", "topics_inserted")],
        &["topics_inserted"],
    ),
    case(
        |scene| edit_topic(scene.live, "unseen", None),
        &[("topics", "topics_updated")],
        &["topics_updated"],
    ),
    case(
        |scene| delete_topic(scene.live, None),
        &[("topics", "topics_deleted")],
        &["topics_deleted"],
    ),
    case(
        |_| create_board("unseen"),
        &[("boards", "boards_changed"), ("boards", "boards_named")],
        &["boards_inserted"],
    ),
    case(
        |_| update_board("unseen"),
        &[("boards", "boards_changed")],
        &["boards_updated"],
    ),
    case(
        |_| {
            let board = name("other");
            administer(AdminCommand::DeleteBoard { board })
        },
        &[("boards", "boards_changed")],
        &["boards_deleted"],
    ),
    case(
        |_| {
            administer(AdminCommand::CreateToken {
                new: new_token(),
                secret: Secret::token().expect("random"),
            })
        },
        &[("tokens", "tokens_changed")],
        &["tokens_inserted"],
    ),
    case(
        |scene| administer(AdminCommand::RevokeToken { id: scene.token }),
        &[("tokens", "tokens_changed")],
        &["tokens_updated"],
    ),
    case(
        |scene| {
            let (id, _) = scene.session;
            administer(AdminCommand::EndBrowserSession { id })
        },
        &[("browser_sessions", "browser_sessions_ended")],
        &["browser_sessions_ended"],
    ),
];

/// Returns the index in [`CASES`] of a kind of write, so that each new kind is given a case.
const fn index_of(write: &Write) -> usize {
    match write {
        Write::CreateTopic(_) => 0,
        Write::Administer { command, .. } => match command {
            AdminCommand::RestoreTopic { .. } => 1,
            AdminCommand::UpdateTopic { .. } => 2,
            AdminCommand::DeleteTopic { .. } => 3,
            AdminCommand::CreateBoard { .. } => 4,
            AdminCommand::UpdateBoard { .. } => 5,
            AdminCommand::DeleteBoard { .. } => 6,
            AdminCommand::CreateToken { .. } => 7,
            AdminCommand::RevokeToken { .. } => 8,
            AdminCommand::EndBrowserSession { .. } => 9,
        },
    }
}

fn name(text: &str) -> BoardName {
    text.parse().expect("a name")
}

fn create_board(text: &str) -> Write {
    administer(AdminCommand::CreateBoard {
        board: name(text),
        wanted: BoardEdit::default(),
    })
}

fn update_board(title: &str) -> Write {
    administer(AdminCommand::UpdateBoard {
        board: name("other"),
        edit: BoardEdit {
            title: Some(title.parse().expect("a title")),
            ..BoardEdit::default()
        },
    })
}

fn new_token() -> NewToken {
    NewToken {
        name: "bot".parse().expect("a name"),
        scope: Scope::Read,
        board: None,
        expires_at: None,
    }
}

impl Case {
    fn turn_off(&self, place: &Place) {
        match place.kind {
            DatabaseKind::Postgres => turn_off(place, self.on_postgres),
            DatabaseKind::Sqlite => drop_triggers(place, self.on_sqlite),
        }
    }
}

fn turn_off(place: &Place, triggers: &[(&str, &str)]) {
    for (table, trigger) in triggers {
        let off = format!("ALTER TABLE {table} DISABLE TRIGGER {trigger}");
        place.foreign().run(&off);
    }
}

fn drop_triggers(place: &Place, triggers: &[&str]) {
    for trigger in triggers {
        place.foreign().run(&format!("DROP TRIGGER {trigger}"));
    }
}

/// Turns off what draws the revisions.
fn turn_off_the_stamp(place: &Place) {
    match place.kind {
        DatabaseKind::Postgres => turn_off(place, &[("transactions", "transaction_stamped")]),
        DatabaseKind::Sqlite => drop_triggers(place, &["changes_draw", "changes_stamp"]),
    }
}

fn turn_on(place: &Place) {
    let repaired = repair(&place.address, TIMEOUTS).expect("repaired");
    assert!(!repaired.is_empty());
}

/// What the commands write, and the rows of the log that have no revision.
fn rows(place: &Place) -> String {
    let no_revision = match place.kind {
        DatabaseKind::Postgres => "revision IS NULL",
        DatabaseKind::Sqlite => "revision = 0",
    };
    place.foreign().ask(&format!(
        "SELECT (SELECT count(*) || ' ' || sum(length(comment)) FROM topics) \
         || ', ' || (SELECT count(*) || ' ' || sum(length(title)) FROM boards) \
         || ', ' || (SELECT count(*) || ' ' || count(revoked_at) FROM tokens) \
         || ', ' || (SELECT count(*) FROM browser_sessions) \
         || ', ' || (SELECT count(*) FROM deleted_topics) || ', ' || (SELECT count(*) FROM audit) \
         || ', ' || (SELECT count(*) FROM changes WHERE {no_revision})"
    ))
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(answer: Result<T, StoreError>, what: usize) {
    let error = answer.expect_err(&format!("no reader would be shown it: {what}"));
    let is_named = error
        .to_string()
        .contains("the triggers of the schema are off");
    assert!(is_named, "{what}: {error}");
}

fn whatever_draws_no_revision_is_rolled_back(place: &Place) {
    let scene = Scene::new(place);
    let (writer, _) = place.writer();
    let ways: [fn(&Case, &Place); 2] = [Case::turn_off, |_, place| turn_off_the_stamp(place)];
    for (what, case) in CASES.iter().enumerate() {
        for off in ways {
            off(case, place);
            let before = rows(place);
            let write = (case.write)(&scene);
            assert_eq!(index_of(&write), what);
            assert_refused(run(writer.write(write)), what);
            assert_eq!(rows(place), before, "{what}");
            turn_on(place);
        }
    }
}

/// In a group of writes there is a revision, for the others.
fn a_neighbour_that_draws_one_hides_nothing(place: &Place) {
    let scene = Scene::new(place);
    let (writer, _) = place.writer();
    for (what, case) in CASES.iter().enumerate().skip(2) {
        case.turn_off(place);
        let before = rows(place);
        let group = [post("beside"), (case.write)(&scene), post("beside")];
        let mut answers = run(futures(group.map(|write| writer.write(write))));
        assert_refused(answers.remove(1), what);
        assert!(answers.iter().all(Result::is_ok), "{what}: {answers:?}");
        place
            .foreign()
            .run("DELETE FROM topics WHERE comment = 'beside'");
        assert_eq!(rows(place), before, "{what}");
        turn_on(place);
    }
}

fn what_changes_nothing_needs_no_revision(place: &Place) {
    let scene = Scene::new(place);
    let (writer, _) = place.writer();
    for write in [post_once("once", Some("k")), update_board("title")] {
        run(writer.write(write)).expect("written");
    }
    for case in [&CASES[0], &CASES[2], &CASES[5]] {
        case.turn_off(place);
    }
    let head = place.head();
    for write in [
        edit_topic(scene.live, "live", None),
        update_board("title"),
        post_once("once", Some("k")),
    ] {
        let answer = run(writer.write(write));
        assert!(
            matches!(answer, Ok(WriteResult::Topic(_) | WriteResult::Board(_))),
            "{answer:?}"
        );
    }
    assert_eq!(place.head(), head);
}

fn the_terminal_and_the_archiver_write_nothing_unlogged(place: &Place) {
    let scene = Scene::new(place);
    for n in 0..6 {
        create(place, &n.to_string());
    }
    // On Postgres one trigger logs all that happens to tokens.
    let of_tokens = match place.kind {
        DatabaseKind::Postgres => &CASES[7..8],
        DatabaseKind::Sqlite => &CASES[7..9],
    };
    for case in of_tokens.iter().chain([&CASES[2], &CASES[9]]) {
        case.turn_off(place);
    }
    let before = rows(place);
    let secret = Secret::token().expect("random");
    assert_refused(place.store.create_token(&new_token(), &secret), 0);
    assert_refused(place.store.revoke_token(scene.token), 1);
    assert_refused(place.store.archive(&main(), 10), 2);
    assert_refused(place.store.end_session(&scene.session.1), 9);
    assert_eq!(rows(place), before);
    let archived = place
        .foreign()
        .ask("SELECT count(*) FROM topics WHERE archived");
    assert_eq!(archived, "0");
}
