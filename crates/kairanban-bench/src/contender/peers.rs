//! Peers. Each is taken from its own package or built from its public source, and measured where its
//! program is found on the `PATH`.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use anyhow::Context as _;
use memchr::memmem;

use super::{Contender, any_bytes_will_do, ask, missing, nothing_to_prepare};
use crate::wire;

const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
/// `{"mercure":{"publish":["*"]}}`, signed by the key in the configuration.
const MERCURE_TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJtZXJjdXJlIjp7InB1Ymxpc2giOlsiKiJdfX0.\
    a8cjcSRUAcHdnGNMKifA4BK5epRXxQI0UBp2XpNrBdw";
const POCKETBASE_USER: (&str, &str) = ("bench@example.com", "benchmark-only");

/// All that there are adapters for.
#[must_use]
pub fn peers() -> Vec<Contender> {
    vec![nchan(), pushpin(), mercure(), centrifugo(), pocketbase(), durable_streams(), tutorial()]
}

fn nchan() -> Contender {
    let without = (!Path::new(NCHAN).exists()).then(|| "libnginx-mod-nchan is not installed".to_owned());
    Contender {
        name: "nchan",
        missing: missing("nginx", "nginx").or(without),
        command: Box::new(|folder, address| {
            let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
            let paths: String = temporary.iter().map(|kind| format!("{kind}_temp_path {kind}; ")).collect();
            let text = format!(
                "load_module {NCHAN};\nworker_processes 1;\nworker_rlimit_nofile 20000;\ndaemon off;\npid nginx.pid;\n\
                 error_log error.log warn;\nevents {{ worker_connections 19000; }}\nhttp {{ access_log off; {paths}\n\
                 server {{ listen {address} backlog=16384; location = /ready {{ return 204; }}\n\
                 location /sub {{ nchan_subscriber eventsource; nchan_channel_id board; nchan_eventsource_ping_interval 0; }}\n\
                 location /pub {{ nchan_publisher; nchan_channel_id board; nchan_message_buffer_length 50; }} }} }}\n"
            );
            fs::write(folder.join("nchan.conf"), text)?;
            let mut command = Command::new("nginx");
            command.arg("-p").arg(folder).args(["-c", "nchan.conf", "-e", "error.log"]);
            Ok(command)
        }),
        ready: "/ready",
        prepare: nothing_to_prepare,
        subscribe: |address| wire::get(address, "/sub", ""),
        greet: any_bytes_will_do,
        publish: |address, text| wire::post(address, "/pub", "text/plain", "", text),
        text_bytes: 410,
        is_ours: false,
        readers_max: usize::MAX,
    }
}

/// Pushpin stands before a web server that tells it to hold requests open, and takes what is published on
/// another port; `pushpin --route` has a handler of its own for a test.
fn pushpin() -> Contender {
    Contender {
        name: "Pushpin",
        missing: missing("pushpin", "pushpin"),
        command: Box::new(|folder, address| {
            let control = next_port(address, 1);
            let routes = "* test\n";
            fs::write(folder.join("routes"), routes)?;
            for name in ["run", "log"] {
                fs::create_dir(folder.join(name))?;
            }
            let text = format!(
                "[global]\ninclude={{libdir}}/internal.conf\nrundir={0}/run\nipc_prefix=bench-\nport_offset=0\nstats_connection_ttl=120\n\
                 [runner]\nservices=condure,zurl,pushpin-proxy,pushpin-handler\nhttp_port={1}\nlogdir={0}/log\nlog_level=1\n\
                 client_maxconn=18000\n[proxy]\nroutesfile={0}/routes\ndebug=false\nsig_key=bench\n\
                 [handler]\nipc_file_mode=0600\npush_in_http_addr=127.0.0.1\npush_in_http_port={2}\nmessage_rate=100000\nmessage_hwm=100000\nmessage_block_size=100000\n",
                folder.display(),
                address.port(),
                control.port(),
            );
            fs::write(folder.join("pushpin.conf"), text)?;
            let mut command = Command::new("pushpin");
            command.arg("--config").arg(folder.join("pushpin.conf"));
            Ok(command)
        }),
        ready: "/",
        prepare: nothing_to_prepare,
        subscribe: |address| wire::get(address, "/events", "accept: text/event-stream\r\n"),
        greet: any_bytes_will_do,
        publish: |address, text| {
            let content = serde_json::json!(format!("data: {text}\n\n"));
            let item = serde_json::json!({"items": [{"channel": "test", "formats": {"http-stream": {"content": content}}}]});
            wire::post(next_port(address, 1), "/publish/", "application/json", "", &item.to_string())
        },
        text_bytes: 420,
        is_ours: false,
        readers_max: 10_000,
    }
}

