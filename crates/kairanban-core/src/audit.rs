//! What administrators did.

use chrono::{DateTime, Utc};

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The token's name, or that of the terminal.
    pub name: String,
    /// The token; `None` for the server's own terminal.
    pub token: Option<i64>,
}

impl Actor {
    /// Whoever sits at the server's own terminal.
    #[must_use]
    pub fn terminal() -> Self {
        Self {
            name: "terminal".to_owned(),
            token: None,
        }
    }
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its key; later ones are larger.
    pub id: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// By whom.
    pub actor: Actor,
    /// What, as in `topic.delete`.
    pub action: String,
    /// The board's name then, if it was about one.
    pub board: Option<String>,
    /// The topic's or the token's key, if it was about one.
    pub subject: Option<i64>,
}
