//! What is wrong with our own functions, tables and rights fails every post: it is named at the
//! start, and no post is to blame. What an owner's trigger on topics refuses is that post's.

use kairanban_store::{
    DatabaseAddress, Store, StoreError, WriteResult, Writer, check, migrate, repair,
};

use crate::{
    place::{Foreign, Place, TIMEOUTS, config, main, new_database, post, run, written_topic},
    schema_names::Granted,
};

/// Tables of a role that is no superuser, and a server with another role.
struct Installation {
    owner: String,
    owners_address: DatabaseAddress,
    admin: Foreign,
    server: Place,
    role: Granted,
}

impl Installation {
    fn new() -> Self {
        let url = new_database();
        let (_, database) = url.rsplit_once('/').expect("a database");
        let owner = format!("owner_{database}");
        let mut admin = Foreign::postgres(&url);
        admin.run(&format!(
            "CREATE ROLE {owner} LOGIN; GRANT CREATE, USAGE ON SCHEMA public TO {owner}"
        ));
        let owners_url = url.replacen("postgres@", &format!("{owner}@"), 1);
        let owners_address = owners_url.parse().expect("an address");
        migrate(&owners_address, TIMEOUTS, &main(), false).expect("migrated");
        let role = Granted::new(&url, "public", "server");
        Self {
            owner,
            owners_address,
            admin,
            server: Place::at(&role.url),
            role,
        }
    }

    /// What is named at the start of the server.
    fn damage(&self) -> Vec<String> {
        check(&self.server.address, TIMEOUTS, &main(), false)
            .expect("the database is there")
            .damage
    }

    fn run(&mut self, sql: &str) {
        let sql = sql
            .replace("$owner", &self.owner)
            .replace("$other", &self.role.name);
        self.admin.run(&sql);
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let gone = self.admin.try_run(&format!(
            "DROP OWNED BY {0} CASCADE; DROP ROLE {0}",
            self.owner
        ));
        assert!(gone.is_ok() || std::thread::panicking(), "{gone:?}");
    }
}

fn write(writer: &Writer, comment: &str) -> Result<WriteResult, StoreError> {
    run(writer.write(post(comment)))
}

const DROP: &str = "CREATE FUNCTION z() RETURNS trigger LANGUAGE plpgsql AS \
    'BEGIN RETURN NULL; END'; CREATE TRIGGER z BEFORE INSERT ON ";
const REFUSE: &str = "CREATE FUNCTION z() RETURNS trigger LANGUAGE plpgsql AS \
    'BEGIN RAISE EXCEPTION ''no''; END'; CREATE TRIGGER z BEFORE INSERT ON ";
const EACH_ROW: &str = " FOR EACH ROW EXECUTE FUNCTION z()";
const BACK: &str = "DROP FUNCTION z() CASCADE";

/// Breaks posting for good until it is undone. Without `undo`, `kairanban migrate` undoes it.
fn is_the_installations(broken: &mut Installation, sql: &str, undo: Option<&str>, named: &str) {
    let (writer, _) = broken.server.writer();
    written_topic(write(&writer, "before"));
    broken.run(sql);
    let damage = broken.damage().join("\n");
    assert!(damage.contains(named), "{sql}: {damage}");
    for _ in 0..2 {
        let refused = write(&writer, "lost");
        assert!(
            matches!(refused, Err(StoreError::Fault(_))),
            "{sql}: {refused:?}"
        );
    }
    if let Some(undo) = undo {
        broken.run(undo);
    } else {
        let repaired = repair(&broken.owners_address, TIMEOUTS).expect("repaired");
        assert_eq!(repaired.len(), 1, "{sql}: {repaired:?}");
    }
    assert_eq!(broken.damage(), Vec::<String>::new(), "{sql}");
    written_topic(write(&writer, "after"));
}

