//! Peers. Each is taken from its own package or built from its public source, and measured where its
//! program is found on the `PATH`.

use std::{fs, path::Path, process::Command};

use anyhow::Context as _;
use memchr::memmem;

use super::{Bounds, Contender, any_bytes_will_do, ask, missing, next_port, nothing_to_prepare};
use crate::{process, wire};

/// What a browser asks for.
const EVENT_STREAM: &str = "accept: text/event-stream\r\n";
const NCHAN: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
/// `{"mercure":{"publish":["*"]}}`, signed by the key in the configuration.
const MERCURE_TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJtZXJjdXJlIjp7InB1Ymxpc2giOlsiKiJdfX0.\
    a8cjcSRUAcHdnGNMKifA4BK5epRXxQI0UBp2XpNrBdw";
const POCKETBASE_USER: (&str, &str) = ("bench@example.com", "benchmark-only");

/// All that there are adapters for.
#[must_use]
pub fn peers() -> Vec<Contender> {
    vec![
        nchan(),
        pushpin(),
        mercure(),
        centrifugo(),
        centrifuge(),
        pocketbase(),
        durable_streams(),
        tutorial(),
    ]
}

fn nchan() -> Contender {
    let without =
        (!Path::new(NCHAN).exists()).then(|| "libnginx-mod-nchan is not installed".to_owned());
    Contender {
        name: "nchan",
        missing: missing("nginx", "nginx").or(without),
        command: Box::new(|folder, address| {
            let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
            let paths: String = temporary
                .iter()
                .map(|kind| format!("{kind}_temp_path {kind}; "))
                .collect();
            let text = format!(
                "load_module {NCHAN};\nworker_processes 1;\nworker_rlimit_nofile 20000;\ndaemon off;\npid nginx.pid;\n\
                 error_log error.log warn;\nevents {{ worker_connections 19000; }}\nhttp {{ access_log off; {paths}\n\
                 server {{ listen {address} backlog=16384; location = /ready {{ return 204; }}\n\
                 location /sub {{ nchan_subscriber eventsource; nchan_channel_id board; nchan_eventsource_ping_interval 0; }}\n\
                 location /pub {{ nchan_publisher; nchan_channel_id board; nchan_message_buffer_length 50; }} }} }}\n"
            );
            fs::write(folder.join("nchan.conf"), text)?;
            let mut command = Command::new("nginx");
            command
                .arg("-p")
                .arg(folder)
                .args(["-c", "nchan.conf", "-e", "error.log"]);
            Ok(command)
        }),
        ready: "/ready",
        prepare: nothing_to_prepare,
        subscribe: |door| wire::get(door, "/sub", EVENT_STREAM),
        greet: any_bytes_will_do,
        publish: |door, text| wire::post(door, "/pub", "text/plain", "", text),
        publish_port: 0,
        text_bytes: 410,
        is_ours: false,
        bounds: Bounds::NONE,
    }
}

