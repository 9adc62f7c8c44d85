//! Who may do what: policies, the audit, and the way back from a delete.

use std::time::Duration;

use kairanban_core::{ChangeKind, Policies, PostPolicy, ReadPolicy, Scope};
use kairanban_store::{AdminCommand, BoardEdit, StoreError, Visible, Write, WriteResult, Writer};

use crate::{
    place::{Place, administer, create, main, run, topic},
    tokens::{TIMES, make_token},
};

crate::on_both!(
    policies_say_who_may_post,
    policies_say_who_may_read,
    what_other_programs_do_to_policies_and_tokens_is_told,
    a_deleted_topic_comes_back_as_it_was,
    deeds_are_noted_without_text,
);

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

fn post(writer: &Writer, right: Option<Scope>) -> Result<(), StoreError> {
    let write = Write::CreateTopic {
        board: main(),
        topic: topic("x"),
        key: None,
        right,
    };
    run(writer.write(write)).map(drop)
}

fn count_boards(place: &Place, visible: &Visible) -> usize {
    place.store.boards(visible, None, 10).expect("a list").len()
}

fn policies_say_who_may_post(place: &Place) {
    let (writer, _) = place.writer();
    set_policies(&writer, ReadPolicy::Open, PostPolicy::Token).expect("written");
    assert!(matches!(
        post(&writer, None),
        Err(StoreError::PostingTakesToken { shown: false })
    ));
    assert!(matches!(
        post(&writer, Some(Scope::Read)),
        Err(StoreError::PostingTakesToken { shown: true })
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
    assert_eq!(board.policies, policies);
    assert!(
        matches!(post(&writer, None), Err(StoreError::NoSuchBoard(_))),
        "it is not there"
    );
    post(&writer, Some(Scope::Post)).expect("allowed");
    assert!(matches!(
        place.store.policies(&main(), None),
        Err(StoreError::NoSuchBoard(_))
    ));
    assert_eq!(
        place
            .store
            .policies(&main(), Some(Scope::Read))
            .expect("there"),
        policies
    );
    assert_eq!(
        [
            count_boards(place, &Visible::All),
            count_boards(place, &Visible::Open(None)),
            count_boards(place, &Visible::Open(Some(main())))
        ],
        [1, 0, 1]
    );
    assert_eq!(place.load().policies, policies);
    let before = place.head();
    set_policies(&writer, ReadPolicy::Token, PostPolicy::Open).expect("written");
    assert_eq!(place.head(), before, "what stays as it was is no change");
}

fn what_other_programs_do_to_policies_and_tokens_is_told(place: &Place) {
    let before = place.head();
    let mut foreign = place.foreign();
    foreign.run("UPDATE boards SET read = 'token' WHERE name = 'main'");
    foreign.run("INSERT INTO tokens (name, digest, scope) VALUES ('x', 'y', 'read')");
    foreign.run("UPDATE tokens SET last_used_at = created_at");
    foreign.run("DELETE FROM tokens");
    let changes = place.changes(before);
    let told: Vec<_> = changes
        .iter()
        .map(|change| {
            (
                change.kind,
                change.board.as_ref().map(|board| board.policies.read),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (ChangeKind::Board, Some(ReadPolicy::Token)),
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
    let restore_within = |within| {
        run(writer.write(administer(AdminCommand::RestoreTopic {
            board: main(),
            id: first.id,
            within,
        })))
    };
    let restore = || restore_within(Duration::from_secs(60));
    assert!(matches!(restore(), Err(StoreError::TopicExists(_))));
    let delete = administer(AdminCommand::DeleteTopic {
        board: main(),
        id: first.id,
        expected: None,
    });
    run(writer.write(delete.clone())).expect("deleted");
    assert!(
        matches!(
            restore_within(Duration::ZERO),
            Err(StoreError::NoSuchTopic(_))
        ),
        "too late for that"
    );
    let Ok(WriteResult::Topic(back)) = restore() else {
        panic!("a topic")
    };
    assert_eq!(
        (back.id, back.comment.as_str(), back.created_at),
        (first.id, "oops", first.created_at)
    );
    assert!(back.revision > first.revision);
    assert_eq!(place.comments(), ["oops"]);
    run(writer.write(delete)).expect("deleted again");
    assert_eq!(
        place
            .store
            .forget(100, Duration::ZERO, TIMES)
            .expect("forgotten"),
        1
    );
    assert!(
        matches!(restore(), Err(StoreError::NoSuchTopic(_))),
        "too late"
    );
}

fn deeds_are_noted_without_text(place: &Place) {
    let (writer, _) = place.writer();
    let topic = create(place, "secret text");
    let lost = administer(AdminCommand::DeleteTopic {
        board: main(),
        id: kairanban_core::TopicId(999),
        expected: None,
    });
    assert!(run(writer.write(lost)).is_err());
    run(writer.write(administer(AdminCommand::DeleteTopic {
        board: main(),
        id: topic.id,
        expected: None,
    })))
    .expect("deleted");
    make_token(place, Some("main"));
    let noted = place.store.audit(None, 10).expect("the audit");
    let said: Vec<_> = noted
        .iter()
        .map(|entry| {
            (
                entry.action.as_str(),
                entry.actor.name.as_str(),
                entry.actor.token,
                entry.board.as_deref(),
                entry.subject,
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            ("token.create", "terminal", None, Some("main"), Some(1)),
            (
                "topic.delete",
                "ann",
                Some(7),
                Some("main"),
                Some(topic.id.0)
            )
        ],
        "what failed was not done"
    );
    assert!(!format!("{noted:?}").contains("secret text"));
    assert_eq!(
        place
            .store
            .audit(Some(noted[0].id), 10)
            .expect("the audit")
            .len(),
        1
    );
    assert_eq!(
        place
            .store
            .forget(1, Duration::from_secs(60), TIMES)
            .expect("forgotten"),
        1
    );
}
