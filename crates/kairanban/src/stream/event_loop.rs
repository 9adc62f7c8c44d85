//! Runs the loop of all streams: what was queued, then timers, then events.

use std::task::{Context, Poll, ready};

use kairanban_core::{Delivery, Step};

use super::lifetime::{Next, StreamLifetime, Woken};
use crate::encode::Chunk;

/// A stream that is fed by the events of boards.
pub(super) trait EventStream {
    fn life(&mut self) -> &mut StreamLifetime;

    /// Whether the reader may still read what the stream shows.
    fn may_go_on(&self) -> bool;

    /// Takes the events that arrived, and queues what they require. Ready when there were any.
    fn poll_events(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Ends the stream of a reader who may no longer read.
    fn check_permission(&mut self) {
        if !self.life().has_ended() && !self.may_go_on() {
            self.life().disconnect();
        }
    }

    /// Does what comes before a step's delivery, and returns what is left to deliver: nothing once the stream has ended.
    fn prepare(&mut self, step: Step) -> Delivery {
        if step.check_permission {
            self.check_permission();
        }
        if let Some(staleness) = step.staleness {
            self.life().set_board_stale(staleness.since);
        }
        if self.life().has_ended() {
            return Delivery::Nothing;
        }
        step.delivery
    }

    /// Returns what to send next, or `None` at the end.
    fn poll_chunks(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<Chunk>>> {
        loop {
            match self.life().next() {
                Next::Send(chunks) => return Poll::Ready(Some(chunks)),
                Next::End => return Poll::Ready(None),
                Next::Wait => {}
            }
            // Events last: a flood must not keep a reader in who has to leave.
            match self.life().poll(cx) {
                Poll::Ready(Woken::PermissionWatch) => self.check_permission(),
                Poll::Ready(Woken::Tick) => {
                    self.check_permission();
                    self.life().tick();
                }
                Poll::Ready(Woken::Queued) => {}
                Poll::Pending => ready!(self.poll_events(cx)),
            }
        }
    }
}
