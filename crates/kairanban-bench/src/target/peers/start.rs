//! How each peer is configured and started.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::{
    NCHAN_MODULE, POCKETBASE_PASSWORD, POCKETBASE_USER, PUSHPIN_PUBLISH_OFFSET, at_offset, python,
};
use crate::process::nginx_temp_paths;

pub(super) fn nchan(folder: &Path, address: SocketAddr) -> Result<Command> {
    let temp_paths = nginx_temp_paths();
    let text = format!(
        "load_module {NCHAN_MODULE};
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 19000; }}
http {{
  access_log off;
  {temp_paths}
  server {{
    listen {address} backlog=16384;
    location = /ready {{ return 204; }}
    location /sub {{ nchan_subscriber eventsource; nchan_channel_id board; \
    nchan_eventsource_ping_interval 0; }}
    location /pub {{ nchan_publisher; nchan_channel_id board; nchan_message_buffer_length 50; }}
  }}
}}
"
    );
    fs::write(folder.join("nchan.conf"), text)?;
    let mut command = Command::new("nginx");
    command
        .arg("-p")
        .arg(folder)
        .args(["-c", "nchan.conf", "-e", "error.log"]);
    Ok(command)
}

pub(super) fn pushpin(folder: &Path, address: SocketAddr) -> Result<Command> {
    let (run, routes) = (folder.display(), folder.join("routes"));
    fs::write(&routes, "* test\n")?;
    let publish_port = at_offset(address, PUSHPIN_PUBLISH_OFFSET).port();
    let settings = [
        ("rundir", run.to_string()),
        ("logdir", run.to_string()),
        ("log_level", "0".to_owned()),
        ("http_port", address.port().to_string()),
        ("routesfile", routes.display().to_string()),
        ("push_in_http_port", publish_port.to_string()),
        ("push_in_spec", format!("ipc://{run}/push")),
        ("push_in_sub_specs", format!("ipc://{run}/sub")),
        ("command_spec", format!("ipc://{run}/command")),
        // It would slow itself down.
        ("message_rate", "10000000".to_owned()),
        ("message_hwm", "10000000".to_owned()),
    ];
    let installed = fs::read_to_string("/etc/pushpin/pushpin.conf")?;
    let mut text = String::new();
    for line in installed.lines() {
        let key = line.split_once('=').map(|(key, _)| key);
        match settings.iter().find(|(name, _)| Some(*name) == key) {
            Some((name, value)) => text += &format!("{name}={value}\n"),
            None => text += &format!("{line}\n"),
        }
    }
    fs::write(folder.join("pushpin.conf"), text)?;
    let mut command = Command::new("pushpin");
    command.arg("--config").arg(folder.join("pushpin.conf"));
    Ok(command)
}

pub(super) fn mercure(folder: &Path, address: SocketAddr) -> Result<Command> {
    let key = "!ChangeThisMercureHubJWTSecretKey!";
    let text = format!(
        "{{
 admin off
 auto_https off
 log {{
  level ERROR
 }}
}}
http://{address} {{
 bind 127.0.0.1
 mercure {{
  publisher_jwt {key}
  subscriber_jwt {key}
  anonymous
  transport local
 }}
 respond 404
}}
"
    );
    fs::write(folder.join("Caddyfile"), text)?;
    let mut command = Command::new("mercure");
    command
        .args(["run", "--adapter", "caddyfile", "--config"])
        .arg(folder.join("Caddyfile"))
        .env("XDG_DATA_HOME", folder);
    Ok(command)
}

pub(super) fn centrifugo(folder: &Path, address: SocketAddr) -> Result<Command> {
    let anonymous = serde_json::json!({
        "allow_subscribe_for_anonymous": true,
        "allow_subscribe_for_client": true,
    });
    let text = serde_json::json!({
        "http_server": {"address": "127.0.0.1", "port": address.port().to_string()},
        "http_api": {"key": "k"},
        "client": {"insecure": true, "allowed_origins": ["*"]},
        "uni_sse": {"enabled": true},
        "channel": {"without_namespace": anonymous},
        "health": {"enabled": true},
        "log": {"level": "error"},
        "admin": {"enabled": false},
    });
    fs::write(folder.join("centrifugo.json"), text.to_string())?;
    let mut command = Command::new("centrifugo");
    command.arg("-c").arg(folder.join("centrifugo.json"));
    Ok(command)
}

pub(super) fn centrifuge(_: &Path, address: SocketAddr) -> Result<Command> {
    let mut command = Command::new("centrifuge-sse");
    command.arg(address.to_string());
    Ok(command)
}

pub(super) fn pocketbase(folder: &Path, address: SocketAddr) -> Result<Command> {
    Command::new("pocketbase")
        .args(["superuser", "upsert", POCKETBASE_USER, POCKETBASE_PASSWORD])
        .arg("--dir")
        .arg(folder)
        .stdout(Stdio::null())
        .status()
        .context("cannot start pocketbase")?;
    let mut command = Command::new("pocketbase");
    command
        // Otherwise it writes its set-up beside the folder, where the next one would find it.
        .args(["serve", "--automigrate=false"])
        .args(["--http", &address.to_string(), "--dir"])
        .arg(folder);
    Ok(command)
}

pub(super) fn durable_streams(folder: &Path, address: SocketAddr) -> Result<Command> {
    let mut command = Command::new("durable-streams-server");
    command
        .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
        .arg("--data-dir")
        .arg(folder)
        .stdout(Stdio::null());
    Ok(command)
}

pub(super) fn tutorial(folder: &Path, address: SocketAddr) -> Result<Command> {
    let program = include_str!("../../../peers/tutorial.py");
    fs::write(folder.join("board.py"), program)?;
    let mut command = Command::new(std::path::absolute(python())?);
    command
        .args(["-m", "uvicorn", "board:application"])
        .args(["--lifespan", "off", "--log-level", "error"])
        .args(["--host", &address.ip().to_string()])
        .args(["--port", &address.port().to_string()])
        .current_dir(folder);
    Ok(command)
}
