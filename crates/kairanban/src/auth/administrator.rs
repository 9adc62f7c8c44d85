//! The proof that a client may administer, and under which conditions it does.

use kairanban_core::{Actor, BoardName};

/// Proof that the client showed a token that allows administering all boards.
#[derive(Debug)]
pub struct Administrator {
    actor: Actor,
    is_admitted: bool,
}

/// Proof that the client showed a token that allows administering this board.
#[derive(Debug)]
pub struct BoardAdministrator {
    board: BoardName,
    administrator: Administrator,
}

impl Administrator {
    pub(super) const fn new(actor: Actor) -> Self {
        Self {
            actor,
            is_admitted: true,
        }
    }

    /// Notes whether the conditions of the request admit a write of what is there and has no tag.
    #[must_use]
    pub fn admitted(self, is_admitted: bool) -> Self {
        Self {
            is_admitted,
            ..self
        }
    }

    /// Returns the actor, as the audit names it.
    #[must_use]
    pub fn actor(&self) -> Actor {
        self.actor.clone()
    }

    /// Returns whether the conditions of the request admit a write of what is there and has no tag.
    #[must_use]
    pub const fn is_admitted(&self) -> bool {
        self.is_admitted
    }
}

impl BoardAdministrator {
    pub(super) const fn new(actor: Actor, board: BoardName) -> Self {
        Self {
            board,
            administrator: Administrator::new(actor),
        }
    }

    /// As [`Administrator::admitted`].
    #[must_use]
    pub fn admitted(self, is_admitted: bool) -> Self {
        Self {
            administrator: self.administrator.admitted(is_admitted),
            ..self
        }
    }

    /// Returns the board that is administered.
    #[must_use]
    pub const fn board(&self) -> &BoardName {
        &self.board
    }

    /// Returns the proof without its board.
    #[must_use]
    pub const fn of_any_board(&self) -> &Administrator {
        &self.administrator
    }
}