/// Pushpin stands before a web server that tells it to hold requests open. Its own test handler does that here, at
/// `/stream`; what is published comes in on another port.
fn pushpin() -> Contender {
    Contender {
        name: "Pushpin",
        missing: missing("pushpin", "pushpin"),
        command: Box::new(|folder, address| {
            let (run, routes) = (folder.display(), folder.join("routes"));
            fs::write(&routes, "* test\n")?;
            let settings = [
                ("rundir", run.to_string()),
                ("logdir", run.to_string()),
                ("log_level", "0".to_owned()),
                ("http_port", address.port().to_string()),
                ("routesfile", routes.display().to_string()),
                (
                    "push_in_http_port",
                    next_port(address, 1).port().to_string(),
                ),
                ("push_in_spec", format!("ipc://{run}/push")),
                ("push_in_sub_specs", format!("ipc://{run}/sub")),
                ("command_spec", format!("ipc://{run}/command")),
                // It would slow itself down.
                ("message_rate", "10000000".to_owned()),
                ("message_hwm", "10000000".to_owned()),
            ];
            let installed = fs::read_to_string("/etc/pushpin/pushpin.conf")?;
            let line = |line: &str| {
                let key = line.split_once('=').map(|(key, _)| key);
                let own = settings.iter().find(|(name, _)| Some(*name) == key);
                own.map_or_else(
                    || format!("{line}\n"),
                    |(name, value)| format!("{name}={value}\n"),
                )
            };
            fs::write(
                folder.join("pushpin.conf"),
                installed.lines().map(line).collect::<String>(),
            )?;
            let mut command = Command::new("pushpin");
            command.arg("--config").arg(folder.join("pushpin.conf"));
            Ok(command)
        }),
        ready: "/",
        // Its parts come up one after the other.
        prepare: |_, address| {
            process::wait_for(next_port(address, 1), "/")?;
            process::wait_for(address, "/stream")?;
            Ok(address.into())
        },
        subscribe: |door| wire::get(door, "/stream", EVENT_STREAM),
        greet: any_bytes_will_do,
        publish: |door, text| {
            let content = format!("data: {text}\n\n");
            let item = serde_json::json!({"items": [{"channel": "test", "formats": {"http-stream": {"content": content}}}]});
            wire::post(
                &next_port(door.address, 1).into(),
                "/publish/",
                "application/json",
                "",
                &item.to_string(),
            )
        },
        publish_port: 1,
        text_bytes: 425,
        is_ours: false,
        bounds: Bounds {
            readers: 200,
            ..Bounds::NONE
        },
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
                 publisher_jwt {key}\n  subscriber_jwt {key}\n  anonymous\n  transport local\n }}\n \
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
        subscribe: |door| wire::get(door, "/.well-known/mercure?topic=board", ""),
        greet: any_bytes_will_do,
        publish: |door, text| {
            let authorization = format!("authorization: Bearer {MERCURE_TOKEN}\r\n");
            let form = format!("topic=board&data={text}");
            wire::post(
                door,
                "/.well-known/mercure",
                "application/x-www-form-urlencoded",
                &authorization,
                &form,
            )
        },
        publish_port: 0,
        text_bytes: 370,
        is_ours: false,
        bounds: Bounds::NONE,
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
        subscribe: |door| {
            wire::get(
                door,
                "/connection/uni_sse?cf_connect=%7B%22subs%22%3A%7B%22board%22%3A%7B%7D%7D%7D",
                "",
            )
        },
        greet: any_bytes_will_do,
        publish: |door, text| {
            let body = serde_json::json!({"channel": "board", "data": {"text": text}}).to_string();
            wire::post(
                door,
                "/api/publish",
                "application/json",
                "x-api-key: k\r\n",
                &body,
            )
        },
        publish_port: 0,
        text_bytes: 360,
        is_ours: false,
        bounds: Bounds::NONE,
    }
}

/// The library that Centrifugo is made of, behind as little as it takes: `go build` in `peers/centrifuge`.
fn centrifuge() -> Contender {
    Contender {
        name: "centrifuge",
        missing: missing("centrifuge-sse", "centrifuge-sse"),
        command: Box::new(|_, address| {
            let mut command = Command::new("centrifuge-sse");
            command.arg(address.to_string());
            Ok(command)
        }),
        ready: "/ready",
        prepare: nothing_to_prepare,
        // {"id":1,"connect":{}}
        subscribe: |door| {
            wire::get(
                door,
                "/sub?cf_connect=%7B%22id%22%3A1%2C%22connect%22%3A%7B%7D%7D",
                "",
            )
        },
        greet: |_, said| Ok(memmem::find(said, b"data: ").is_some()),
        publish: |door, text| {
            wire::post(
                door,
                "/pub",
                "application/json",
                "",
                &serde_json::json!({"text": text}).to_string(),
            )
        },
        publish_port: 0,
        text_bytes: 350,
        is_ours: false,
        bounds: Bounds::NONE,
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
            superuser
                .args(["superuser", "upsert", user, password, "--dir"])
                .arg(folder)
                .stdout(std::process::Stdio::null());
            superuser.status().context("cannot start pocketbase")?;
            let mut command = Command::new("pocketbase");
            // Otherwise it writes what is set up beside the folder, for the next one to find.
            command
                .args([
                    "serve",
                    "--automigrate=false",
                    "--http",
                    &address.to_string(),
                    "--dir",
                ])
                .arg(folder);
            Ok(command)
        }),
        ready: "/api/health",
        prepare: |_, address| {
            let door = address.into();
            let (identity, password) = POCKETBASE_USER;
            let login = serde_json::json!({"identity": identity, "password": password}).to_string();
            let path = "/api/collections/_superusers/auth-with-password";
            let heard = ask(
                address,
                &wire::post(&door, path, "application/json", "", &login),
            )?;
            let token = json_text(&heard, "token").context("no token")?;
            let open = "";
            let collection = serde_json::json!({
                "name": "topics", "type": "base", "listRule": open, "viewRule": open, "createRule": open,
                "fields": [{"name": "comment", "type": "text"}],
            });
            let authorization = format!("authorization: {token}\r\n");
            let body = collection.to_string();
            ask(
                address,
                &wire::post(
                    &door,
                    "/api/collections",
                    "application/json",
                    &authorization,
                    &body,
                ),
            )?;
            Ok(door)
        },
        subscribe: |door| wire::get(door, "/api/realtime", ""),
        greet: |address, said| {
            let Some(client) = json_text(said, "clientId") else {
                return Ok(false);
            };
            let body =
                serde_json::json!({"clientId": client, "subscriptions": ["topics"]}).to_string();
            ask(
                address,
                &wire::post(
                    &address.into(),
                    "/api/realtime",
                    "application/json",
                    "",
                    &body,
                ),
            )
            .map(|_| true)
        },
        publish: |door, text| {
            let body = serde_json::json!({"comment": text}).to_string();
            wire::post(
                door,
                "/api/collections/topics/records",
                "application/json",
                "",
                &body,
            )
        },
        publish_port: 0,
        text_bytes: 200,
        is_ours: false,
        bounds: Bounds {
            readers: 1_000,
            ..Bounds::NONE
        },
    }
}

