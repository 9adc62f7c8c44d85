//! Transactions that write are at READ COMMITTED, whatever the database's default is: what they
//! read after they waited for a lock is as it is then.

use std::{env, time::Duration};

use kairanban_core::Scope;
use kairanban_store::{NewTicket, NewToken, Secret, Store, migrate};

use crate::{
    place::{
        DatabaseKind, Place, TIMEOUTS, create, delete_topic, edit_topic, main, new_database,
        post_once, restore_topic, run,
    },
    tokens::{AUDIT, TIMES},
};

/// Notes at which level each statement that writes runs, on every table.
const NOTE: &str = "CREATE TABLE levels (place text, level text); \
    CREATE FUNCTION note_level() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
        INSERT INTO levels VALUES (TG_TABLE_NAME, current_setting('transaction_isolation')); \
        RETURN NULL; END $$; \
    DO $$ DECLARE t regclass; BEGIN \
        FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace \
            AND relkind = 'r' AND relname NOT IN ('levels', '__diesel_schema_migrations') LOOP \
            EXECUTE format('CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON %s \
                FOR EACH STATEMENT EXECUTE FUNCTION note_level()', t); \
        END LOOP; END $$";

/// The tables that a server writes to itself.
const WRITTEN: &str = "audit browser_sessions changes deleted_topics idempotency identity tickets tokens topics transactions";

#[test]
fn every_transaction_that_writes_is_at_read_committed() {
    let through = env::var("KAIRANBAN_TEST_PGBOUNCER_URL").expect("scripts/test sets it");
    let (pooler, _) = through.rsplit_once('/').expect("a database");
    for level in ["repeatable read", "serializable"] {
        let direct = new_database();
        let (_, name) = direct.rsplit_once('/').expect("a database");
        for url in [direct.clone(), format!("{pooler}/{name}")] {
            let noted = levels(&direct, &url, level);
            assert_eq!(
                noted,
                format!("{WRITTEN} | read committed"),
                "{level}: {url}"
            );
        }
    }
}

/// Writes whatever a server writes, through this address. Returns the tables and the levels.
fn levels(direct: &str, url: &str, level: &str) -> String {
    let address = direct.parse().expect("an address");
    migrate(&address, TIMEOUTS, &main(), false).expect("migrated");
    let place = Place::at(direct);
    let mut owner = place.foreign();
    let (_, name) = direct.rsplit_once('/').expect("a database");
    if owner.ask("SELECT to_regclass('levels') IS NULL") == "true" {
        owner.run(NOTE);
    }
    owner.run(&format!(
        "ALTER DATABASE {name} SET default_transaction_isolation = '{level}'; \
         DELETE FROM idempotency; DELETE FROM identity WHERE key = 'epoch'"
    ));
    owner.run("TRUNCATE levels");
    write_all(&Place::at(url));
    owner.ask(
        "SELECT (SELECT string_agg(place, ' ' ORDER BY place) FROM (SELECT DISTINCT place \
         FROM levels) AS places) || ' | ' || (SELECT string_agg(DISTINCT level, ', ') FROM levels)",
    )
}

fn write_all(place: &Place) {
    assert_eq!(place.kind, DatabaseKind::Postgres);
    let (writer, _) = place.writer();
    let topic = create(place, "a topic").id;
    for write in [
        post_once("once", None),
        post_once("once", Some("k")),
        edit_topic(topic, "edited", None),
        delete_topic(topic, None),
        restore_topic(topic, Duration::from_secs(60)),
    ] {
        run(writer.write(write)).expect("written");
    }
    (0..6).for_each(|n| drop(create(place, &n.to_string())));
    assert!(place.store.archive(&main(), 10).expect("archived") > 0);
    use_tokens(&place.store);
    place
        .store
        .expire(AUDIT, Duration::ZERO, TIMES)
        .expect("expired");
    assert!(place.store.trim_log(0, Duration::ZERO).expect("trimmed") > 0);
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
    let found = store.find_tokens(&[secret.reveal().to_owned()]);
    assert!(found.expect("found")[0].is_some());
    let secret = Secret::ticket().expect("random");
    let (board, secret) = (&main(), &secret);
    let ticket = NewTicket {
        token,
        session: None,
        board,
        secret,
    };
    store.create_ticket(ticket, TIMES, 9).expect("made");
    let used = store.use_ticket(secret.reveal(), board, "192.0.2.1", TIMES);
    assert!(used.expect("used").is_some());
    store.revoke_token(token).expect("revoked");
}
