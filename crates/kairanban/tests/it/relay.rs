//! A link that can swallow every byte.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::node::Database;

/// A link to `target` that can be made to swallow everything.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    silent: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    pub(crate) fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (address, silent) = (
            listener.local_addr().expect("an address"),
            Arc::new(AtomicBool::new(false)),
        );
        let connections = Arc::new(Mutex::new(Vec::new()));
        let (is_silent, all) = (Arc::clone(&silent), Arc::clone(&connections));
        thread::spawn(move || {
            for here in listener.incoming().map_while(Result::ok) {
                let there = TcpStream::connect(&target).expect("the target");
                all.lock()
                    .expect("a lock")
                    .extend([&here, &there].map(|end| end.try_clone().expect("a handle")));
                for (from, to) in [(&here, &there), (&there, &here)] {
                    let (mut from, mut to) = (
                        from.try_clone().expect("a handle"),
                        to.try_clone().expect("a handle"),
                    );
                    let is_silent = Arc::clone(&is_silent);
                    thread::spawn(move || {
                        let mut bytes = [0; 4096];
                        while let Ok(count @ 1..) = from.read(&mut bytes) {
                            if !is_silent.load(Ordering::SeqCst)
                                && to.write_all(&bytes[..count]).is_err()
                            {
                                return;
                            }
                        }
                    });
                }
            }
        });
        Self {
            address,
            silent,
            connections,
        }
    }

    /// From now on no byte arrives, and no end does.
    pub(crate) fn swallow(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// Lets everything through again; what was cut off in the middle stays broken.
    pub(crate) fn heal(&self) {
        self.silent.store(false, Ordering::SeqCst);
        self.cut();
    }

    /// Ends all connections of the relay.
    pub(crate) fn cut(&self) {
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
