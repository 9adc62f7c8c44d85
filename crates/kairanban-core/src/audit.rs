//! The audit log: what administrators did, and when.

use chrono::{DateTime, Utc};

/// Names who ran an administrative command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The token's name, or `terminal`.
    pub name: String,
    /// The token's key; `None` for the server's own terminal.
    pub token: Option<i64>,
}

impl Actor {
    /// Returns the actor for commands run at the server's own terminal, which take no token.
    #[must_use]
    pub fn terminal() -> Self {
        Self {
            name: "terminal".to_owned(),
            token: None,
        }
    }
}

/// One entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// The entry's key; later entries have larger ones.
    pub id: i64,
    /// When the command was run.
    pub at: DateTime<Utc>,
    /// Who ran the command.
    pub actor: Actor,
    /// The command, as in `topic.delete`.
    pub action: String,
    /// The board's name at that time, if the command was about a board.
    pub board: Option<String>,
    /// The key of the topic or the token, if the command was about one.
    pub subject: Option<i64>,
}
