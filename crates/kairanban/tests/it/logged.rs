//! The program with what it says on stdout and stderr kept, started as the test likes.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{node::program, wire::PATIENCE};

/// Running, or ended. Killed when dropped.
pub(crate) struct Logged {
    child: Child,
    folder: tempfile::TempDir,
}

impl Logged {
    /// `environment` with whole names.
    pub(crate) fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = program();
        if arguments.is_empty() {
            // Another program may be at the default address.
            command.env("KAIRANBAN_SERVER__LISTEN", "127.0.0.1:0");
        }
        command.args(arguments).envs(environment.iter().copied());
        Self::run(command)
    }

    pub(crate) fn run(mut command: Command) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [out, err] =
            ["out", "err"].map(|name| fs::File::create(folder.path().join(name)).expect("a file"));
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .expect("the program");
        Self { child, folder }
    }

    /// A server, on a port of the system's choice.
    pub(crate) fn serve(environment: &[(&str, &str)]) -> Self {
        Self::start(&["--listen", "127.0.0.1:0"], environment)
    }

    pub(crate) fn out(&self) -> String {
        fs::read_to_string(self.folder.path().join("out")).expect("text")
    }

    pub(crate) fn err(&self) -> String {
        fs::read_to_string(self.folder.path().join("err")).expect("text")
    }

    /// Waits until it serves. Returns where.
    pub(crate) fn address(&mut self) -> SocketAddr {
        self.until("it serves", |program| program.out().contains("Ctrl-C"));
        let out = self.out();
        let address = out
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next())
            .expect("an address");
        address.parse().expect("an address")
    }

    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE * 3;
        while !is_so(self) {
            assert!(
                self.child.try_wait().expect("a status").is_none(),
                "it ended before {what}: {}",
                self.err()
            );
            assert!(
                Instant::now() < deadline,
                "not in time: {what}; {}{}",
                self.out(),
                self.err()
            );
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Waits for its end. Returns the exit code, and all that it said.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + PATIENCE * 3;
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return (status.code(), self.out() + &self.err());
            }
            assert!(
                Instant::now() < deadline,
                "still running: {}{}",
                self.out(),
                self.err()
            );
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Runs to the end.
    pub(crate) fn ended(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
        Self::start(arguments, environment).end()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Carries bytes to `target` and back, each of them `delay` late. Until the end of the tests.
pub(crate) fn relay(listener: TcpListener, target: String, delay: Duration) {
    thread::spawn(move || {
        for here in listener.incoming().map_while(Result::ok) {
            let there = TcpStream::connect(&target).expect("the target");
            for (from, to) in [(&here, &there), (&there, &here)] {
                let (mut from, mut to) = (
                    from.try_clone().expect("a handle"),
                    to.try_clone().expect("a handle"),
                );
                thread::spawn(move || {
                    let mut bytes = [0; 16_384];
                    while let Ok(count @ 1..) = from.read(&mut bytes) {
                        let at = Instant::now() + delay;
                        while Instant::now() < at {
                            thread::park_timeout(at - Instant::now());
                        }
                        if to.write_all(&bytes[..count]).is_err() {
                            return;
                        }
                    }
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
}
