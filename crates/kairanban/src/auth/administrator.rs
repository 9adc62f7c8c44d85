//! The proof that a client may administer, and under which conditions it does.

use kairanban_core::{Actor, BoardName};

/// Who runs a command, and whether the conditions of the request hold. It proves nothing by itself.
#[derive(Clone, Debug)]
pub struct CommandOrigin {
    /// The actor, as the audit names it.
    pub actor: Actor,
    /// Whether the conditions of the request admit a write of what is there and has no tag.
    pub is_admitted: bool,
}

/// Proof that the client showed a token that allows administering all boards.
#[derive(Debug)]
pub struct Administrator(CommandOrigin);

/// Proof that the client showed a token that allows administering this board.
#[derive(Debug)]
pub struct BoardAdministrator {
    board: BoardName,
    origin: CommandOrigin,
}

impl CommandOrigin {
    const fn new(actor: Actor) -> Self {
        Self {
            actor,
            is_admitted: true,
        }
    }
}

impl Administrator {
    pub(super) const fn new(actor: Actor) -> Self {
        Self(CommandOrigin::new(actor))
    }

    /// Notes whether the conditions of the request admit a write of what is there and has no tag.
    #[must_use]
    pub fn admitted(mut self, is_admitted: bool) -> Self {
        self.0.is_admitted = is_admitted;
        self
    }

    /// Returns who runs the command.
    #[must_use]
    pub const fn origin(&self) -> &CommandOrigin {
        &self.0
    }
}

impl BoardAdministrator {
    pub(super) const fn new(actor: Actor, board: BoardName) -> Self {
        Self {
            board,
            origin: CommandOrigin::new(actor),
        }
    }

    /// As [`Administrator::admitted`].
    #[must_use]
    pub fn admitted(mut self, is_admitted: bool) -> Self {
        self.origin.is_admitted = is_admitted;
        self
    }

    /// Returns the board that is administered.
    #[must_use]
    pub const fn board(&self) -> &BoardName {
        &self.board
    }

    /// Returns who runs the command.
    #[must_use]
    pub const fn origin(&self) -> &CommandOrigin {
        &self.origin
    }
}
