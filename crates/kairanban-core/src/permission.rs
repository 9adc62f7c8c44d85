//! Who may do what on a board. [`Policies::permit`] is the only place that decides it.

use crate::{Policies, PostPolicy, ReadPolicy, Scope};

/// What a caller wants to do on a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read its list, its topics and its log.
    Read,
    /// Post a topic.
    Post,
}

/// Why a caller may not do something on a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPermitted {
    /// The board is private: for this caller it does not exist.
    Hidden,
    /// A token is required, and the caller has none for this board.
    TokenRequired,
    /// The token for this board does not allow it.
    ScopeTooSmall,
    /// The board takes no more posts, whatever the token.
    Closed,
}

impl Policies {
    /// Decides whether a caller may do something on a board with these policies. `scope` is that of the caller's token for
    /// this board, if there is one.
    ///
    /// # Errors
    /// The reason why not.
    pub fn permit(self, scope: Option<Scope>, action: Action) -> Result<(), NotPermitted> {
        if self.read == ReadPolicy::Token && scope.is_none() {
            return Err(NotPermitted::Hidden);
        }
        match (action, self.post, scope) {
            (Action::Read, ..) | (Action::Post, PostPolicy::Open, _) => Ok(()),
            (Action::Post, PostPolicy::Closed, _) => Err(NotPermitted::Closed),
            (Action::Post, PostPolicy::Token, None) => Err(NotPermitted::TokenRequired),
            (Action::Post, PostPolicy::Token, Some(Scope::Read)) => {
                Err(NotPermitted::ScopeTooSmall)
            }
            (Action::Post, PostPolicy::Token, Some(Scope::Post | Scope::Admin)) => Ok(()),
        }
    }

    /// Returns whether callers without a token may read the board.
    #[must_use]
    pub fn is_public(self) -> bool {
        self.permit(None, Action::Read).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_permits_each_scope_what_it_should() {
        use NotPermitted::{Closed, Hidden, ScopeTooSmall, TokenRequired};
        let scopes = [
            None,
            Some(Scope::Read),
            Some(Scope::Post),
            Some(Scope::Admin),
        ];
        // For each scope in turn: whether it may read, and whether it may post.
        let table = [
            ("open", "open", [Ok(()); 4], [Ok(()); 4]),
            (
                "open",
                "token",
                [Ok(()); 4],
                [Err(TokenRequired), Err(ScopeTooSmall), Ok(()), Ok(())],
            ),
            ("open", "closed", [Ok(()); 4], [Err(Closed); 4]),
            (
                "token",
                "open",
                [Err(Hidden), Ok(()), Ok(()), Ok(())],
                [Err(Hidden), Ok(()), Ok(()), Ok(())],
            ),
            (
                "token",
                "token",
                [Err(Hidden), Ok(()), Ok(()), Ok(())],
                [Err(Hidden), Err(ScopeTooSmall), Ok(()), Ok(())],
            ),
            (
                "token",
                "closed",
                [Err(Hidden), Ok(()), Ok(()), Ok(())],
                [Err(Hidden), Err(Closed), Err(Closed), Err(Closed)],
            ),
        ];
        for (read, post, may_read, may_post) in table {
            let policies = Policies {
                read: read.parse().expect("a policy"),
                post: post.parse().expect("a policy"),
            };
            for (at, scope) in scopes.into_iter().enumerate() {
                let found =
                    [Action::Read, Action::Post].map(|action| policies.permit(scope, action));
                assert_eq!(
                    found,
                    [may_read[at], may_post[at]],
                    "{read} {post} {scope:?}"
                );
            }
            assert_eq!(policies.is_public(), read == "open");
        }
    }
}
