//! The floor: one bare epoll loop that writes the same bytes to the same sockets, and does nothing
//! else. No server of this kind can do less on the same kernel.

use std::{
    collections::HashMap,
    io::{self, Read as _, Write as _},
    net::SocketAddr,
};

use anyhow::Result;
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

use crate::wire;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: \
    chunked\r\n\r\n3\r\n:\n\n\r\n";
const NO_CONTENT: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
const LISTENER: Token = Token(usize::MAX);
const EVENTS: usize = 1_024;

/// Serves `GET /sub`, a stream, and `POST /pub`, whose body is the data of an event, until the
/// process is killed.
///
/// # Errors
/// If the address is taken, or the system refuses to poll.
pub fn serve(address: SocketAddr) -> Result<()> {
    let mut floor = Floor {
        poll: Poll::new()?,
        clients: HashMap::new(),
        readers: Vec::new(),
        next: 0,
    };
    let mut listener = wire::listen(address)?;
    floor
        .poll
        .registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(EVENTS);
    loop {
        floor.poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                LISTENER => floor.accept(&listener)?,
                token => floor.serve(token),
            }
        }
    }
}

struct Floor {
    poll: Poll,
    /// Connections whose request is incomplete, or that publish.
    clients: HashMap<Token, FloorClient>,
    readers: Vec<TcpStream>,
    next: usize,
}

struct FloorClient {
    socket: TcpStream,
    received: Vec<u8>,
}

impl Floor {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            let (mut socket, _) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            socket.set_nodelay(true)?;
            let token = Token(self.next);
            self.next += 1;
            self.poll
                .registry()
                .register(&mut socket, token, Interest::READABLE)?;
            self.clients.insert(
                token,
                FloorClient {
                    socket,
                    received: Vec::new(),
                },
            );
        }
    }

    fn serve(&mut self, token: Token) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        let mut buffer = [0; 4_096];
        loop {
            match client.socket.read(&mut buffer) {
                Ok(0) => return drop(self.clients.remove(&token)),
                Ok(length) => client.received.extend(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return drop(self.clients.remove(&token)),
            }
        }
        let Some(request) = wire::request(&client.received) else {
            return;
        };
        if request.is_post {
            let data = client.received[request.head..request.end].to_vec();
            client.received.drain(..request.end);
            // Answered before delivery, as a server answers after the commit.
            let _ = client.socket.write_all(NO_CONTENT);
            self.publish(&data);
        } else if let Some(mut reader) = self.clients.remove(&token).map(|client| client.socket) {
            let _ = reader.write_all(HEAD);
            self.readers.push(reader);
        }
    }

    fn publish(&mut self, data: &[u8]) {
        let event = [b"data: ", data, b"\n\n"].concat();
        let chunk = [format!("{:x}\r\n", event.len()).as_bytes(), &event, b"\r\n"].concat();
        // A reader that cannot take all of it at once is dropped: the floor has no buffers.
        self.readers.retain_mut(|reader| {
            reader
                .write(&chunk)
                .is_ok_and(|written| written == chunk.len())
        });
    }
}
