//! A database is known again by each role, however much of it the role can read.

use kairanban_core::{LogPosition, Restored, Verdict};
use kairanban_store::{DatabaseAddress, Store};

use super::{Role, place};
use crate::place::config;

/// Some hosts keep these from ordinary roles.
const KEPT: &str = "REVOKE EXECUTE ON FUNCTION pg_control_system(), pg_control_checkpoint() \
    FROM PUBLIC";

fn open(address: &DatabaseAddress) -> Store {
    Store::open(config(address)).expect("a store")
}

#[test]
fn a_database_is_the_same_to_every_role() {
    let place = place();
    let mut owner = place.foreign();
    owner.run(KEPT);
    let server = Role::server(&place);
    let as_server = server.url.parse().expect("an address");
    let addresses = [&as_server, &place.address];
    let epoch = place.store.epoch().clone();
    let lesser = owner.ask(
        "SELECT concat_ws('/', oid, 'topics'::regclass::oid) FROM pg_database \
         WHERE datname = current_database()",
    );
    let mark = "SELECT value FROM identity WHERE key = 'mark'";
    let full = owner.ask(mark);
    assert!(full.ends_with(lesser.split_once('/').expect("two").1) && full != lesser);
    for stored in [&full, &lesser] {
        owner.run(&format!(
            "UPDATE identity SET value = '{stored}' WHERE key = 'mark'"
        ));
        for address in addresses.iter().cycle().take(4) {
            assert_eq!(*open(address).epoch(), epoch, "{stored}");
        }
        assert_eq!(owner.ask(mark), full, "what is known stays known");
    }
    // A node still knows what it has read, and that it is of this database.
    for mark in [&full, &lesser] {
        let (now, _) = place.store.settle(None).expect("a place");
        let known = LogPosition {
            mark: mark.clone(),
            ..now
        };
        for address in addresses {
            let (_, verdict) = open(address).settle(Some(&known)).expect("a place");
            assert_eq!(verdict, Verdict::Same, "{mark}");
        }
        owner.run("UPDATE identity SET value = 'abc' WHERE key = 'epoch'");
        owner.run("DELETE FROM identity WHERE key = 'ancestors'");
        let (_, verdict) = place.store.settle(Some(&known)).expect("a place");
        assert_eq!(verdict, Verdict::Draw(Restored::Epoch), "{mark}");
    }
    // Another table of topics is another database, to both.
    let other = format!("{}1", lesser);
    for address in addresses {
        owner.run(&format!(
            "UPDATE identity SET value = '{other}' WHERE key = 'mark'"
        ));
        let (_, verdict) = open(&place.address).settle(None).expect("a place");
        assert_eq!(verdict, Verdict::Adopt, "settled at the start");
        let before = open(address).epoch().clone();
        owner.run(&format!(
            "UPDATE identity SET value = '{other}' WHERE key = 'mark'"
        ));
        assert_ne!(*open(address).epoch(), before);
    }
}
