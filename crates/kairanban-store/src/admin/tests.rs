use std::collections::BTreeSet;

use kairanban_core::Scope;

use super::*;

/// Action, board and subject in the audit; target; whether it reruns.
type Wanted<'w> = (
    &'w str,
    Option<&'w str>,
    Option<i64>,
    Option<WriteTarget>,
    bool,
);

fn board() -> BoardName {
    "main".parse().expect("a name")
}

fn check(command: AdminCommand, wanted: Wanted<'_>) {
    let row = command.row();
    let found = (
        row.action,
        row.board.map(BoardName::as_str),
        row.subject,
        row.target,
        row.reruns_on_conflict,
    );
    assert_eq!(found, wanted);
}

#[test]
fn a_command_on_a_topic_targets_that_topic() {
    let (board, id) = (board(), TopicId(7));
    let (main, target) = (Some("main"), Some(WriteTarget::Topic(id)));
    let update = AdminCommand::UpdateTopic {
        board: board.clone(),
        id,
        edit: TopicEdit::try_new(None, None).expect("an edit"),
        condition: RevisionCondition::default(),
    };
    check(
        update,
        ("topic.update", main, Some(7), target.clone(), false),
    );
    let delete = AdminCommand::DeleteTopic {
        board: board.clone(),
        id,
        condition: RevisionCondition::default(),
    };
    check(
        delete,
        ("topic.delete", main, Some(7), target.clone(), false),
    );
    let restore = AdminCommand::RestoreTopic {
        board,
        id,
        within: Duration::ZERO,
    };
    check(restore, ("topic.restore", main, Some(7), target, true));
}

#[test]
fn a_command_on_a_board_targets_that_board() {
    let (board, edit) = (board(), BoardEdit::default());
    let (main, target) = (Some("main"), Some(WriteTarget::Board(board.clone())));
    let create = AdminCommand::CreateBoard {
        board: board.clone(),
        wanted: edit.clone(),
    };
    check(create, ("board.create", main, None, target.clone(), true));
    let update = AdminCommand::UpdateBoard {
        board: board.clone(),
        edit,
    };
    check(update, ("board.update", main, None, target.clone(), false));
    let delete = AdminCommand::DeleteBoard { board };
    check(delete, ("board.delete", main, None, target, false));
}

#[test]
fn a_command_on_a_token_targets_nothing_that_others_change() {
    let create = AdminCommand::CreateToken {
        new: NewToken {
            name: "a token".parse().expect("a name"),
            scope: Scope::Post,
            board: Some(board()),
            expires_at: None,
        },
        secret: Secret::token().expect("random numbers"),
    };
    check(create, ("token.create", Some("main"), None, None, true));
    let revoke = AdminCommand::RevokeToken { id: 7 };
    check(revoke, ("token.revoke", None, Some(7), None, false));
}

#[test]
fn a_command_on_a_session_targets_nothing_that_others_change() {
    let end = AdminCommand::EndBrowserSession { id: 7 };
    check(end, ("session.end", None, Some(7), None, false));
}

#[test]
fn the_actions_in_the_audit_are_documented() {
    let document = include_str!("../../../../docs/OPERATIONS.md");
    let (_, table) = document.split_once("| action |").expect("the list");
    let (table, _) = table.split_once("\n\n").expect("its end");
    let documented: BTreeSet<_> = table.split('`').skip(1).step_by(2).collect();
    let commands = include_str!("../admin.rs").split("CommandRow::new(");
    let actions: BTreeSet<_> = commands
        .skip(1)
        .filter_map(|rest| rest.split('"').nth(1))
        .collect();
    assert_eq!(documented, actions);
}
