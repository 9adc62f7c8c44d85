//! Decides who may do what on a board; nothing else does. [`Policies::authorize`] decides what
//! depends on the board's policies, by the scope that [`Token::scope_on`] returns.
//! [`Token::allows`] decides what requires a token whatever the policies are: to administrate, and
//! to create tickets. A ticket allows reading its one board, and nothing else. Lists show the
//! [`VisibleBoards`].

use crate::{BoardName, Policies, PostPolicy, ReadPolicy, Scope, Token};

/// What a caller wants to do on a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read the board's list, its topics and its log.
    Read,
    /// Post a topic on it.
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
    /// Decides whether a caller may do something on a board with these policies. `scope` is that of
    /// the caller's token for this board, if there is one.
    ///
    /// # Errors
    /// [`NotPermitted`] says why not.
    pub fn authorize(self, scope: Option<Scope>, action: Action) -> Result<(), NotPermitted> {
        if !self.read.is_public() && scope.is_none() {
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

    /// Returns whether a caller whose token has this scope on the board may read it.
    #[must_use]
    pub fn is_readable(self, scope: Option<Scope>) -> bool {
        self.authorize(scope, Action::Read).is_ok()
    }

    /// Returns whether callers without a token may read the board.
    #[must_use]
    pub fn is_public(self) -> bool {
        self.read.is_public()
    }
}

impl ReadPolicy {
    const fn is_public(self) -> bool {
        matches!(self, Self::Open)
    }

    /// Returns the policies under which callers without a token may read a board.
    pub fn public() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|policy| policy.is_public())
    }
}

/// The boards that a list shows: those that the caller may read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum VisibleBoards {
    /// All boards, whatever their policies.
    All,
    /// Public boards.
    Public,
    /// Public boards and this one.
    PublicAnd(BoardName),
}

/// What a token allows. `ticket` is the board of the ticket that stands for the token, if the
/// caller showed one. None of these checks that the token is valid.
impl Token {
    /// Returns whether it allows what requires the token itself: `scope` on `board` (`None`: on all
    /// boards). A ticket never does.
    #[must_use]
    pub fn allows(
        &self,
        scope: Scope,
        board: Option<&BoardName>,
        ticket: Option<&BoardName>,
    ) -> bool {
        ticket.is_none() && self.scope >= scope && self.is_for(board)
    }

    /// Returns the scope that its holder has on `board`, or `None` if it is for another.
    #[must_use]
    pub fn scope_on(&self, board: &BoardName, ticket: Option<&BoardName>) -> Option<Scope> {
        if !self.is_for(Some(board)) {
            return None;
        }
        match ticket {
            None => Some(self.scope),
            Some(only) => (only == board).then_some(Scope::Read),
        }
    }

    /// Returns the boards that lists show to its holder.
    #[must_use]
    pub fn visible_boards(&self, ticket: Option<&BoardName>) -> VisibleBoards {
        match ticket.or(self.board.as_ref()) {
            None => VisibleBoards::All,
            Some(only) if self.is_for(Some(only)) => VisibleBoards::PublicAnd(only.clone()),
            Some(_) => VisibleBoards::Public,
        }
    }

