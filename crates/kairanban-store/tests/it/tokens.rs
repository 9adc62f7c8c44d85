//! Tokens and tickets: found, used, and ended.

use std::time::Duration;

use kairanban_core::{ChangeKind, Scope, Token};
use kairanban_store::{AuditBounds, NewTicket, NewToken, Secret, StoreError, TicketTimes};

use crate::place::{Place, main};

crate::on_both!(
    a_token_is_made_with_a_secret_of_its_own,
    a_token_is_found_by_its_whole_secret,
    a_token_is_revoked_once,
    many_tokens_are_found_at_once_each_in_its_place,
    a_token_is_good_also_when_its_use_cannot_be_noted,
    a_ticket_is_used_soon_or_never,
    a_ticket_opens_its_board_for_a_while,
    a_ticket_is_for_the_client_that_used_it_first,
    a_ticket_shows_no_address,
    a_token_has_a_number_of_tickets_at_a_time,
    tickets_that_are_over_expire,
);

pub(crate) const TIMES: TicketTimes = TicketTimes {
    first_use: Duration::from_secs(60),
    idle: Duration::from_secs(60),
};

pub(crate) const AUDIT: AuditBounds = AuditBounds {
    max: 100,
    per_actor_min: 0,
};

fn new(board: Option<&str>) -> NewToken {
    NewToken {
        name: "bot".parse().expect("a name"),
        scope: Scope::Admin,
        board: board.map(|name| name.parse().expect("a name")),
        expires_at: None,
    }
}

pub(crate) fn try_make_token(place: &Place, board: Option<&str>) -> Result<String, StoreError> {
    let secret = Secret::token().expect("random");
    place.store.create_token(&new(board), &secret)?;
    Ok(secret.reveal().to_owned())
}

pub(crate) fn make_token(place: &Place, board: Option<&str>) -> String {
    try_make_token(place, board).expect("a token")
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
    let [first, second, third] = [0, 1, 2].map(|n| find(place, &made[n]).map(|token| token.id));
    assert_eq!(ids, [third, None, first, third, second]);
    let tokens = place.store.tokens(0, 10).expect("a list").rows;
    assert!(tokens.len() == 3 && tokens.iter().all(|token| token.last_used_at.is_some()));
    assert!(place.store.find_tokens(&[]).expect("read").is_empty());
}

fn first_is_used(place: &Place) -> bool {
    let tokens = place.store.tokens(0, 1).expect("a list").rows;
    tokens[0].last_used_at.is_some()
}

fn a_token_is_good_also_when_its_use_cannot_be_noted(place: &Place) {
    let secret = make_token(place, None);
    let mut other = place.foreign();
    other.run("BEGIN; UPDATE tokens SET name = 'held'");
    assert!(find(place, &secret).is_some());
    other.run("ROLLBACK");
    assert!(!first_is_used(place));
    assert!(find(place, &secret).is_some() && first_is_used(place));
}

fn a_token_is_made_with_a_secret_of_its_own(place: &Place) {
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
    let listed = place.foreign().try_run(&format!(
        "INSERT INTO tokens (name, digest, scope) VALUES ('x', '{secret}', 'root')"
    ));
    assert!(listed.is_err(), "no such scope");
}

fn a_token_is_found_by_its_whole_secret(place: &Place) {
    let secret = make_token(place, Some("main"));
    make_token(place, None);
    let found = find(place, &secret).expect("found");
    assert_eq!(
        (found.scope, found.board.clone(), found.last_used_at),
        (Scope::Admin, Some(main()), None)
    );
    for wrong in [
        "",
        "kairanban_",
        &secret[..73],
        &format!("{secret} "),
        &secret.to_uppercase(),
    ] {
        assert_eq!(find(place, wrong), None);
    }
    let before = place.head();
    let used = &place.store.tokens(0, 10).expect("a list").rows[0];
    assert!(used.id == found.id && used.last_used_at.is_some());
    assert_eq!(place.head(), before, "that it was used is no change");
    assert_eq!(
        place.store.tokens(used.id, 10).expect("a list").rows.len(),
        1
    );
}

fn a_token_is_revoked_once(place: &Place) {
    let secret = make_token(place, Some("main"));
    let id = find(place, &secret).expect("found").id;
    let before = place.head();
    place.store.revoke_token(id).expect("revoked");
    assert!(
        matches!(
            place.store.revoke_token(id),
            Err(StoreError::NoSuchToken(_))
        ),
        "once"
    );
    assert!(find(place, &secret).expect("found").revoked_at.is_some());
    assert_eq!(place.kinds(before), [ChangeKind::Token]);
}

const NO_FIRST_USE: TicketTimes = TicketTimes {
    first_use: Duration::ZERO,
    ..TIMES
};
const NO_IDLING: TicketTimes = TicketTimes {
    idle: Duration::ZERO,
    ..TIMES
};

