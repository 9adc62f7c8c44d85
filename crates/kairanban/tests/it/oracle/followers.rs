//! Readers that follow by our own client, which comes back by itself.

use std::time::{Duration, Instant};

use kairanban_client::{BoardCopy, Client, ClientError, Follow, FollowMany};
use kairanban_core::BoardName;

use super::{BOARDS, Run, SETTLE, Shown, readers::ReaderKind};
use crate::sse;

/// Our own client, which comes back by itself.
enum ClientFollower {
    One(Follow),
    Many(FollowMany),
}

impl ClientFollower {
    fn begin(client: &Client, kind: ReaderKind) -> Self {
        let names = BOARDS.map(|board| board.parse::<BoardName>().expect("a name"));
        match kind {
            ReaderKind::Client => Self::One(client.follow(names[0].clone())),
            _ => Self::Many(client.follow_many(names)),
        }
    }

    async fn next(&mut self) -> Result<(), ClientError> {
        match self {
            Self::One(follow) => follow.next().await.map(drop),
            Self::Many(follow) => follow.next().await.map(drop),
        }
    }

    /// Whether the list of a board is missing behind the cursor.
    fn lacks_a_board(&self) -> bool {
        matches!(self, Self::Many(follow) if follow.cursor().is_some_and(|at| at.contains('~')))
    }

    /// The epoch that it is in, if it has come to a place there.
    fn epoch(&self) -> Option<String> {
        let cursor = match self {
            Self::One(follow) => follow.copy().cursor(),
            Self::Many(follow) => follow.cursor(),
        };
        cursor
            .and_then(|cursor| cursor.split_once('-'))
            .map(|(epoch, _)| epoch.to_owned())
    }

    /// The copies that it has, by board.
    fn copies(&self) -> Vec<&BoardCopy> {
        match self {
            Self::One(follow) => vec![follow.copy()],
            Self::Many(follow) => BOARDS
                .iter()
                .filter_map(|board| follow.copy(&board.parse().expect("a name")))
                .collect(),
        }
    }
}

/// A reader that follows by our own client, and what it has shown so far.
struct FollowingReader<'a> {
    run: &'a Run,
    kind: ReaderKind,
    n: u64,
    /// The epoch and the revision that were shown last, by board.
    newest: [(String, u64); BOARDS.len()],
    /// When it has to have come to the last state, once there is one.
    end: Option<Instant>,
}

/// Follows until the last state is shown, or until there is a fault.
pub(super) fn follow(run: &Run, n: u64, kind: ReaderKind) {
    let address = run.addresses[usize::try_from(n).expect("a number") % run.addresses.len()];
    let client = Client::new(&format!("http://{address}"), None).expect("a client");
    let mut follower = ClientFollower::begin(&client, kind);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut reader = FollowingReader {
        run,
        kind,
        n,
        newest: [const { (String::new(), 0) }; BOARDS.len()],
        end: None,
    };
    loop {
        let next = runtime.block_on(async {
            tokio::time::timeout(Duration::from_millis(500), follower.next()).await
        });
        match next {
            Ok(Err(error @ (ClientError::Differs { .. } | ClientError::Protocol(_)))) => {
                run.fault(format!("{kind:?} {n}: {error}"))
            }
            Ok(Err(error)) => return run.fault(format!("{kind:?} {n} gave up: {error}")),
            _ => {}
        }
        reader.record(&follower);
        // A board that was deleted, and made again, comes on another stream only.
        if run.last.get().is_some() && follower.lacks_a_board() {
            follower = ClientFollower::begin(&client, kind);
        }
        if reader.is_done(&follower) {
            return;
        }
    }
}

fn digest(copy: &BoardCopy) -> String {
    let topics = copy.topics();
    sse::digest(topics.map(|topic| (topic.id.unsigned_abs(), topic.revision)))
}

impl FollowingReader<'_> {
    /// Reports each copy that has changed since the last call.
    fn record(&mut self, follower: &ClientFollower) {
        let Self { run, kind, n, .. } = self;
        // Before the first list, and after a reset, it has come to no place.
        let epoch = follower.epoch().unwrap_or_default();
        let copies = follower.copies();
        for (board, (copy, newest)) in copies.iter().zip(&mut self.newest).enumerate() {
            let now = (epoch.clone(), copy.revision());
            if epoch.is_empty() || copy.revision() == 0 || now == *newest {
                continue;
            }
            if newest.0 == epoch && copy.revision() < newest.1 {
                run.fault(format!(
                    "{kind:?} {n}: the revision fell from {} to {}",
                    newest.1,
                    copy.revision()
                ));
            }
            *newest = now;
            let shown = Shown::Digest(digest(copy));
            run.saw((epoch.clone(), board, copy.revision(), shown));
        }
    }

    /// Whether the last state is shown; also after a fault, when it should have been.
    fn is_done(&mut self, follower: &ClientFollower) -> bool {
        let Some(last) = self.run.last.get() else {
            return false;
        };
        let end = *self.end.get_or_insert_with(|| Instant::now() + SETTLE);
        let copies = follower.copies();
        if copies
            .iter()
            .enumerate()
            .all(|(board, copy)| last.ends_with(board, &Shown::Digest(digest(copy))))
        {
            return true;
        }
        let is_late = Instant::now() > end;
        if is_late {
            let (kind, n) = (self.kind, self.n);
            self.run
                .fault(format!("{kind:?} {n} did not come to the end"));
        }
        is_late
    }
}