    fn is_for(&self, board: Option<&BoardName>) -> bool {
        self.board.is_none() || self.board.as_ref() == board
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    use NotPermitted::{Closed, Hidden, ScopeTooSmall, TokenRequired};

    /// What is decided for callers without a token, and with the scopes `read`, `post` and `admin`.
    type ByScope = [Result<(), NotPermitted>; 4];

    const READ: ByScope = [Err(Hidden), Ok(()), Ok(()), Ok(())];

    /// The policies for reading and for posting, who may read, and who may post.
    const TABLE: [(&str, &str, ByScope, ByScope); 6] = [
        ("open", "open", [Ok(()); 4], [Ok(()); 4]),
        (
            "open",
            "token",
            [Ok(()); 4],
            [Err(TokenRequired), Err(ScopeTooSmall), Ok(()), Ok(())],
        ),
        ("open", "closed", [Ok(()); 4], [Err(Closed); 4]),
        ("token", "open", READ, READ),
        (
            "token",
            "token",
            READ,
            [Err(Hidden), Err(ScopeTooSmall), Ok(()), Ok(())],
        ),
        (
            "token",
            "closed",
            READ,
            [Err(Hidden), Err(Closed), Err(Closed), Err(Closed)],
        ),
    ];

    const SCOPES: [Option<Scope>; 4] = [
        None,
        Some(Scope::Read),
        Some(Scope::Post),
        Some(Scope::Admin),
    ];

    fn policies(read: &str, post: &str) -> Policies {
        Policies {
            read: read.parse().expect("a policy"),
            post: post.parse().expect("a policy"),
        }
    }

    #[test]
    fn each_policy_permits_each_scope_what_it_should() {
        for (read, post, may_read, may_post) in TABLE {
            let policies = policies(read, post);
            let found = SCOPES.map(|scope| policies.authorize(scope, Action::Read));
            assert_eq!(found, may_read, "reading, {read} {post}");
            let found = SCOPES.map(|scope| policies.authorize(scope, Action::Post));
            assert_eq!(found, may_post, "posting, {read} {post}");
        }
    }

    #[test]
    fn a_board_is_public_if_its_policy_for_reading_is_open() {
        for (read, post, ..) in TABLE {
            assert_eq!(policies(read, post).is_public(), read == "open");
        }
    }

    fn board(name: &str) -> BoardName {
        name.parse().expect("a name")
    }

    /// Returns a token for posting on `main`.
    fn token() -> Token {
        Token {
            id: 1,
            name: "bot".to_owned(),
            scope: Scope::Post,
            board: Some(board("main")),
            created_at: DateTime::UNIX_EPOCH,
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        }
    }

    fn is_listed(visible: &VisibleBoards, board: &BoardName, policies: Policies) -> bool {
        let is_public = ReadPolicy::public().any(|policy| policy == policies.read);
        match visible {
            VisibleBoards::All => true,
            VisibleBoards::Public => is_public,
            VisibleBoards::PublicAnd(only) => is_public || only == board,
        }
    }

    const MAIN: Option<&str> = Some("main");
    const OTHER: Option<&str> = Some("other");

    /// The board of a token with the scope `admin`, and that of the ticket that stands for it.
    type Holder = (Option<&'static str>, Option<&'static str>);

    /// Holders, with the scope of each on `main`, and whether it is enough to administrate `main`.
    const HOLDERS: [(Holder, Option<Scope>, bool); 9] = [
        ((None, None), Some(Scope::Admin), true),
        ((None, MAIN), Some(Scope::Read), false),
        ((None, OTHER), None, false),
        ((MAIN, None), Some(Scope::Admin), true),
        ((MAIN, MAIN), Some(Scope::Read), false),
        ((MAIN, OTHER), None, false),
        ((OTHER, None), None, false),
        ((OTHER, MAIN), None, false),
        ((OTHER, OTHER), None, false),
    ];

    fn token_for(board_name: Option<&str>, scope: Scope) -> Token {
        Token {
            board: board_name.map(board),
            scope,
            ..token()
        }
    }

    #[test]
    fn a_ticket_allows_reading_its_board_and_nothing_else() {
        let main = board("main");
        for ((of_token, of_ticket), scope, administrates) in HOLDERS {
            let token = token_for(of_token, Scope::Admin);
            let ticket = of_ticket.map(board);
            let context = format!("token for {of_token:?}, ticket for {of_ticket:?}");
            assert_eq!(token.scope_on(&main, ticket.as_ref()), scope, "{context}");
            assert_eq!(
                token.allows(Scope::Admin, Some(&main), ticket.as_ref()),
                administrates,
                "{context}"
            );
            // A ticket makes no other ticket.
            assert_eq!(
                token.allows(Scope::Read, Some(&main), ticket.as_ref()),
                administrates,
                "{context}"
            );
        }
    }

    #[test]
    fn lists_show_the_boards_that_may_be_read() {
        let main = board("main");
        let check = |visible: &VisibleBoards, scope| {
            for (read, post, ..) in TABLE {
                let policies = policies(read, post);
                assert_eq!(
                    is_listed(visible, &main, policies),
                    policies.authorize(scope, Action::Read).is_ok(),
                    "{visible:?}, {read} {post}"
                );
            }
        };
        check(&VisibleBoards::Public, None);
        for ((of_token, of_ticket), ..) in HOLDERS {
            for scope in Scope::ALL {
                let token = token_for(of_token, scope);
                let ticket = of_ticket.map(board);
                check(
                    &token.visible_boards(ticket.as_ref()),
                    token.scope_on(&main, ticket.as_ref()),
                );
            }
        }
    }

    #[test]
    fn allows_its_scope_and_those_below_it() {
        let (token, main) = (token(), board("main"));
        for (scope, allowed) in [
            (Scope::Read, true),
            (Scope::Post, true),
            (Scope::Admin, false),
        ] {
            assert_eq!(token.allows(scope, Some(&main), None), allowed, "{scope:?}");
        }
    }

    #[test]
    fn a_token_for_one_board_allows_nothing_on_others() {
        let token = token();
        assert!(!token.allows(Scope::Read, Some(&board("other")), None));
        assert!(!token.allows(Scope::Read, None, None));
        let for_all = Token {
            board: None,
            ..token
        };
        assert!(for_all.allows(Scope::Read, Some(&board("other")), None));
        assert!(for_all.allows(Scope::Read, None, None));
    }
}
