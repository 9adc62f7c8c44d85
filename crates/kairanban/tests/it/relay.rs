//! A link that can swallow every byte, or break at any.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use crate::node::Database;

/// A link to `target` that can be made to swallow everything, or to break.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    link: Arc<LinkState>,
}

struct LinkState {
    silent: AtomicBool,
    /// How many of the next bytes from the target are held back while the link breaks; `usize::MAX`
    /// if it stays.
    held_back: AtomicUsize,
    connections: Mutex<Vec<TcpStream>>,
}

impl Relay {
    pub(crate) fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let link = Arc::new(LinkState {
            silent: AtomicBool::new(false),
            held_back: AtomicUsize::new(usize::MAX),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&link);
        thread::spawn(move || {
            for here in listener.incoming().map_while(Result::ok) {
                // Without a target the connection ends at once.
                if let Ok(there) = TcpStream::connect(&target) {
                    accepting.carry(here, there);
                }
            }
        });
        Self { address, link }
    }

    /// From now on no byte arrives, and no end does.
    pub(crate) fn swallow(&self) {
        self.link.silent.store(true, Ordering::SeqCst);
    }

    /// Lets everything through again; what was cut off in the middle stays broken.
    pub(crate) fn heal(&self) {
        self.link.silent.store(false, Ordering::SeqCst);
        self.cut();
    }

    /// Ends all connections of the relay.
    pub(crate) fn cut(&self) {
        self.link.cut();
    }

    /// Ends all connections with the next thing that the target sends, whose last bytes never
    /// arrive.
    pub(crate) fn cut_short_by(&self, bytes: usize) {
        self.link.held_back.store(bytes, Ordering::SeqCst);
    }
}

impl LinkState {
    fn carry(self: &Arc<Self>, here: TcpStream, there: TcpStream) {
        self.connections
            .lock()
            .expect("a lock")
            .extend([&here, &there].map(|end| end.try_clone().expect("a handle")));
        let (link, mut from, mut to) = (
            Arc::clone(self),
            here.try_clone().expect("a handle"),
            there.try_clone().expect("a handle"),
        );
        thread::spawn(move || link.pass(&mut from, &mut to, false));
        let (link, mut from, mut to) = (Arc::clone(self), there, here);
        thread::spawn(move || link.pass(&mut from, &mut to, true));
    }

    /// Passes bytes on until an end goes away, and then the end.
    fn pass(&self, from: &mut TcpStream, to: &mut TcpStream, is_back: bool) {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if self.silent.load(Ordering::SeqCst) {
                continue;
            }
            let held_back = if is_back {
                self.held_back.swap(usize::MAX, Ordering::SeqCst)
            } else {
                usize::MAX
            };
            let is_cut = held_back != usize::MAX;
            let passed = if is_cut {
                count.saturating_sub(held_back)
            } else {
                count
            };
            if to.write_all(&bytes[..passed]).is_err() {
                break;
            }
            if is_cut {
                self.cut();
            }
        }
        if !self.silent.load(Ordering::SeqCst) {
            // It may have ended by itself.
            let _ = to.shutdown(Shutdown::Write);
        }
    }

    fn cut(&self) {
        for end in self.connections.lock().expect("a lock").drain(..) {
            // It may have ended by itself.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

/// The same database through a relay.
pub(crate) fn relayed(database: &Database) -> (Relay, String) {
    let url = database.url();
    let server = url
        .split('@')
        .nth(1)
        .and_then(|rest| rest.split('/').next())
        .expect("a server")
        .to_owned();
    let relay = Relay::to(server.clone());
    let url = url.replace(&server, &relay.address.to_string());
    (relay, url)
}