/// The server of the Durable Streams protocol: `cargo install durable-streams`.
fn durable_streams() -> Contender {
    Contender {
        name: "Durable Streams",
        missing: missing("durable-streams-server", "durable-streams-server"),
        command: Box::new(|folder, address| {
            let mut command = Command::new("durable-streams-server");
            command
                .args([
                    "--host",
                    "127.0.0.1",
                    "--port",
                    &address.port().to_string(),
                    "--data-dir",
                ])
                .arg(folder);
            command.stdout(std::process::Stdio::null());
            Ok(command)
        }),
        ready: "/",
        prepare: |_, address| {
            let door = address.into();
            ask(
                address,
                &wire::with_body("PUT", &door, "/v1/stream/board", "text/plain", "", ""),
            )?;
            Ok(door)
        },
        subscribe: |door| wire::get(door, "/v1/stream/board?offset=now&live=sse", ""),
        greet: any_bytes_will_do,
        publish: |door, text| wire::post(door, "/v1/stream/board", "text/plain", "", text),
        publish_port: 0,
        text_bytes: 270,
        is_ours: false,
        // It ends each stream after a minute.
        bounds: Bounds {
            idle_s: 10.0,
            ..Bounds::NONE
        },
    }
}

/// The Django tutorial that this project began with: each stream looks into a cache once a second.
fn tutorial() -> Contender {
    let python = std::env::var("KAIRANBAN_BENCH_PYTHON")
        .unwrap_or_else(|_| "target/test-tools/python/bin/python".to_owned());
    let has_django = Command::new(&python)
        .args(["-c", "import django, uvicorn"])
        .stderr(std::process::Stdio::null())
        .status();
    let without =
        format!("no Django and uvicorn for {python}; KAIRANBAN_BENCH_PYTHON names another");
    Contender {
        name: "the Django tutorial",
        missing: (!has_django.is_ok_and(|status| status.success())).then_some(without),
        command: Box::new(move |folder, address| {
            fs::write(
                folder.join("board.py"),
                include_str!("../../peers/tutorial.py"),
            )?;
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
        subscribe: |door| wire::get(door, "/topic_stream/", ""),
        greet: any_bytes_will_do,
        publish: |door, text| {
            wire::post(
                door,
                "/",
                "application/x-www-form-urlencoded",
                "",
                &format!("comment={text}"),
            )
        },
        publish_port: 0,
        text_bytes: 140,
        is_ours: false,
        // It looks once a second, and tells all that came as one.
        bounds: Bounds {
            readers: 500,
            rate: 1.0,
            ..Bounds::NONE
        },
    }
}

/// The text of a field in some JSON, wherever it stands.
fn json_text(heard: &[u8], field: &str) -> Option<String> {
    let key = format!("\"{field}\":\"");
    let begin = memmem::find(heard, key.as_bytes())? + key.len();
    let end = begin + memchr::memchr(b'"', &heard[begin..])?;
    String::from_utf8(heard[begin..end].to_vec()).ok()
}
