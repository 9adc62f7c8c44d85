//! Sessions of browsers: begun, found, and ended.

use std::time::Duration;

use chrono::TimeDelta;
use kairanban_core::ChangeKind;
use kairanban_store::{
    AdminCommand, FoundToken, NewBrowserSession, NewTicket, Secret, StoreError, TokenKey,
};

use crate::{
    place::{Place, administer, main, run},
    tokens::{AUDIT, TIMES, make_token},
};

crate::on_both!(
    a_session_is_found_by_its_whole_secret_with_its_token,
    a_session_ends_once_and_the_log_says_so,
    a_session_ends_with_its_token,
    a_session_lasts_no_longer_than_its_token,
    a_session_is_that_of_one_secret_of_its_token,
    a_session_that_no_list_shows_is_not_there_to_end,
    sessions_that_are_over_expire_and_are_not_logged,
    a_token_has_a_number_of_sessions_and_the_oldest_ends,
    sessions_are_listed_while_they_last,
    a_ticket_of_a_session_is_found_as_the_session,
);

const AN_HOUR: Duration = Duration::from_secs(3_600);

fn find_token(place: &Place, secret: &str) -> FoundToken {
    let found = place.store.find_tokens(&[secret.to_owned()]);
    found.expect("read").pop().flatten().expect("a token")
}

fn begin(place: &Place, token: &FoundToken, age_max: Duration) -> String {
    let secret = Secret::session().expect("random");
    let new = NewBrowserSession {
        token,
        secret: &secret,
        age_max,
        alive_max: 2,
    };
    place.store.create_session(new).expect("a session");
    secret.reveal().to_owned()
}

fn find(place: &Place, secret: &str) -> Option<FoundToken> {
    let found = place.store.find_sessions(&[secret.to_owned()]);
    found.expect("read").pop().expect("one")
}

fn signed_in(place: &Place) -> (FoundToken, String) {
    let token = find_token(place, &make_token(place, None));
    let session = begin(place, &token, AN_HOUR);
    (token, session)
}

fn end(place: &Place, id: i64) -> Result<(), StoreError> {
    let (writer, _) = place.writer();
    run(writer.write(administer(AdminCommand::EndBrowserSession { id }))).map(drop)
}

fn a_session_is_found_by_its_whole_secret_with_its_token(place: &Place) {
    let (token, secret) = signed_in(place);
    let before = place.head();
    let found = find(place, &secret).expect("found");
    assert!(!found.has_ended() && found.token.id == token.token.id);
    let session = found.session.expect("a session");
    let age = session.expires_at - place.store.now().expect("a time");
    assert!((age - TimeDelta::hours(1)).abs() < TimeDelta::minutes(1));
    for wrong in ["", &secret[..70], &secret.to_uppercase()] {
        assert_eq!(find(place, wrong), None);
    }
    let used = &place.store.sessions(0, 9).expect("a list").rows[0];
    assert!(used.id == session.id && used.last_used_at.is_some());
    assert_eq!(place.head(), before, "that it was used is no change");
    let other = TokenKey {
        session: Some(session.id + 1),
        ..found.key()
    };
    let in_use = place
        .store
        .tokens_in_use(&[token.key(), found.key(), other]);
    let keys = in_use
        .expect("read")
        .iter()
        .map(FoundToken::key)
        .collect::<Vec<_>>();
    assert_eq!(keys, [token.key(), found.key()]);
}

fn a_session_ends_once_and_the_log_says_so(place: &Place) {
    let (token, secret) = signed_in(place);
    let before = place.head();
    place.store.end_session(&secret).expect("ended");
    assert_eq!(find(place, &secret), None);
    assert_eq!(place.kinds(before), [ChangeKind::Token]);
    let before = place.head();
    place.store.end_session(&secret).expect("nothing to end");
    assert_eq!(place.head(), before);
    let again = begin(place, &token, AN_HOUR);
    assert_eq!(place.head(), before, "one that begins is no change");
    let id = find(place, &again)
        .and_then(|found| found.session)
        .expect("found")
        .id;
    end(place, id).expect("ended");
    assert_eq!(place.kinds(before), [ChangeKind::Token]);
    assert!(matches!(end(place, id), Err(StoreError::NoSuchSession(_))));
}

