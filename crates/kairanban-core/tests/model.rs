//! Checks a model of the protocol. `Hub`, `BoardState`, `Snapshot`, `ReplayBuffer` and tokio's
//! channel are the program's own; the model adds everything that may happen around them, in every
//! order.
//!
//! Writers commit, on a board that shows two topics; nodes poll the log late or at once (a wake
//! carries no data, so one that is lost, doubled or reordered is a poll that comes late, twice or
//! early) and load the board while others write; a reader subscribes, falls behind, is cut off
//! between any two events, and comes back to either node with its cursor; a node crashes and
//! restarts with empty memory. In no state that can be reached does a reader show a list that was
//! not committed, or an older one than before, or stay at an old one.
//!
//! The small worlds are checked with every test run, bigger ones by `scripts/model`.

mod several_boards;
mod values;
mod world;

use std::{env, io::Write as _};

use stateright::{Checker as _, Model as _};
use world::World;

fn check(world: World) {
    let checker = world.checker().threads(2).spawn_bfs().join();
    let (all, unique, depth) = (
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
    );
    // Printed also on success, to show what was checked.
    let report = format!(
        "model: {world:?}: {all} states, {unique} of them unique, at most {depth} steps deep\n"
    );
    std::io::stderr()
        .write_all(report.as_bytes())
        .expect("written");
    checker.assert_properties();
}

#[test]
fn nothing_breaks_a_promise_while_nodes_crash() {
    check(World {
        commits: 2,
        readings: 2,
        cuts: 2,
        crashes: 1,
    });
}

#[test]
fn nothing_breaks_a_promise_while_readers_fall_behind() {
    check(World {
        commits: 3,
        readings: 2,
        cuts: 1,
        crashes: 0,
    });
}

/// Returns the number in an environment variable, or `default`.
fn setting(name: &str, default: u8) -> u8 {
    env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[test]
#[ignore = "takes long; scripts/model runs it"]
fn nothing_breaks_a_promise_in_a_bigger_world() {
    check(World {
        commits: setting("KAIRANBAN_MODEL_COMMITS", 4).into(),
        readings: setting("KAIRANBAN_MODEL_READINGS", 2),
        cuts: setting("KAIRANBAN_MODEL_CUTS", 1),
        crashes: setting("KAIRANBAN_MODEL_CRASHES", 0),
    });
}
