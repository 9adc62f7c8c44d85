//! A proxy, started with a configuration of `config/proxies`.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output},
    thread,
    time::{Duration, Instant},
};

const CONFIGURATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/proxies");
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Nginx,
    Caddy,
    HaProxy,
}

/// A proxy before two servers. Ended when dropped.
pub(super) struct Proxy {
    pub(super) port: u16,
    kind: Kind,
    nodes: [SocketAddr; 2],
    folder: tempfile::TempDir,
    child: Child,
}

impl Proxy {
    pub(super) fn start(kind: Kind, nodes: [SocketAddr; 2]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        make_certificate(folder.path());
        let port = free_port();
        let configuration = configure(kind, folder.path(), port, nodes);
        let child = command(kind, folder.path(), &configuration)
            .spawn()
            .unwrap_or_else(|error| panic!("{kind:?}: {error}; scripts/setup installs it"));
        let proxy = Self {
            port,
            kind,
            nodes,
            folder,
            child,
        };
        proxy.wait_for_both();
        proxy
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.folder.path().join("board.example.crt")
    }

    /// Waits until the proxy answers, and has had time to ask both servers for their health: once
    /// a second, by its configuration.
    pub(super) fn wait_for_both(&self) {
        let began = Instant::now();
        let mut since = None;
        // nginx does not ask; it tries a server that failed again after a second.
        while since.is_none_or(|since: Instant| since.elapsed() < Duration::from_secs(3)) {
            let both = self.nodes.iter().all(|node| is_open(*node));
            if both && is_open(SocketAddr::from(([127, 0, 0, 1], self.port))) {
                since.get_or_insert_with(Instant::now);
            } else {
                since = None;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{:?} does not answer",
                self.kind
            );
            thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_open(address: SocketAddr) -> bool {
    std::net::TcpStream::connect(address).is_ok()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

fn make_certificate(folder: &Path) {
    let output = Command::new("openssl")
        .current_dir(folder)
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args(["-days", "2", "-subj", "/CN=board.example"])
        .args(["-addext", "subjectAltName=DNS:board.example"])
        .args(["-keyout", "board.example.key", "-out", "board.example.crt"])
        .output();
    succeeded(&output.expect("openssl"));
    let both = ["crt", "key"].map(|ending| {
        fs::read_to_string(folder.join(format!("board.example.{ending}"))).expect("made")
    });
    // HAProxy reads both from one file; the others skip the key.
    fs::write(folder.join("board.example.pem"), both.concat()).expect("written");
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

/// Writes the configuration with the addresses, the port and the certificate of the test. Each
/// line that is replaced must be there.
fn configure(kind: Kind, folder: &Path, port: u16, nodes: [SocketAddr; 2]) -> PathBuf {
    let (name, listening) = match kind {
        Kind::Nginx => (
            "nginx.conf",
            ("listen 443 ssl", format!("listen 127.0.0.1:{port} ssl")),
        ),
        Kind::Caddy => (
            "Caddyfile",
            (
                "board.example {",
                format!("https://board.example:{port} {{"),
            ),
        ),
        Kind::HaProxy => (
            "haproxy.cfg",
            ("bind :443", format!("bind 127.0.0.1:{port}")),
        ),
    };
    let text = fs::read_to_string(Path::new(CONFIGURATIONS).join(name)).expect("a configuration");
    let ours = [
        (listening.0, listening.1),
        ("127.0.0.1:8081", nodes[0].to_string()),
        ("127.0.0.1:8082", nodes[1].to_string()),
        ("/etc/kairanban", folder.display().to_string()),
    ];
    let text = ours.iter().fold(text, |text, (theirs, ours)| {
        assert!(text.contains(theirs), "{name} has no {theirs}");
        text.replace(theirs, ours)
    });
    let folder = folder.display();
    let text = match kind {
        Kind::Nginx => format!(
            "daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
             events {{ worker_connections 256; }}
             http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
             fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
             {text} }}"
        ),
        // Nothing but the board: no redirect at port 80, no administration.
        Kind::Caddy => format!("{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{text}"),
        Kind::HaProxy => text,
    };
    let path = Path::new(&folder.to_string()).join(name);
    fs::write(&path, text).expect("written");
    path
}

fn command(kind: Kind, folder: &Path, configuration: &Path) -> Command {
    let mut command = match kind {
        Kind::Nginx => {
            let mut command = Command::new("nginx");
            command.arg("-c").arg(configuration).arg("-p").arg(folder);
            command
        }
        Kind::Caddy => {
            let mut command = Command::new("caddy");
            command
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(configuration);
            command
        }
        Kind::HaProxy => {
            let mut command = Command::new("haproxy");
            command.args(["-db", "-f"]).arg(configuration);
            command
        }
    };
    // Caddy keeps files at home, and logs much.
    let log = fs::File::create(folder.join("log")).expect("a log");
    command.env("HOME", folder).env("PATH", with_sbin());
    command.stdout(log.try_clone().expect("a log")).stderr(log);
    command
}

/// The folders of `PATH`, and those where Debian has servers.
fn with_sbin() -> String {
    format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    )
}
