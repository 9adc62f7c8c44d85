//! A model of the protocol, around the real thing: `Hub`, `BoardState`, `Snapshot`, `ReplayBuffer` and tokio's channel
//! are the program's own; what the model adds is everything that may happen around them, in every order.
//!
//! Writers commit, on a board that shows two topics; nodes look at the log late and at once (a message between
//! nodes says only "look", so that one that is lost, doubled or reordered is a look that comes late, twice or
//! early); they read the board while others write; a reader subscribes, falls behind, is cut off between any
//! two events, comes back to either node with its cursor; a node crashes and comes up with nothing. No state
//! that can be reached shows a list that was not committed, or steps back, or rests on an old one.
//!
//! The small worlds are checked with every test run, bigger ones by `scripts/model`.

mod values;
mod world;

use std::{env, io::Write as _};

use stateright::{Checker as _, Model as _};
use world::World;

fn check(world: World) {
    let checker = world.checker().threads(2).spawn_bfs().join();
    let (all, different, depth) = (
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
    );
    // Also when all is well: this is what was looked at.
    let report = format!(
        "model: {world:?}: {all} states, {different} of them different, at most {depth} steps \
         deep\n"
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

#[test]
#[ignore = "takes long; scripts/model runs it"]
fn nothing_breaks_a_promise_in_a_bigger_world() {
    let number = |name: &str, otherwise: u8| {
        env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(otherwise)
    };
    check(World {
        commits: number("KAIRANBAN_MODEL_COMMITS", 4).into(),
        readings: number("KAIRANBAN_MODEL_READINGS", 2),
        cuts: number("KAIRANBAN_MODEL_CUTS", 1),
        crashes: number("KAIRANBAN_MODEL_CRASHES", 0),
    });
}
