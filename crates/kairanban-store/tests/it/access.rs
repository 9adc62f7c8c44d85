//! Who may do what: policies, the audit, and the way back from a delete.

use std::time::Duration;

use kairanban_core::{ChangeKind, Policies, PostPolicy, ReadPolicy, Scope, TopicId, VisibleBoards};
use kairanban_store::{
    AdminCommand, AuditBounds, BoardEdit, Creation, StoreError, Write, WriteResult, Writer,
};

use crate::{
    place::{
        Place, administer, create, delete_topic, main, restore_topic, run, topic, written_topic,
    },
    tokens::{AUDIT, TIMES, make_token},
};

crate::on_both!(
    policies_say_who_may_post,
    policies_say_who_may_read,
    a_private_board_is_listed_for_those_who_may_see_it,
    policies_that_stay_as_they_were_are_no_change,
    what_other_programs_do_to_policies_and_tokens_is_logged,
    a_deleted_topic_comes_back_as_it_was,
    a_topic_that_is_there_is_not_restored,
    a_deleted_topic_is_not_restored_too_late,
    commands_are_audited_without_text,
    the_audit_is_paged_and_shortened,
    a_flood_does_not_wash_out_what_the_others_did,
);

const A_MINUTE: Duration = Duration::from_secs(60);

fn set_policies(
    writer: &Writer,
    read: ReadPolicy,
    post: PostPolicy,
) -> Result<WriteResult, StoreError> {
    let edit = BoardEdit {
        read: Some(read),
        post: Some(post),
        title: None,
    };
    run(writer.write(administer(AdminCommand::UpdateBoard {
        board: main(),
        edit,
    })))
}

fn post(writer: &Writer, scope: Option<Scope>) -> Result<(), StoreError> {
    let write = Write::CreateTopic(Creation {
        board: main(),
        topic: topic("x"),
        key: None,
        scope,
    });
    run(writer.write(write)).map(drop)
}

fn policies_say_who_may_post(place: &Place) {
    let (writer, _) = place.writer();
    set_policies(&writer, ReadPolicy::Open, PostPolicy::Token).expect("written");
    assert!(matches!(
        post(&writer, None),
        Err(StoreError::PostingRequiresToken { shown: false })
    ));
    assert!(matches!(
        post(&writer, Some(Scope::Read)),
        Err(StoreError::PostingRequiresToken { shown: true })
    ));
    post(&writer, Some(Scope::Post)).expect("allowed");
    set_policies(&writer, ReadPolicy::Open, PostPolicy::Closed).expect("written");
    assert!(matches!(
        post(&writer, Some(Scope::Admin)),
        Err(StoreError::Closed)
    ));
}

fn policies_say_who_may_read(place: &Place) {
    let (writer, _) = place.writer();
    let private = set_policies(&writer, ReadPolicy::Token, PostPolicy::Open).expect("written");
    let WriteResult::Board(board) = private else {
        panic!("a board, got {private:?}")
    };
    let policies = Policies {
        read: ReadPolicy::Token,
        post: PostPolicy::Open,
    };
    assert_eq!(
        (board.policies, place.load().policies),
        (policies, policies)
    );
    assert!(
        matches!(post(&writer, None), Err(StoreError::NoSuchBoard(_))),
        "it is not there"
    );
    post(&writer, Some(Scope::Post)).expect("allowed");
    assert!(matches!(
        place.store.policies(&main(), None),
        Err(StoreError::NoSuchBoard(_))
    ));
    let for_readers = place.store.policies(&main(), Some(Scope::Read));
    assert_eq!(for_readers.expect("there"), policies);
}

fn a_private_board_is_listed_for_those_who_may_see_it(place: &Place) {
    let (writer, _) = place.writer();
    set_policies(&writer, ReadPolicy::Token, PostPolicy::Open).expect("written");
    for (visible, boards) in [
        (VisibleBoards::All, 1),
        (VisibleBoards::Public, 0),
        (VisibleBoards::PublicAnd(main()), 1),
    ] {
        let listed = place.store.boards(&visible, None, 10).expect("a list");
        assert_eq!(listed.rows.len(), boards, "{visible:?}");
    }
}

fn policies_that_stay_as_they_were_are_no_change(place: &Place) {
    let (writer, _) = place.writer();
    set_policies(&writer, ReadPolicy::Token, PostPolicy::Open).expect("written");
    let before = place.head();
    set_policies(&writer, ReadPolicy::Token, PostPolicy::Open).expect("written");
    assert_eq!(place.head(), before);
}

fn what_other_programs_do_to_policies_and_tokens_is_logged(place: &Place) {
    let before = place.head();
    let mut foreign = place.foreign();
    foreign.run("UPDATE boards SET read = 'token' WHERE name = 'main'");
    foreign.run("INSERT INTO tokens (name, digest, scope) VALUES ('x', 'y', 'read')");
    foreign.run("UPDATE tokens SET last_used_at = created_at");
    foreign.run("UPDATE tokens SET id = 77");
    foreign.run("DELETE FROM tokens");
    let changes = place.changes(before);
    let logged: Vec<_> = changes
        .iter()
        .map(|change| {
            (
                change.kind,
                change.board.as_ref().map(|board| board.policies.read),
            )
        })
        .collect();
    assert_eq!(
        logged,
        [
            (ChangeKind::Board, Some(ReadPolicy::Token)),
            (ChangeKind::Token, None),
            (ChangeKind::Token, None),
            (ChangeKind::Token, None)
        ]
    );
    assert!(
        foreign
            .try_run("UPDATE boards SET read = 'closed'")
            .is_err(),
        "no such policy"
    );
}

