//! Noticing that what a reader may do has changed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::{FutureExt as _, future::BoxFuture, task::AtomicWaker};

use crate::auth::Caller;

/// Waits for a change of what the caller's token allows. For who needs no token there is none, and it takes no room.
pub(super) struct Leave(Option<Box<Waiting>>);

struct Waiting {
    changed: BoxFuture<'static, ()>,
    bell: Arc<Bell>,
    /// The bell, as the future rings it.
    rope: Waker,
}

/// Says whether it is worth asking: streams are woken by news far more often than by this.
struct Bell {
    has_rung: AtomicBool,
    stream: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        self.stream.wake();
    }
}

impl Leave {
    /// Waits for the next change.
    pub(super) fn of(caller: &Caller) -> Self {
        Self(caller.changed().map(|changed| {
            let bell = Arc::new(Bell {
                has_rung: AtomicBool::new(true),
                stream: AtomicWaker::new(),
            });
            Box::new(Waiting {
                changed,
                rope: Arc::clone(&bell).into(),
                bell,
            })
        }))
    }

    /// Ready when something has changed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(Waiting {
            changed,
            bell,
            rope,
        }) = self.0.as_deref_mut()
        else {
            return Poll::Pending;
        };
        bell.stream.register(cx.waker());
        if !bell.has_rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        changed.poll_unpin(&mut Context::from_waker(rope))
    }
}
