//! Who may do more than read and post.
//!
//! What only an administrator may do takes the proof of one, and nobody but this file can make it:
//! a handler that forgets to ask does not compile, and one that asked for another board changes
//! that one.

use chrono::Utc;
use kairanban_core::{BoardName, Scope};
use kairanban_store::StoreError;

use crate::{blocking::blocking, bulletin::Bulletin};

/// Proof that somebody showed a token that allows administering all boards.
#[derive(Debug)]
pub struct Administrator(());

/// Proof that somebody showed a token that allows administering this board.
#[derive(Debug)]
pub struct BoardAdministrator(BoardName);

impl BoardAdministrator {
    /// The board.
    #[must_use]
    pub const fn board(&self) -> &BoardName {
        &self.0
    }
}

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
    /// Finds out whether whoever shows `secret` may administer all boards.
    ///
    /// # Errors
    /// If not.
    pub async fn administrator(&self, secret: Option<&str>) -> Result<Administrator, Denied> {
        self.authorize(secret, None).await.map(Administrator)
    }

    /// Finds out whether whoever shows `secret` may administer `board`.
    ///
    /// # Errors
    /// If not.
    pub async fn board_administrator(&self, secret: Option<&str>, board: BoardName) -> Result<BoardAdministrator, Denied> {
        self.authorize(secret, Some(&board)).await.map(|()| BoardAdministrator(board))
    }

    async fn authorize(&self, secret: Option<&str>, board: Option<&BoardName>) -> Result<(), Denied> {
        let secret = secret.ok_or(Denied::Unknown)?.to_owned();
        let store = self.store().clone();
        let token = blocking(move || store.find_token(&secret)).await.map_err(Denied::Failed)?;
        let token = token.filter(|token| token.is_valid(Utc::now())).ok_or(Denied::Unknown)?;
        if token.allows(Scope::Admin, board) { Ok(()) } else { Err(Denied::Forbidden) }
    }
}