fn a_deleted_topic_comes_back_as_it_was(place: &Place) {
    let (writer, _) = place.writer();
    let first = create(place, "oops");
    run(writer.write(delete_topic(first.id, None))).expect("deleted");
    let back = written_topic(run(writer.write(restore_topic(first.id, A_MINUTE))));
    assert_eq!(
        (back.id, back.comment.as_str(), back.created_at),
        (first.id, "oops", first.created_at)
    );
    assert!(back.revision > first.revision);
    assert_eq!(place.comments(), ["oops"]);
}

fn a_topic_that_is_there_is_not_restored(place: &Place) {
    let (writer, _) = place.writer();
    let restore = restore_topic(create(place, "oops").id, A_MINUTE);
    assert!(matches!(
        run(writer.write(restore)),
        Err(StoreError::TopicExists(_))
    ));
}

fn a_deleted_topic_is_not_restored_too_late(place: &Place) {
    let (writer, _) = place.writer();
    let id = create(place, "oops").id;
    run(writer.write(delete_topic(id, None))).expect("deleted");
    assert!(matches!(
        run(writer.write(restore_topic(id, Duration::ZERO))),
        Err(StoreError::NoSuchTopic(_))
    ));
    let expired = place.store.expire(AUDIT, Duration::ZERO, TIMES);
    assert_eq!(expired.expect("expired"), 1);
    assert!(matches!(
        run(writer.write(restore_topic(id, A_MINUTE))),
        Err(StoreError::NoSuchTopic(_))
    ));
}

fn commands_are_audited_without_text(place: &Place) {
    let (writer, _) = place.writer();
    let topic = create(place, "secret text");
    assert!(run(writer.write(delete_topic(TopicId(999), None))).is_err());
    run(writer.write(delete_topic(topic.id, None))).expect("deleted");
    make_token(place, Some("main"));
    let noted = place.store.audit(None, 10).expect("the audit").rows;
    let said: Vec<_> = noted
        .iter()
        .map(|entry| {
            let actor = (entry.actor.name.as_str(), entry.actor.token);
            let object = (entry.board.as_deref(), entry.subject);
            (entry.action.as_str(), actor, object)
        })
        .collect();
    let made = ("token.create", ("terminal", None), (Some("main"), Some(1)));
    let deleted = (
        "topic.delete",
        ("ann", Some(7)),
        (Some("main"), Some(topic.id.0)),
    );
    assert_eq!(said, [made, deleted], "what failed was not done");
    assert!(!format!("{noted:?}").contains("secret text"));
}

fn the_audit_is_paged_and_shortened(place: &Place) {
    make_token(place, Some("main"));
    make_token(place, Some("main"));
    let noted = place.store.audit(None, 10).expect("the audit").rows;
    let older = place.store.audit(Some(noted[0].id), 10);
    assert_eq!(older.expect("the audit").rows.len(), 1);
    let kept = AuditBounds { max: 1, ..AUDIT };
    let expired = place.store.expire(kept, A_MINUTE, TIMES);
    assert_eq!(expired.expect("expired"), 1);
}

/// What each actor did last stays, whatever another did a thousand times since.
fn a_flood_does_not_wash_out_what_the_others_did(place: &Place) {
    let entries = |actor: &str, token: &str, count: usize| {
        let row = format!("('{actor}', {token}, 'topic.delete')");
        place.foreign().run(&format!(
            "INSERT INTO audit (actor, token_id, action) VALUES {}",
            vec![row; count].join(", ")
        ));
    };
    let others = [
        ("terminal", "NULL"),
        ("ann", "1"),
        ("ann", "2"),
        ("bob", "3"),
    ];
    for (actor, token) in others {
        entries(actor, token, 7);
    }
    entries("flood", "4", 1_000);
    let kept = AuditBounds {
        max: 100,
        per_actor_min: 5,
    };
    for round in 0..3 {
        let expired = place.store.expire(kept, A_MINUTE, TIMES);
        let expected = if round == 0 { 900 + 4 * 2 } else { 0 };
        assert_eq!(expired.expect("expired"), expected, "{round}");
        for (actor, token) in others {
            let theirs = format!(
                "SELECT count(*) FROM audit WHERE actor = '{actor}' AND coalesce(token_id, 0) = \
                 coalesce({token}, 0)"
            );
            assert_eq!(
                place.foreign().number(&format!("({theirs})")),
                5,
                "{actor} {token}"
            );
        }
    }
    entries("flood", "4", 7);
    let expired = place.store.expire(kept, A_MINUTE, TIMES);
    assert_eq!(expired.expect("expired"), 7, "of the flood itself");
}
