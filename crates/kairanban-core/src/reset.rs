//! The reasons for which what a reader holds is void.

/// Why a reader is sent `reset` before the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// Its cursor belongs to another history.
    Epoch,
    /// The log does not reach back to its cursor, or the name meant another board there.
    Trimmed,
    /// Its cursor is later than the newest change.
    Future,
    /// The reader fell too far behind.
    Lagged,
    /// What the reader sent is not a cursor.
    Invalid,
}

impl ResetReason {
    /// All reasons, in the order of their definition.
    pub const ALL: [Self; 5] = [
        Self::Epoch,
        Self::Trimmed,
        Self::Future,
        Self::Lagged,
        Self::Invalid,
    ];

    /// Returns whether it voids all boards of an open stream of several, and not only the board
    /// that it came with: a reader that fell behind on one board still holds the others. When a
    /// stream begins, any reason does ([`merge_openings`]).
    ///
    /// [`merge_openings`]: crate::merge_openings
    #[must_use]
    pub const fn is_of_all_boards(self) -> bool {
        matches!(self, Self::Epoch)
    }

    /// Returns the reason as it is sent to clients.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Trimmed => "trimmed",
            Self::Future => "future",
            Self::Lagged => "lagged",
            Self::Invalid => "invalid",
        }
    }
}
