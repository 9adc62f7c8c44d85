mod multi_board;

use std::{collections::BTreeMap, time::Instant};

use proptest::prelude::*;

use super::*;
use crate::{
    BoardId, BoardLoad, Hub, Op, Policies, ReplayBuffer, Subscription,
    fixtures::{changes, snapshot},
};

type Event = Result<BoardEvent, Lagged>;

fn cursor(text: &str) -> Cursor {
    text.parse().expect("a cursor")
}

fn list(at: &str) -> Arc<Snapshot> {
    let board = "main".parse().expect("a name");
    Arc::new(Snapshot::new(board, cursor(at), Vec::new()))
}

/// A hub whose readers may fall two events behind, with a board at that cursor.
fn hub(at: &str) -> Hub {
    let hub = Hub::new(500, 2);
    load(&hub, list(at));
    hub
}

fn load(hub: &Hub, list: Arc<Snapshot>) {
    let snapshot = Arc::try_unwrap(list).expect("the only reference");
    let loaded = BoardLoad {
        board_id: BoardId(1),
        policies: Policies::default(),
        replay_buffer: ReplayBuffer::new(snapshot.revision(), [], 8),
        named_at: Revision::ZERO,
        snapshot,
    };
    let channel = hub.channel(&"main".parse().expect("a name"));
    hub.install(&channel, loaded, Instant::now())
        .expect("nothing missed");
}

fn post(hub: &Hub, revision: u64, id: i64, shown: bool) {
    let board = "main".parse().expect("a name");
    hub.publish(&board, None, &changes(&[(revision, id, shown)]));
}

/// The update from a list at `from` to one at `to`.
fn update(from: u64, to: u64) -> Event {
    let hub = hub(&format!("e-{from}"));
    let mut subscription = hub.subscribe(&"main".parse().expect("a name"));
    post(&hub, to, 1, true);
    subscription.try_next().expect("an update")
}

/// A new epoch that begins with the list at a cursor.
fn reset(at: &str) -> Event {
    Ok(BoardEvent::HistoryReset(list(at)))
}

/// Describes a step in one line.
fn said(step: &Step) -> String {
    let delivery = match &step.delivery {
        Delivery::Nothing => "nothing".to_owned(),
        Delivery::Patch(update) => format!("patch to {}", update.patch.to),
        Delivery::List(update) => format!("list {}", update.snapshot.cursor()),
        Delivery::Snapshot {
            snapshot,
            since,
            reset,
        } => {
            let since = since.map(|since| format!(" since {since}"));
            let reset = reset.map(|reason| format!(" after reset {}", reason.as_str()));
            let (since, reset) = (since.unwrap_or_default(), reset.unwrap_or_default());
            format!("list {}{since}{reset}", snapshot.cursor())
        }
        Delivery::End => "end".to_owned(),
    };
    let staleness = match step.staleness {
        None => "",
        Some(Staleness { since: Some(_) }) => "stale, ",
        Some(Staleness { since: None }) => "fresh, ",
    };
    let check = if step.check_permission { "check, " } else { "" };
    format!("{check}{staleness}{delivery}")
}

/// An event for a reader at e-5, the state of the board, the step, and the reader's cursor after
/// it.
type Case = (Event, &'static str, &'static str, &'static str);

#[track_caller]
fn assert_steps(cases: impl IntoIterator<Item = Case>) {
    for (event, board, expected, sent) in cases {
        let about = format!("{event:?}, {board}");
        let channel = hub(board).channel(&"main".parse().expect("a name"));
        let mut reader = ReaderPosition::new(cursor("e-5"));
        let step = reader.on(event, || channel.live());
        assert_eq!(said(&step), expected, "{about}");
        assert_eq!(reader.sent().to_string(), sent, "{about}");
    }
}

#[test]
fn an_update_is_sent_as_a_patch_or_over_a_gap_as_the_list() {
    assert_steps([
        (update(5, 6), "e-6", "patch to e-6", "e-6"),
        (update(4, 7), "e-7", "patch to e-7", "e-7"),
        (update(6, 8), "e-8", "list e-8", "e-8"),
        (update(4, 5), "e-5", "nothing", "e-5"),
        (update(3, 4), "e-9", "nothing", "e-5"),
    ]);
}

#[test]
fn a_new_epoch_is_sent_once() {
    let [early, late] = [
        "check, fresh, list f-2 after reset epoch",
        "check, fresh, list f-9 after reset epoch",
    ];
    assert_steps([
        (reset("f-2"), "f-2", early, "f-2"),
        (reset("f-9"), "f-9", late, "f-9"),
        (reset("e-9"), "e-9", "check, fresh, nothing", "e-5"),
    ]);
}

#[test]
fn events_about_the_board_itself_send_no_list() {
    let stale = BoardEvent::Stale(DateTime::UNIX_EPOCH);
    let policy = BoardEvent::PolicyChanged;
    assert_steps([
        (Ok(policy), "e-9", "check, nothing", "e-5"),
        (Ok(stale), "e-9", "stale, nothing", "e-5"),
        (Ok(BoardEvent::Fresh), "e-9", "fresh, nothing", "e-5"),
        (Ok(BoardEvent::Gone), "e-9", "end", "e-5"),
    ]);
}

#[test]
fn a_reader_that_fell_behind_is_sent_the_newest_list_if_it_lacks_it() {
    let [newer, other_epoch] = [
        "check, fresh, list e-9 since 5 after reset lagged",
        "check, fresh, list f-2 after reset epoch",
    ];
    assert_steps([
        (Err(Lagged), "e-9", newer, "e-9"),
        (Err(Lagged), "e-5", "check, fresh, nothing", "e-5"),
        (Err(Lagged), "e-4", "check, fresh, nothing", "e-5"),
        (Err(Lagged), "f-2", other_epoch, "f-2"),
    ]);
}

#[test]
fn a_reader_that_fell_behind_on_a_board_that_is_being_read_waits() {
    let mut reader = ReaderPosition::new(cursor("e-5"));
    let mut board = BoardState::default();
    board.become_stale(DateTime::UNIX_EPOCH, Revision::ZERO);
    let step = reader.on(Err(Lagged), || &board);
    assert_eq!(said(&step), "check, stale, nothing");
}

#[test]
fn only_a_reader_that_fell_behind_locks_the_board() {
    let mut reader = ReaderPosition::new(cursor("e-5"));
    fn untouched() -> &'static BoardState {
        unreachable!("it takes a lock")
    }
    for event in [update(5, 6), update(9, 10), update(2, 3)] {
        reader.on(event, untouched);
    }
    reader.on(reset("f-1"), untouched);
}

