use super::*;
use crate::{
    BoardInfo, ReadPolicy, ReplayBuffer,
    fixtures::{changes, snapshot},
};

const TTL: Duration = Duration::from_secs(60);

fn name() -> BoardName {
    "main".parse().expect("a name")
}

fn at_2(info: Option<BoardInfo>) -> BoardChange {
    BoardChange {
        revision: Revision::new(2).expect("a revision"),
        info,
        named_at: None,
    }
}

/// Returns an empty board at a revision.
fn load(revision: u64) -> BoardLoad {
    let snapshot = snapshot(revision, &[]);
    BoardLoad {
        board_id: BoardId(1),
        policies: Policies::default(),
        replay_buffer: ReplayBuffer::new(snapshot.revision(), [], 8),
        named_at: Revision::ZERO,
        snapshot,
    }
}

/// Returns a hub with an empty board at revision 1.
fn hub() -> Hub {
    let hub = Hub::new(500, 2);
    hub.install(&hub.channel(&name()), load(1), Instant::now())
        .expect("nothing missed");
    hub
}

#[tokio::test]
async fn every_subscriber_is_sent_the_same_update() {
    let hub = hub();
    let mut readers = [hub.subscribe(&name()), hub.subscribe(&name())];
    hub.publish(&name(), None, &changes(&[(2, 1, true)]));
    let [first, second] = &mut readers;
    let (first, second) = (first.next().await, second.next().await);
    let (Ok(BoardEvent::Update(first)), Ok(BoardEvent::Update(second))) = (first, second) else {
        panic!("an update each")
    };
    assert!(Arc::ptr_eq(&first, &second), "shared, not copied");
}

#[tokio::test]
async fn a_reader_that_fell_behind_finds_the_newest_snapshot() {
    let hub = hub();
    let mut reader = hub.subscribe(&name());
    for revision in 2..9 {
        hub.publish(&name(), None, &changes(&[(revision, 1, true)]));
    }
    assert!(matches!(reader.next().await, Err(Lagged)));
    assert_eq!(
        reader
            .channel
            .live()
            .last_known()
            .map(|newest| newest.revision().get()),
        Some(8)
    );
}

#[tokio::test]
async fn a_deleted_board_ends_its_streams_and_a_renamed_one_too() {
    for now in [None, Some("other".parse().expect("a name"))] {
        let hub = hub();
        let mut reader = hub.subscribe(&name());
        let info = now.map(|name| BoardInfo {
            name,
            policies: Policies::default(),
        });
        hub.apply_policies(&[(BoardId(1), at_2(info))].into());
        assert!(matches!(reader.try_next(), Some(Ok(BoardEvent::Gone))));
        assert!(hub.is_empty());
    }
}

#[tokio::test]
async fn a_name_that_went_to_another_board_ends_the_streams_of_the_one_before() {
    let hub = hub();
    let mut reader = hub.subscribe(&name());
    let info = Some(BoardInfo {
        name: name(),
        policies: Policies::default(),
    });
    hub.apply_policies(&[(BoardId(2), at_2(info))].into());
    assert!(matches!(reader.try_next(), Some(Ok(BoardEvent::Gone))));
    assert!(hub.is_empty());
}

#[tokio::test]
async fn a_load_of_another_board_that_overtakes_the_follower_ends_the_streams() {
    let hub = hub();
    let mut reader = hub.subscribe(&name());
    let snapshot = snapshot(2, &[(1, 2)]);
    let other = BoardLoad {
        board_id: BoardId(2),
        named_at: snapshot.revision(),
        snapshot,
        ..load(2)
    };
    assert!(hub.install(&reader.channel, other, Instant::now()).is_err());
    assert!(matches!(reader.next().await, Ok(BoardEvent::Gone)));
    assert!(hub.is_empty());
}

#[tokio::test]
async fn readers_of_a_board_that_takes_a_token_now_are_notified() {
    let hub = hub();
    let mut reader = hub.subscribe(&name());
    let policies = Policies {
        read: ReadPolicy::Token,
        ..Policies::default()
    };
    let now = Some(BoardInfo {
        name: name(),
        policies,
    });
    hub.apply_policies(&[(BoardId(1), at_2(now)), (BoardId(2), at_2(None))].into());
    let event = reader.try_next();
    assert!(matches!(event, Some(Ok(BoardEvent::PolicyChanged))));
    assert!(reader.try_next().is_none(), "its stream goes on");
    assert!(!hub.is_empty());
    assert_eq!(reader.channel.live().policies(), Some(policies));
}

#[test]
fn evicts_only_what_no_reader_needs() {
    let (hub, now) = (hub(), Instant::now());
    hub.evict(now, TTL);
    assert_eq!(hub.boards.len(), 1, "still fresh");
    let reader = hub.subscribe(&name());
    hub.evict(now + TTL * 2, TTL);
    assert_eq!(hub.boards.len(), 1, "watched");
    drop(reader);
    hub.evict(now + TTL * 2, TTL);
    assert_eq!(hub.boards.len(), 0);
}

#[test]
fn a_name_of_no_board_is_evicted_unless_other_readers_wait_for_it() {
    let hub = Hub::new(500, 2);
    let (mine, other) = (hub.channel(&name()), hub.subscribe(&name()));
    hub.evict_absent(&name(), &mine);
    assert_eq!(hub.boards.len(), 1, "a reader waits");
    drop(other);
    hub.evict_absent(&name(), &mine);
    assert_eq!(hub.boards.len(), 0);
}

#[test]
fn a_load_that_began_before_a_board_may_have_become_private_does_not_count() {
    let hub = Hub::new(500, 2);
    let channel = hub.channel(&name());
    let began = channel.live().invalidations();
    // It is not known yet whether it is this board.
    hub.apply_policies(&HashMap::from([(BoardId(1), at_2(None))]));
    for _ in 0..2 {
        assert_eq!(
            hub.install_since(&channel, began, load(1), Instant::now()),
            Err(OutdatedLoad)
        );
    }
    let began = channel.live().invalidations();
    assert!(
        hub.install_since(&channel, began, load(2), Instant::now())
            .is_ok()
    );
}
