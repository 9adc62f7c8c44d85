//! The lock and the channel that the hub's order rests on. With the feature `interleavings` they
//! are replaced by ones that try out many interleavings of threads (`tests/interleavings.rs`).

#[cfg(not(feature = "interleavings"))]
pub use std::sync::{Mutex, MutexGuard};
#[cfg(not(feature = "interleavings"))]
pub use tokio::sync::broadcast;

#[cfg(feature = "interleavings")]
pub use shuttle::sync::{Mutex, MutexGuard};

/// As tokio's channel of this name, as far as the hub uses it, on shuttle's lock.
#[cfg(feature = "interleavings")]
#[expect(missing_docs, reason = "as tokio's")]
pub mod broadcast {
    use std::{collections::VecDeque, sync::Arc};

    use shuttle::sync::Mutex;

    pub mod error {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum TryRecvError {
            Empty,
            Closed,
            Lagged(u64),
        }
    }
    use error::TryRecvError;

    #[derive(Debug)]
    struct Channel<T> {
        /// The newest values, oldest first.
        waiting: VecDeque<T>,
        sent: u64,
        receivers: usize,
        capacity: usize,
    }

    #[derive(Debug)]
    pub struct Sender<T>(Arc<Mutex<Channel<T>>>);

    #[derive(Debug)]
    pub struct Receiver<T> {
        channel: Arc<Mutex<Channel<T>>>,
        next: u64,
    }

    impl<T: Clone> Sender<T> {
        #[must_use]
        pub fn new(capacity: usize) -> Self {
            let capacity = capacity.next_power_of_two();
            Self(Arc::new(Mutex::new(Channel {
                waiting: VecDeque::new(),
                sent: 0,
                receivers: 0,
                capacity,
            })))
        }

        pub fn subscribe(&self) -> Receiver<T> {
            let mut channel = self.0.lock().expect("no panic");
            channel.receivers += 1;
            Receiver {
                channel: Arc::clone(&self.0),
                next: channel.sent,
            }
        }

        pub fn receiver_count(&self) -> usize {
            self.0.lock().expect("no panic").receivers
        }

        pub fn send(&self, value: T) -> Result<usize, T> {
            let mut channel = self.0.lock().expect("no panic");
            if channel.receivers == 0 {
                return Err(value);
            }
            channel.sent += 1;
            channel.waiting.push_back(value);
            if channel.waiting.len() > channel.capacity {
                channel.waiting.pop_front();
            }
            Ok(channel.receivers)
        }
    }

    impl<T: Clone> Receiver<T> {
        pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
            let channel = self.channel.lock().expect("no panic");
            let oldest = channel.sent - channel.waiting.len() as u64;
            if self.next < oldest {
                let missed = oldest - self.next;
                self.next = oldest;
                return Err(TryRecvError::Lagged(missed));
            }
            let index = usize::try_from(self.next - oldest).unwrap_or(usize::MAX);
            let value = channel
                .waiting
                .get(index)
                .cloned()
                .ok_or(TryRecvError::Empty)?;
            self.next += 1;
            Ok(value)
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            self.channel.lock().expect("no panic").receivers -= 1;
        }
    }
}
