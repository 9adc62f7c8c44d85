//! `--exec`: runs a command for a topic. What the topic says reaches it by the environment and
//! standard input, never as part of a command line.

use std::{
    io::{self, Write as _},
    process::{Command, ExitStatus, Stdio},
    thread,
};

use tokio::sync::oneshot;

use super::events::TopicEvent;

/// The longest value of a variable, in bytes: Linux starts no command with one beyond 128 KiB.
/// Only other programs write longer comments, and standard input has the whole.
const VARIABLE_BYTES_MAX: usize = 64 * 1024;

/// A command of the user's own, for the shell.
#[derive(Clone, Debug)]
pub(super) struct TopicCommand {
    pub(super) script: String,
    /// The address of the server, for the topic's own.
    pub(super) address: String,
    pub(super) board: String,
}

impl TopicCommand {
    /// Runs the command, and waits for its end. If the future is dropped, the command goes on.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) async fn run(&self, event: &TopicEvent, input: String) -> io::Result<ExitStatus> {
        let mut command = shell(&self.script);
        command.envs(self.variables(event)).stdin(Stdio::piped());
        let (end, ended) = oneshot::channel();
        // A thread, so that a signal ends this process whatever the command does.
        thread::Builder::new().spawn(move || {
            // The receiver is gone if a signal came.
            let _ = end.send(run_to_its_end(&mut command, &input));
        })?;
        ended
            .await
            .unwrap_or_else(|_| Err(io::Error::other("its thread ended")))
    }

    fn variables(&self, event: &TopicEvent) -> Vec<(&'static str, String)> {
        let (address, board, id) = (&self.address, &self.board, event.id);
        let topic = event.topic.as_ref();
        let comment = topic.map(|topic| variable(&topic.comment));
        let author = topic.map(|topic| variable(&topic.author));
        let created = topic.map(|topic| topic.created_at.to_rfc3339());
        let updated = topic.map(|topic| topic.updated_at.to_rfc3339());
        let edited = topic.and_then(|topic| topic.edited_at);
        vec![
            ("TOPIC_EVENT", event.kind.name().to_owned()),
            ("TOPIC_BOARD", board.clone()),
            ("TOPIC_ID", id.to_string()),
            ("TOPIC_URL", format!("{address}/b/{board}/topics/{id}")),
            ("TOPIC_COMMENT", comment.unwrap_or_default()),
            ("TOPIC_AUTHOR", author.unwrap_or_default()),
            ("TOPIC_CREATED_AT", created.unwrap_or_default()),
            ("TOPIC_UPDATED_AT", updated.unwrap_or_default()),
            (
                "TOPIC_EDITED_AT",
                edited.map(|at| at.to_rfc3339()).unwrap_or_default(),
            ),
            (
                "TOPIC_REVISION",
                topic
                    .map(|topic| topic.revision.to_string())
                    .unwrap_or_default(),
            ),
            ("TOPIC_CURSOR", event.cursor.clone().unwrap_or_default()),
        ]
    }
}

#[cfg(unix)]
fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[cfg(not(unix))]
fn shell(script: &str) -> Command {
    let mut command = Command::new("cmd");
    command.args(["/C", script]);
    command
}

fn run_to_its_end(command: &mut Command, input: &str) -> io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command need not read it.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait()
}

/// Makes a value that the environment can hold: without NUL, and not too long.
fn variable(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")[..]
        .chars()
        .scan(0, |length, c| {
            *length += c.len_utf8();
            (*length <= VARIABLE_BYTES_MAX).then_some(c)
        })
        .collect()
}