fn a_session_ends_with_its_token(place: &Place) {
    let (token, secret) = signed_in(place);
    place.store.revoke_token(token.token.id).expect("revoked");
    assert_eq!(find(place, &secret), None);
    let (token, secret) = signed_in(place);
    place.foreign().run(&format!(
        "UPDATE tokens SET revoked_at = CURRENT_TIMESTAMP WHERE id = {}",
        token.token.id
    ));
    assert!(find(place, &secret).expect("found").has_ended());
    assert!(place.store.sessions(0, 9).expect("a list").rows.is_empty());
    let (_, secret) = signed_in(place);
    place.foreign().run("DELETE FROM tokens");
    assert_eq!(find(place, &secret), None);
}

fn a_session_lasts_no_longer_than_its_token(place: &Place) {
    let mut token = find_token(place, &make_token(place, None));
    let soon = place.store.now().expect("a time") + TimeDelta::minutes(5);
    token.token.expires_at = Some(soon);
    let secret = begin(place, &token, AN_HOUR);
    let session = find(place, &secret).and_then(|found| found.session);
    let off = session.expect("found").expires_at - soon;
    assert!(off.abs() < TimeDelta::milliseconds(1), "{off}");
    let lasting = begin(
        place,
        &find_token(place, &make_token(place, None)),
        Duration::MAX,
    );
    assert!(!find(place, &lasting).expect("found").has_ended());
}

fn a_session_is_that_of_one_secret_of_its_token(place: &Place) {
    let (_, secret) = signed_in(place);
    place.foreign().run("UPDATE tokens SET digest = 'another'");
    assert_eq!(find(place, &secret), None);
    assert!(place.store.sessions(0, 9).expect("a list").rows.is_empty());
}

fn a_session_that_no_list_shows_is_not_there_to_end(place: &Place) {
    for done_to_token in [
        "revoked_at = CURRENT_TIMESTAMP",
        "expires_at = created_at",
        "digest = 'another'",
    ] {
        let (token, secret) = signed_in(place);
        let session = find(place, &secret).and_then(|found| found.session);
        let id = token.token.id;
        place.foreign().run(&format!(
            "UPDATE tokens SET {done_to_token} WHERE id = {id}"
        ));
        let before = place.head();
        let ended = end(place, session.expect("found").id);
        assert!(
            matches!(ended, Err(StoreError::NoSuchSession(_))),
            "{done_to_token}: {ended:?}"
        );
        place.store.end_session(&secret).expect("nothing to end");
        assert_eq!(place.head(), before, "{done_to_token}");
    }
}

fn sessions_that_are_over_expire_and_are_not_logged(place: &Place) {
    let token = find_token(place, &make_token(place, None));
    let over = begin(place, &token, Duration::ZERO);
    let kept = begin(place, &token, AN_HOUR);
    assert!(find(place, &over).expect("found").has_ended());
    let before = place.head();
    let expired = place.store.expire(AUDIT, AN_HOUR, TIMES);
    assert_eq!(expired.expect("expired"), 1);
    assert_eq!(place.head(), before);
    assert_eq!(find(place, &over), None);
    assert!(find(place, &kept).is_some());
}

fn a_token_has_a_number_of_sessions_and_the_oldest_ends(place: &Place) {
    let (token, first) = signed_in(place);
    let (_, other) = signed_in(place);
    let second = begin(place, &token, AN_HOUR);
    let before = place.head();
    let third = begin(place, &token, AN_HOUR);
    assert_eq!(place.kinds(before), [ChangeKind::Token]);
    let found = [first, second, third, other].map(|secret| find(place, &secret).is_some());
    assert_eq!(found, [false, true, true, true]);
}

fn sessions_are_listed_while_they_last(place: &Place) {
    let (token, _) = signed_in(place);
    begin(place, &token, Duration::ZERO);
    signed_in(place);
    let page = place.store.sessions(0, 1).expect("a list");
    assert_eq!(
        (page.rows.len(), page.rows[0].token.id),
        (1, token.token.id)
    );
    let rest = place.store.sessions(page.next.expect("more"), 9);
    assert_eq!(rest.expect("a list").rows.len(), 1);
}

fn a_ticket_of_a_session_is_found_as_the_session(place: &Place) {
    let (token, secret) = signed_in(place);
    let session = find(place, &secret).and_then(|found| found.session);
    let ticket = Secret::ticket().expect("random");
    let new = NewTicket {
        token: token.token.id,
        session: session.map(|session| session.id),
        board: &main(),
        secret: &ticket,
    };
    place.store.create_ticket(new, TIMES, 9).expect("a ticket");
    for is_alive in [true, false] {
        let used = place
            .store
            .use_ticket(ticket.reveal(), &main(), "192.0.2.1", TIMES);
        let used = used.expect("read").and_then(|found| found.session);
        assert_eq!(used, session.filter(|_| is_alive));
        place.store.end_session(&secret).expect("ended");
    }
}