#[test]
fn what_fails_every_post_is_the_installations() {
    let mut broken = Installation::new();
    for right in ["SELECT", "UPDATE"] {
        let revoke = format!("REVOKE {right} ON boards FROM $owner");
        is_the_installations(
            &mut broken,
            &revoke,
            None,
            &format!("lacks {right} on the table"),
        );
    }
    for (change, named) in [
        (
            "SECURITY INVOKER",
            "topics_before does not run by the rights",
        ),
        (
            "SET search_path = pg_catalog",
            "topics_before does not run by the rights",
        ),
    ] {
        let change = format!("ALTER FUNCTION topics_before() {change}");
        is_the_installations(&mut broken, &change, None, named);
    }
    for function in ["topics_before()", "stamp_depth()"] {
        let change = format!("ALTER FUNCTION {function} OWNER TO ");
        is_the_installations(
            &mut broken,
            &format!("{change}$other"),
            Some(&format!("{change}$owner")),
            &format!("first ALTER FUNCTION {function} OWNER TO"),
        );
    }
    for table in ["transactions", "changes"] {
        for trigger in [DROP, REFUSE] {
            is_the_installations(
                &mut broken,
                &format!("{trigger}{table}{EACH_ROW}"),
                Some(BACK),
                &format!("first DROP TRIGGER z ON {table}"),
            );
        }
    }
}

/// What is drawn later would be smaller, or be drawn already.
#[test]
fn sequences_count_one_by_one() {
    let mut broken = Installation::new();
    let (writer, _) = broken.server.writer();
    for change in ["CACHE 50", "INCREMENT BY -1", "INCREMENT BY 2", "CYCLE"] {
        for sequence in ["revision_seq", "topics_id_seq", "boards_id_seq"] {
            written_topic(write(&writer, "before"));
            broken.run(&format!("ALTER SEQUENCE {sequence} {change}"));
            let damage = broken.damage().join("\n");
            assert!(
                damage.contains(&format!("the sequence {sequence}")),
                "{damage}"
            );
            // A server that may not alter it says so; one of the owner's mends it.
            assert!(broken.server.store.repair().is_err(), "{sequence} {change}");
            if sequence == "topics_id_seq" && change == "INCREMENT BY -1" {
                let failed = write(&writer, "lost");
                assert!(matches!(failed, Err(StoreError::Fault(_))), "{failed:?}");
            }
            let drawn = broken.server.head();
            let owners = Store::open(config(&broken.owners_address)).expect("a store");
            owners.repair().expect("repaired");
            assert_eq!(broken.damage(), Vec::<String>::new(), "{sequence} {change}");
            assert!(broken.server.head() > drawn, "{sequence} {change}");
        }
    }
}

#[test]
fn a_table_that_inherits_is_named() {
    let mut broken = Installation::new();
    broken.run("CREATE TABLE archive () INHERITS (topics)");
    let damage = broken.damage().join("\n");
    assert!(
        damage.contains("first ALTER TABLE archive NO INHERIT topics"),
        "{damage}"
    );
    broken.run("ALTER TABLE archive NO INHERIT topics");
    assert_eq!(broken.damage(), Vec::<String>::new());
}

/// Such a trigger refuses what the check writes, too.
#[test]
fn what_a_trigger_of_the_owners_refuses_is_the_posts() {
    let mut moderated = Installation::new();
    let (writer, _) = moderated.server.writer();
    for refusal in [
        "RAISE EXCEPTION 'no'",
        "RAISE EXCEPTION 'no' USING ERRCODE = '42501'",
        "RAISE EXCEPTION 'no' USING ERRCODE = '23505'",
        "RETURN NULL",
        "PERFORM 1 FROM no_such_table",
    ] {
        moderated.run(&format!(
            "CREATE FUNCTION z() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF NEW.comment <> 'fine' THEN {refusal}; END IF; RETURN NEW; END $$; \
             CREATE TRIGGER z BEFORE INSERT ON topics{EACH_ROW}"
        ));
        let refused = write(&writer, "spam");
        assert!(
            matches!(refused, Err(StoreError::Refused(_))),
            "{refusal}: {refused:?}"
        );
        written_topic(write(&writer, "fine"));
        assert_eq!(moderated.damage(), Vec::<String>::new(), "{refusal}");
        moderated.run(BACK);
    }
}
