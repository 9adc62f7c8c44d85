//! Who may do what: tokens, tickets, policies, the audit, and the way back from a delete.

use std::time::Duration;

use kairanban_core::{ChangeKind, Policies, PostPolicy, ReadPolicy, Scope, Token};
use kairanban_store::{
    BoardEdit, Deed, NewToken, Secret, StoreError, TicketTimes, Visible, Write, Written,
};

use crate::place::{Place, administer, create, main, run, topic};

crate::on_both!(
    tokens_are_found_used_and_ended,
    many_tokens_are_found_at_once_each_in_its_place,
    a_token_is_good_also_when_its_use_cannot_be_noted,
    a_ticket_opens_its_board_for_a_while,
    policies_say_who_may_read_and_post,
    what_other_programs_do_to_policies_and_tokens_is_told,
    a_deleted_topic_comes_back_as_it_was,
    deeds_are_noted_without_text,
);

const TIMES: TicketTimes = TicketTimes {
    first_use: Duration::from_secs(60),
    idle: Duration::from_secs(60),
};

fn new(board: Option<&str>) -> NewToken {
    NewToken {
        name: "bot".parse().expect("a name"),
        scope: Scope::Admin,
        board: board.map(|name| name.parse().expect("a name")),
        expires_at: None,
    }
}

fn make_token(place: &Place, board: Option<&str>) -> String {
    let secret = Secret::token().expect("random");
    place
        .store
        .create_token(&new(board), &secret)
        .expect("a token");
    secret.reveal().to_owned()
}

fn find(place: &Place, secret: &str) -> Option<Token> {
    place
        .store
        .find_tokens(&[secret.to_owned()])
        .expect("read")
        .pop()
        .expect("one")
        .map(|found| found.token)
}

fn many_tokens_are_found_at_once_each_in_its_place(place: &Place) {
    let made: Vec<_> = (0..3).map(|_| make_token(place, None)).collect();
    let shown = [&made[2], "none", &made[0], &made[2], &made[1]].map(ToString::to_string);
    let ids: Vec<_> = place
        .store
        .find_tokens(&shown)
        .expect("read")
        .into_iter()
        .map(|token| Some(token?.token.id))
        .collect();
    let alone = |n: usize| find(place, &made[n]).map(|token| token.id);
    assert_eq!(ids, [alone(2), None, alone(0), alone(2), alone(1)]);
    let used = |token: &Token| token.last_used_at.is_some();
    assert!(
        place
            .store
            .tokens(0, 10)
            .expect("a list")
            .iter()
            .filter(|token| used(token))
            .count()
            == 3
    );
    assert!(place.store.find_tokens(&[]).expect("read").is_empty());
}

fn a_token_is_good_also_when_its_use_cannot_be_noted(place: &Place) {
    let secret = make_token(place, None);
    let mut other = place.foreign();
    other.run("BEGIN; UPDATE tokens SET name = 'held'");
    assert!(find(place, &secret).is_some());
    other.run("ROLLBACK");
    let used = || place.store.tokens(0, 1).expect("a list")[0].last_used_at;
    assert_eq!(used(), None);
    assert!(find(place, &secret).is_some() && used().is_some());
}

fn tokens_are_found_used_and_ended(place: &Place) {
    let secret = make_token(place, Some("main"));
    assert!(
        secret.starts_with("kairanban_") && secret.len() == 74,
        "{secret}"
    );
    assert_ne!(make_token(place, None), secret);
    let lost = place
        .store
        .create_token(&new(Some("nowhere")), &Secret::token().expect("random"));
    assert!(matches!(lost, Err(StoreError::NoSuchBoard(_))));
    let found = find(place, &secret).expect("found");
    assert_eq!(
        (found.scope, found.board.clone(), found.last_used_at),
        (Scope::Admin, Some(main()), None)
    );
    let before = place.head();
    let used = &place.store.tokens(0, 10).expect("a list")[0];
    assert!(used.id == found.id && used.last_used_at.is_some());
    assert_eq!(place.head(), before, "that it was used is no change");
    assert_eq!(place.store.tokens(used.id, 10).expect("a list").len(), 1);
    for wrong in [
        "",
        "kairanban_",
        &secret[..73],
        &format!("{secret} "),
        &secret.to_uppercase(),
    ] {
        assert_eq!(find(place, wrong), None);
    }
    place.store.revoke_token(found.id).expect("revoked");
    assert!(
        matches!(
            place.store.revoke_token(found.id),
            Err(StoreError::NoSuchToken(_))
        ),
        "once"
    );
    assert!(find(place, &secret).expect("found").revoked_at.is_some());
    assert_eq!(
        place
            .changes(before)
            .iter()
            .map(|change| change.kind)
            .collect::<Vec<_>>(),
        [ChangeKind::Token]
    );
    let listed = place.foreign().try_run(&format!(
        "INSERT INTO tokens (name, digest, scope) VALUES ('x', '{secret}', 'root')"
    ));
    assert!(listed.is_err(), "no such scope");
}

