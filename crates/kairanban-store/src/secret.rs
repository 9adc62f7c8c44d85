//! Secrets of tokens, tickets and sessions. The database holds their digests.

use std::fmt;

use kairanban_core::hex;
use sha2::{Digest as _, Sha256};

use crate::StoreError;

/// So that a scanner for secrets knows one when it sees it.
const PREFIX: &str = "kairanban_";
/// And this server one kind from the other.
const TICKET_PREFIX: &str = "kairanban_ticket_";
const SESSION_PREFIX: &str = "kairanban_session_";

/// The secret of a token, a ticket or a session, as its holder has it. It is shown once and kept
/// nowhere.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Makes a new token: 256 bits that cannot be guessed.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn token() -> Result<Self, StoreError> {
        Self::random(PREFIX)
    }

    /// Makes the secret of a new ticket.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn ticket() -> Result<Self, StoreError> {
        Self::random(TICKET_PREFIX)
    }

    /// Makes the secret of a new session.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn session() -> Result<Self, StoreError> {
        Self::random(SESSION_PREFIX)
    }

    /// Returns the secret itself, to hand it to its owner once.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn random(prefix: &str) -> Result<Self, StoreError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| StoreError::Internal(error.to_string()))?;
        Ok(Self(format!("{prefix}{}", hex(&random))))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Returns what is kept of a secret: it is looked up by this, so the time that takes reveals
/// nothing about it.
pub(crate) fn digest(secret: &str) -> String {
    hex(&Sha256::digest(secret))
}