fn find_new_token(place: &Place) -> i64 {
    find(place, &make_token(place, None)).expect("found").id
}

fn make_ticket(place: &Place, token: i64) -> Secret {
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
            99,
        )
        .expect("a ticket");
    ticket
}

/// Uses a ticket. Returns the token that it stands for.
fn open(place: &Place, secret: &str, board: &str, times: TicketTimes) -> Option<i64> {
    open_from(place, "192.0.2.1", secret, board, times)
}

/// Uses a ticket, as a client of this address does.
fn open_from(
    place: &Place,
    client: &str,
    secret: &str,
    board: &str,
    times: TicketTimes,
) -> Option<i64> {
    place
        .store
        .use_ticket(secret, &board.parse().expect("a name"), client, times)
        .expect("read")
        .map(|found| found.token.id)
}

fn a_ticket_is_used_soon_or_never(place: &Place) {
    let unused = make_ticket(place, find_new_token(place));
    assert_eq!(
        open(place, unused.reveal(), "main", NO_FIRST_USE),
        None,
        "too late for the first use"
    );
    assert_eq!(
        open(place, unused.reveal(), "main", TIMES),
        None,
        "over is over"
    );
}

fn a_ticket_opens_its_board_for_a_while(place: &Place) {
    place
        .foreign()
        .run("INSERT INTO boards (name) VALUES ('other')");
    let token = find_new_token(place);
    let ticket = make_ticket(place, token);
    assert_eq!(
        open(place, ticket.reveal(), "other", TIMES),
        None,
        "for one board"
    );
    assert_eq!(open(place, "kairanban_ticket_", "main", TIMES), None);
    assert_eq!(open(place, ticket.reveal(), "main", TIMES), Some(token));
    assert_eq!(
        open(place, ticket.reveal(), "main", NO_FIRST_USE),
        Some(token),
        "and again, for the stream that comes back"
    );
    assert_eq!(
        open(place, ticket.reveal(), "main", NO_IDLING),
        None,
        "but not after a long time"
    );
    assert_eq!(
        open(place, ticket.reveal(), "main", TIMES),
        None,
        "over is over"
    );
}

fn a_ticket_is_for_the_client_that_used_it_first(place: &Place) {
    let token = find_new_token(place);
    let ticket = make_ticket(place, token);
    let open_from = |client| open_from(place, client, ticket.reveal(), "main", TIMES);
    assert_eq!(open_from("192.0.2.1"), Some(token));
    let used_at = || place.foreign().ask("SELECT used_at FROM tickets");
    let used = used_at();
    for other in ["192.0.2.2", "192.0.2.10", "2001:db8::/64", ""] {
        assert_eq!(open_from(other), None, "{other}");
    }
    assert_eq!(used_at(), used, "that is no use of it");
    assert_eq!(open_from("192.0.2.1"), Some(token), "and again");
}

/// A reader of the table does not learn which client uses which ticket.
fn a_ticket_shows_no_address(place: &Place) {
    let token = find_new_token(place);
    let tickets = [0, 1].map(|_| make_ticket(place, token));
    let kept = tickets.map(|ticket| {
        open(place, ticket.reveal(), "main", TIMES).expect("opened");
        place.foreign().ask(
            "SELECT client FROM tickets WHERE client IS NOT NULL ORDER BY used_at DESC LIMIT 1",
        )
    });
    assert!(!kept[0].contains("192.0.2.1"), "{kept:?}");
    assert_ne!(kept[0], kept[1], "one client, two tickets");
}

fn a_token_has_a_number_of_tickets_at_a_time(place: &Place) {
    let token = find_new_token(place);
    let make = |times| {
        let ticket = Secret::ticket().expect("random");
        place.store.create_ticket(
            NewTicket {
                token,
                session: None,
                board: &main(),
                secret: &ticket,
            },
            times,
            3,
        )
    };
    for _ in 0..3 {
        make(TIMES).expect("room for three");
    }
    let Err(StoreError::TooManyTickets { wait }) = make(TIMES) else {
        panic!("a fourth")
    };
    assert!((1..=60).contains(&wait.as_secs()), "{wait:?}");
    let other = find_new_token(place);
    make_ticket(place, other);
    make(NO_FIRST_USE).expect("those before are over");
}

fn tickets_that_are_over_expire(place: &Place) {
    let token = find_new_token(place);
    let ticket = make_ticket(place, token);
    assert_eq!(open(place, ticket.reveal(), "main", TIMES), Some(token));
    for (times, gone) in [(TIMES, 0), (NO_IDLING, 1)] {
        let expired = place.store.expire(AUDIT, Duration::from_secs(60), times);
        assert_eq!(expired.expect("expired"), gone);
    }
}