fn a_ticket_opens_its_board_for_a_while(place: &Place) {
    place
        .foreign()
        .run("INSERT INTO boards (name) VALUES ('other')");
    let token = find(place, &make_token(place, None)).expect("found");
    let make = || {
        let ticket = Secret::ticket().expect("random");
        place
            .store
            .create_ticket(token.id, &main(), &ticket)
            .expect("a ticket");
        ticket
    };
    let open = |secret: &str, board: &str, times: TicketTimes| {
        let used = place
            .store
            .use_ticket(secret, &board.parse().expect("a name"), times);
        used.expect("read").map(|found| found.token.id)
    };
    let late = TicketTimes {
        first_use: Duration::ZERO,
        ..TIMES
    };
    let unused = make();
    assert_eq!(
        open(unused.reveal(), "main", late),
        None,
        "too late for the first use"
    );
    assert_eq!(open(unused.reveal(), "main", TIMES), None, "over is over");
    let ticket = make();
    assert_eq!(open(ticket.reveal(), "other", TIMES), None, "for one board");
    assert_eq!(open("kairanban_ticket_", "main", TIMES), None);
    assert_eq!(open(ticket.reveal(), "main", TIMES), Some(token.id));
    assert_eq!(
        open(ticket.reveal(), "main", late),
        Some(token.id),
        "and again, for the stream that comes back"
    );
    assert_eq!(
        open(
            ticket.reveal(),
            "main",
            TicketTimes {
                idle: Duration::ZERO,
                ..TIMES
            }
        ),
        None,
        "but not after a long time"
    );
    assert_eq!(open(ticket.reveal(), "main", TIMES), None, "over is over");
    assert_eq!(open(make().reveal(), "main", TIMES), Some(token.id));
    assert_eq!(
        place
            .store
            .forget(100, Duration::from_secs(60), TIMES)
            .expect("forgotten"),
        0
    );
    assert_eq!(
        place
            .store
            .forget(
                100,
                Duration::from_secs(60),
                TicketTimes {
                    idle: Duration::ZERO,
                    ..TIMES
                }
            )
            .expect("forgotten"),
        1
    );
}

fn policies_say_who_may_read_and_post(place: &Place) {
    let (writer, _) = place.writer();
    let set = |read, post| {
        let edit = BoardEdit {
            read: Some(read),
            post: Some(post),
            title: None,
        };
        run(writer.write(administer(Deed::UpdateBoard {
            board: main(),
            edit,
        })))
    };
    let post = |right| {
        let write = Write::CreateTopic {
            board: main(),
            topic: topic("x"),
            key: None,
            right,
        };
        run(writer.write(write)).map(drop)
    };
    let listed = |visible| {
        place
            .store
            .boards(&visible, None, 10)
            .expect("a list")
            .len()
    };

    set(ReadPolicy::Open, PostPolicy::Token).expect("written");
    assert!(matches!(
        post(None),
        Err(StoreError::PostingTakesToken { shown: false })
    ));
    assert!(matches!(
        post(Some(Scope::Read)),
        Err(StoreError::PostingTakesToken { shown: true })
    ));
    post(Some(Scope::Post)).expect("allowed");
    set(ReadPolicy::Open, PostPolicy::Closed).expect("written");
    assert!(matches!(post(Some(Scope::Admin)), Err(StoreError::Closed)));

    let private = set(ReadPolicy::Token, PostPolicy::Open).expect("written");
    let Written::Board(board) = private else {
        panic!("a board, got {private:?}")
    };
    assert_eq!(
        board.policies,
        Policies {
            read: ReadPolicy::Token,
            post: PostPolicy::Open
        }
    );
    assert!(
        matches!(post(None), Err(StoreError::NoSuchBoard(_))),
        "it is not there"
    );
    post(Some(Scope::Post)).expect("allowed");
    assert!(matches!(
        place.store.policies(&main(), None),
        Err(StoreError::NoSuchBoard(_))
    ));
    assert_eq!(
        place
            .store
            .policies(&main(), Some(Scope::Read))
            .expect("there"),
        board.policies
    );
    assert_eq!(
        [
            listed(Visible::All),
            listed(Visible::Open(None)),
            listed(Visible::Open(Some(main())))
        ],
        [1, 0, 1]
    );
    assert_eq!(place.load().policies, board.policies);
    let before = place.head();
    set(ReadPolicy::Token, PostPolicy::Open).expect("written");
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
        run(writer.write(administer(Deed::RestoreTopic {
            board: main(),
            id: first.id,
            within,
        })))
    };
    let restore = || restore_within(Duration::from_secs(60));
    assert!(matches!(restore(), Err(StoreError::TopicExists(_))));
    let delete = administer(Deed::DeleteTopic {
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
    let Ok(Written::Topic(back)) = restore() else {
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
    let lost = administer(Deed::DeleteTopic {
        board: main(),
        id: kairanban_core::TopicId(999),
        expected: None,
    });
    assert!(run(writer.write(lost)).is_err());
    run(writer.write(administer(Deed::DeleteTopic {
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