fn mercure() -> Contender {
    Contender {
        name: "Mercure",
        missing: missing("mercure", "mercure"),
        command: Box::new(|folder, address| {
            let key = "!ChangeThisMercureHubJWTSecretKey!";
            let text = format!(
                "{{\n admin off\n auto_https off\n log {{\n  level ERROR\n }}\n}}\nhttp://{address} {{\n bind 127.0.0.1\n mercure {{\n  \
                 publisher_jwt {key}\n  subscriber_jwt {key}\n  protocol_version_compatibility 8\n  anonymous\n  transport local\n }}\n \
                 respond 404\n}}\n"
            );
            fs::write(folder.join("Caddyfile"), text)?;
            let mut command = Command::new("mercure");
            command
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(folder.join("Caddyfile"))
                .env("XDG_DATA_HOME", folder);
            Ok(command)
        }),
        ready: "/",
        prepare: nothing_to_prepare,
        subscribe: |address| wire::get(address, "/.well-known/mercure?topic=board", ""),
        greet: any_bytes_will_do,
        publish: |address, text| {
            let authorization = format!("authorization: Bearer {MERCURE_TOKEN}\r\n");
            let form = format!("topic=board&data={text}");
            wire::post(address, "/.well-known/mercure", "application/x-www-form-urlencoded", &authorization, &form)
        },
        text_bytes: 370,
        is_ours: false,
        readers_max: usize::MAX,
    }
}

fn centrifugo() -> Contender {
    Contender {
        name: "Centrifugo",
        missing: missing("centrifugo", "centrifugo"),
        command: Box::new(|folder, address| {
            let text = serde_json::json!({
                "http_server": {"address": "127.0.0.1", "port": address.port().to_string()},
                "http_api": {"key": "k"},
                "client": {"insecure": true, "allowed_origins": ["*"]},
                "uni_sse": {"enabled": true},
                "channel": {"without_namespace": {"allow_subscribe_for_anonymous": true, "allow_subscribe_for_client": true}},
                "health": {"enabled": true},
                "log": {"level": "error"},
                "admin": {"enabled": false},
            });
            fs::write(folder.join("centrifugo.json"), text.to_string())?;
            let mut command = Command::new("centrifugo");
            command.arg("-c").arg(folder.join("centrifugo.json"));
            Ok(command)
        }),
        ready: "/health",
        prepare: nothing_to_prepare,
        // {"subs":{"board":{}}}
        subscribe: |address| {
            wire::get(address, "/connection/uni_sse?cf_connect=%7B%22subs%22%3A%7B%22board%22%3A%7B%7D%7D%7D", "")
        },
        greet: any_bytes_will_do,
        publish: |address, text| {
            let body = serde_json::json!({"channel": "board", "data": {"text": text}}).to_string();
            wire::post(address, "/api/publish", "application/json", "x-api-key: k\r\n", &body)
        },
        text_bytes: 360,
        is_ours: false,
        readers_max: usize::MAX,
    }
}