/// A client that follows a board, and what it shows.
struct Client {
    subscription: Subscription,
    position: ReaderPosition,
    shown: BTreeMap<i64, u64>,
}

fn listed(snapshot: &Snapshot) -> BTreeMap<i64, u64> {
    let topics = snapshot.topics().iter();
    topics
        .map(|topic| (topic.id.0, topic.revision.get()))
        .collect()
}

impl Client {
    /// Receives the next event, and returns whether there was one.
    fn receive(&mut self) -> bool {
        let Some(event) = self.subscription.try_next() else {
            return false;
        };
        let channel = &self.subscription.channel;
        match self.position.on(event, || channel.live()).delivery {
            Delivery::Nothing => {}
            Delivery::Patch(update) => {
                for op in &update.patch.ops {
                    match op {
                        Op::Set(topic) => {
                            self.shown.insert(topic.id.0, topic.revision.get());
                        }
                        Op::Delete { id, .. } => drop(self.shown.remove(&id.0)),
                    }
                }
            }
            Delivery::List(update) => self.shown = listed(&update.snapshot),
            Delivery::Snapshot { snapshot, .. } => self.shown = listed(&snapshot),
            Delivery::End => panic!("the board is there"),
        }
        true
    }
}

proptest! {
    /// However posts and deletes, and what a reader takes, follow each other: it shows a list that
    /// there was, at no earlier revision than before, and the newest in the end.
    #[test]
    fn a_reader_shows_only_lists_that_there_were(
        began in 1_u64..4,
        commits in proptest::collection::vec(
            (1_i64..4, proptest::bool::weighted(0.6), 0_usize..3), 1..30,
        ),
    ) {
        let hub = hub("e-3");
        // Its cursor may be from before the first event of its channel.
        let mut client = Client {
            subscription: hub.subscribe(&"main".parse().expect("a name")),
            position: ReaderPosition::new(snapshot(began, &[]).cursor().clone()),
            shown: BTreeMap::new(),
        };
        let mut truth = BTreeMap::from([(began, BTreeMap::new()), (3, BTreeMap::new())]);
        let mut topics = BTreeMap::new();
        for (revision, (id, is_set, received)) in (4..).zip(commits) {
            if is_set {
                topics.insert(id, revision);
            } else {
                topics.remove(&id);
            }
            truth.insert(revision, topics.clone());
            post(&hub, revision, id, is_set);
            for _ in 0..received {
                let before = client.position.sent().revision;
                client.receive();
                let at = client.position.sent().revision;
                prop_assert!(at >= before);
                prop_assert_eq!(Some(&client.shown), truth.get(&at.get()));
            }
        }
        while client.receive() {}
        prop_assert_eq!(client.shown, topics);
    }
}

#[test]
fn a_reader_that_was_brought_into_a_new_epoch_is_sent_nothing_of_the_old_one() {
    let hub = hub("e-5");
    let board = "main".parse().expect("a name");
    let mut subscription = hub.subscribe(&board);
    let mut reader = ReaderPosition::new(cursor("e-5"));
    (6..9).for_each(|revision| post(&hub, revision, 1, true));
    hub.restart(&"f".parse().expect("an epoch"));
    load(&hub, list("f-2"));
    let channel = Arc::clone(&subscription.channel);
    while let Some(event) = subscription.try_next() {
        reader.on(event, || channel.live());
    }
    assert_eq!(reader.sent().to_string(), "f-2");
}
