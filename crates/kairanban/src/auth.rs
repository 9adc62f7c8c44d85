//! Who may do more than read and post.
//!
//! What only an administrator may do takes an [`Administrator`], and nobody but this file can make
//! one: a handler that forgets to ask does not compile.

use chrono::Utc;
use kairanban_core::{BoardName, Scope};
use kairanban_store::StoreError;

use crate::{blocking::blocking, bulletin::Bulletin};

/// Proof that somebody showed a token that allows administering a board.
#[derive(Debug)]
pub struct Administrator(());

/// Why somebody may not.
#[derive(Debug)]
pub enum Denied {
    /// There is no token, or it is none of ours, or it is no longer good.
    Unknown,
    /// The token is good, but not for this.
    Forbidden,
    /// Nobody can tell now.
    Failed(StoreError),
}

impl Bulletin {
    /// Finds out whether whoever shows `secret` may administer `board` (`None`: all of them).
    ///
    /// # Errors
    /// If not.
    pub async fn administrator(&self, secret: Option<&str>, board: Option<&BoardName>) -> Result<Administrator, Denied> {
        let secret = secret.ok_or(Denied::Unknown)?.to_owned();
        let store = self.store().clone();
        let token = blocking(move || store.find_token(&secret)).await.map_err(Denied::Failed)?;
        let token = token.filter(|token| token.is_valid(Utc::now())).ok_or(Denied::Unknown)?;
        if token.allows(Scope::Admin, board) { Ok(Administrator(())) } else { Err(Denied::Forbidden) }
    }
}
