//! Watches for changes of a reader's permissions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::{FutureExt as _, future::BoxFuture, task::AtomicWaker};

use crate::auth::Caller;

/// Waits for a change of what the caller's token allows. Without a token there is nothing to wait
/// for.
pub(super) struct PermissionWatch(Option<Box<Waiting>>);

struct Waiting {
    changed: BoxFuture<'static, ()>,
    flag: Arc<FlagWaker>,
    /// The flag, as the waker of the future.
    waker: Waker,
}

/// A waker that records whether the future has to be polled: streams are woken by events far more
/// often than by it.
struct FlagWaker {
    is_set: AtomicBool,
    stream: AtomicWaker,
}

impl Wake for FlagWaker {
    fn wake(self: Arc<Self>) {
        self.is_set.store(true, Ordering::Release);
        self.stream.wake();
    }
}

impl PermissionWatch {
    /// Starts to wait for the next change.
    pub(super) fn of(caller: &Caller) -> Self {
        Self(caller.changed().map(|changed| {
            let flag = Arc::new(FlagWaker {
                is_set: AtomicBool::new(true),
                stream: AtomicWaker::new(),
            });
            Box::new(Waiting {
                changed,
                waker: Arc::clone(&flag).into(),
                flag,
            })
        }))
    }

    /// Waits until something has changed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(Waiting {
            changed,
            flag,
            waker,
        }) = self.0.as_deref_mut()
        else {
            return Poll::Pending;
        };
        flag.stream.register(cx.waker());
        if !flag.is_set.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        changed.poll_unpin(&mut Context::from_waker(waker))
    }
}