/// `go install github.com/pocketbase/pocketbase/examples/base`, called `pocketbase`.
fn pocketbase() -> Contender {
    Contender {
        name: "PocketBase",
        missing: missing("pocketbase", "pocketbase"),
        command: Box::new(|folder, address| {
            let (user, password) = POCKETBASE_USER;
            let mut superuser = Command::new("pocketbase");
            superuser.args(["superuser", "upsert", user, password, "--dir"]).arg(folder).stdout(std::process::Stdio::null());
            superuser.status().context("cannot start pocketbase")?;
            let mut command = Command::new("pocketbase");
            command.args(["serve", "--http", &address.to_string(), "--dir"]).arg(folder);
            Ok(command)
        }),
        ready: "/api/health",
        prepare: |address| {
            let (identity, password) = POCKETBASE_USER;
            let login = serde_json::json!({"identity": identity, "password": password}).to_string();
            let path = "/api/collections/_superusers/auth-with-password";
            let heard = ask(address, &wire::post(address, path, "application/json", "", &login))?;
            let token = json_text(&heard, "token").context("no token")?;
            let open = "";
            let collection = serde_json::json!({
                "name": "topics", "type": "base", "listRule": open, "viewRule": open, "createRule": open,
                "fields": [{"name": "comment", "type": "text"}],
            });
            let authorization = format!("authorization: {token}\r\n");
            let body = collection.to_string();
            ask(address, &wire::post(address, "/api/collections", "application/json", &authorization, &body)).map(drop)
        },
        subscribe: |address| wire::get(address, "/api/realtime", ""),
        greet: |address, said| {
            let Some(client) = json_text(said, "clientId") else { return Ok(false) };
            let body = serde_json::json!({"clientId": client, "subscriptions": ["topics"]}).to_string();
            ask(address, &wire::post(address, "/api/realtime", "application/json", "", &body)).map(|_| true)
        },
        publish: |address, text| {
            let body = serde_json::json!({"comment": text}).to_string();
            wire::post(address, "/api/collections/topics/records", "application/json", "", &body)
        },
        text_bytes: 200,
        is_ours: false,
        readers_max: 1_000,
    }
}

/// The server of the Durable Streams protocol, called `durable-streams-server`.
fn durable_streams() -> Contender {
    Contender {
        name: "Durable Streams",
        missing: missing("durable-streams-server", "durable-streams-server"),
        command: Box::new(|folder, address| {
            let mut command = Command::new("durable-streams-server");
            command.args(["--host", "127.0.0.1", "--port", &address.port().to_string(), "--data-dir"]).arg(folder);
            Ok(command)
        }),
        ready: "/",
        prepare: |address| {
            let create =
                format!("PUT /board HTTP/1.1\r\nhost: {address}\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n\r\n");
            ask(address, create.as_bytes()).map(drop)
        },
        subscribe: |address| wire::get(address, "/board?offset=-1&live=sse", ""),
        greet: any_bytes_will_do,
        publish: |address, text| wire::post(address, "/board", "text/plain", "", text),
        text_bytes: 300,
        is_ours: false,
        readers_max: usize::MAX,
    }
}

/// The Django tutorial that this project began with: each stream looks into a cache once a second.
fn tutorial() -> Contender {
    let python = std::env::var("KAIRANBAN_BENCH_PYTHON").unwrap_or_else(|_| "target/test-tools/python/bin/python".to_owned());
    let has_django = Command::new(&python).args(["-c", "import django, uvicorn"]).stderr(std::process::Stdio::null()).status();
    let without = format!("no Django and uvicorn for {python}; KAIRANBAN_BENCH_PYTHON names another");
    Contender {
        name: "the Django tutorial",
        missing: (!has_django.is_ok_and(|status| status.success())).then_some(without),
        command: Box::new(move |folder, address| {
            fs::write(folder.join("board.py"), include_str!("../../peers/tutorial.py"))?;
            let mut command = Command::new(std::path::absolute(&python)?);
            let (host, port) = (address.ip().to_string(), address.port().to_string());
            let server = [
                "-m",
                "uvicorn",
                "board:application",
                "--lifespan",
                "off",
                "--log-level",
                "error",
                "--host",
                &host,
                "--port",
                &port,
            ];
            command.args(server).current_dir(folder);
            Ok(command)
        }),
        ready: "/",
        prepare: nothing_to_prepare,
        subscribe: |address| wire::get(address, "/topic_stream/", ""),
        greet: any_bytes_will_do,
        publish: |address, text| wire::post(address, "/", "application/x-www-form-urlencoded", "", &format!("comment={text}")),
        text_bytes: 140,
        is_ours: false,
        readers_max: 500,
    }
}

fn next_port(address: SocketAddr, by: u16) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port().wrapping_add(by))
}

/// The text of a field in some JSON, wherever it stands.
fn json_text(heard: &[u8], field: &str) -> Option<String> {
    let key = format!("\"{field}\":\"");
    let begin = memmem::find(heard, key.as_bytes())? + key.len();
    let end = begin + memchr::memchr(b'"', &heard[begin..])?;
    String::from_utf8(heard[begin..end].to_vec()).ok()
}
