//! Authenticates callers, and checks what they may do.
//!
//! Every read of a board takes a [`Caller`]; every administrative command takes the proof of an
//! administrator, which only [`Caller`] can make. So a handler that does not check does not
//! compile, and one that checks another board changes that one.

mod active_tokens;
mod administrator;
pub mod finder;
mod sessions;

use std::{
    future::{Future, pending},
    sync::Arc,
    time::Instant,
};

use futures_util::future::BoxFuture;
use kairanban_core::{
    Action, Actor, BoardChannel, BoardName, NotPermitted, Policies, Scope, Token, VisibleBoards,
};
use kairanban_store::{FoundToken, NewTicket, Secret, Store, StoreError, TicketTimes};
use tokio::sync::watch;

use crate::blocking::query;

pub use active_tokens::ActiveTokens;
use active_tokens::TicketLease;
pub use administrator::{Administrator, BoardAdministrator, CommandOrigin};
pub use finder::{Credential, TokenFinder};
pub use sessions::SessionBounds;

/// The client that makes a request, with or without a token. The token is followed while the caller
/// lives, so that what it allows is always what it allows now.
#[derive(Clone, Debug, Default)]
pub struct Caller(Option<Box<Grant>>);

#[derive(Clone, Debug)]
struct Grant {
    token: watch::Receiver<Option<FoundToken>>,
    active_tokens: ActiveTokens,
    /// The board that the caller's ticket is for, and the lease of its stream; `None` without a
    /// ticket.
    ticket: Option<(BoardName, Arc<TicketLease>)>,
}

impl Grant {
    fn ticket_board(&self) -> Option<&BoardName> {
        self.ticket.as_ref().map(|(board, _)| board)
    }
}

impl Caller {
    /// Returns what the caller's token allows on a board now; `None` without a token, or if it is
    /// for another board.
    #[must_use]
    pub fn scope_on(&self, board: &BoardName) -> Option<Scope> {
        let grant = self.0.as_ref()?;
        let found = grant.token.borrow();
        let found = found
            .as_ref()
            .filter(|found| grant.active_tokens.is_valid(found))?;
        found.token.scope_on(board, grant.ticket_board())
    }

    /// Decides whether the caller may do something on a board with these policies.
    ///
    /// # Errors
    /// [`NotPermitted`] says why not.
    pub fn authorize(
        &self,
        action: Action,
        board: &BoardName,
        policies: Policies,
    ) -> Result<(), NotPermitted> {
        // On a public board the token need not be looked at, which streams do for each change.
        policies
            .authorize(None, action)
            .or_else(|_| policies.authorize(self.scope_on(board), action))
    }

    /// Returns whether the caller may do something on a board with these policies.
    #[must_use]
    pub fn may(&self, action: Action, board: &BoardName, policies: Policies) -> bool {
        self.authorize(action, board, policies).is_ok()
    }

    /// Returns whether the caller may read a board, as far as memory knows. While it does not know
    /// the board's policies, there is nothing that could be shown; they are asked again once it is
    /// loaded.
    #[must_use]
    pub fn may_read(&self, channel: &BoardChannel) -> bool {
        let policies = channel.live().policies();
        policies.is_none_or(|policies| self.may(Action::Read, &channel.board, policies))
    }

    /// Returns the boards that lists show to the caller.
    #[must_use]
    pub fn visible_boards(&self) -> VisibleBoards {
        let Some((grant, token)) = self.0.as_ref().zip(self.valid_token()) else {
            return VisibleBoards::Public;
        };
        token.visible_boards(grant.ticket_board())
    }

    /// Returns the id of the caller's token, valid or not.
    #[must_use]
    pub fn token(&self) -> Option<i64> {
        let grant = self.0.as_ref()?;
        let found = grant.token.borrow();
        found.as_ref().map(|found| found.token.id)
    }

    /// Returns the name of the caller's token, if the caller is a browser that is signed in with
    /// it.
    #[must_use]
    pub fn signed_in_as(&self) -> Option<String> {
        let grant = self.0.as_ref()?;
        let found = grant.token.borrow();
        let found = found.as_ref().filter(|found| found.session.is_some());
        found.map(|found| found.token.name.clone())
    }

    /// Checks that the caller may administer all boards.
    ///
    /// # Errors
    /// If the caller has no valid token, or one that does not allow it.
    pub fn administrator(&self) -> Result<Administrator, Denied> {
        let token = self.holder_of(Scope::Admin, None)?;
        Ok(Administrator::new(actor(token)))
    }

    /// Checks that the caller may administer `board`.
    ///
    /// # Errors
    /// If the caller has no valid token, or one that does not allow it.
    pub fn board_administrator(&self, board: BoardName) -> Result<BoardAdministrator, Denied> {
        let token = self.holder_of(Scope::Admin, Some(&board))?;
        Ok(BoardAdministrator::new(actor(token), board))
    }

    /// Checks that the caller may have tickets for `board`.
    ///
    /// # Errors
    /// If the caller has no valid token, or one that does not allow reading the board.
    pub fn ensure_may_have_ticket(&self, board: &BoardName) -> Result<(), Denied> {
        self.ticket_holder(board).map(drop)
    }

    /// Returns the token that tickets for `board` stand for: one that allows reading it.
    fn ticket_holder(&self, board: &BoardName) -> Result<Token, Denied> {
        self.holder_of(Scope::Read, Some(board))
    }

    /// Returns whether another stream was opened with the same ticket later.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        let ticket = self.0.as_ref().and_then(|grant| grant.ticket.as_ref());
        ticket.is_some_and(|(_, lease)| lease.is_replaced())
    }

    /// Returns when the caller's token expires.
    #[must_use]
    pub fn ends_at(&self) -> Option<Instant> {
        self.0.as_ref()?.token.borrow().as_ref()?.ends_at
    }

    /// Returns a future that waits until what the caller may do has changed since
    /// [`mark_seen`](Self::mark_seen). `None` without a token: nothing changes then, and no memory
    /// is kept for it.
    #[must_use]
    pub fn changed(&self) -> Option<BoxFuture<'static, ()>> {
        let Grant {
            mut token, ticket, ..
        } = self.0.as_deref()?.clone();
        let changed = async move {
            if token.changed().await.is_err() {
                pending().await
            }
        };
        // A caller without a ticket keeps no memory for one.
        Some(match ticket {
            None => Box::pin(changed),
            Some((_, lease)) => Box::pin(async move {
                tokio::select! {
                    () = changed => {}
                    () = lease.replaced() => {}
                }
            }),
        })
    }

    /// Marks the caller's permissions as seen, for [`changed`](Self::changed).
    pub fn mark_seen(&mut self) {
        if let Some(grant) = &mut self.0 {
            grant.token.mark_unchanged();
        }
    }

    fn session(&self) -> Option<i64> {
        let grant = self.0.as_ref()?;
        let found = grant.token.borrow();
        found.as_ref()?.session.map(|session| session.id)
    }

    fn valid_token(&self) -> Option<Token> {
        let grant = self.0.as_ref()?;
        let found = grant.token.borrow();
        found
            .as_ref()
            .filter(|found| grant.active_tokens.is_valid(found))
            .map(|found| found.token.clone())
    }

    fn holder_of(&self, scope: Scope, board: Option<&BoardName>) -> Result<Token, Denied> {
        let grant = self.0.as_ref().ok_or(Denied::Missing)?;
        let token = self.valid_token().ok_or(Denied::Unknown)?;
        if token.allows(scope, board, grant.ticket_board()) {
            Ok(token)
        } else {
            Err(Denied::Forbidden)
        }
    }
}

/// Why a client is refused.
#[derive(Debug)]
pub enum Denied {
    /// No token was shown.
    Missing,
    /// The token is unknown or no longer valid.
    Unknown,
    /// The token is valid, but does not allow this.
    Forbidden,
    /// The database is away, so the token cannot be checked.
    Failed(StoreError),
}

impl From<StoreError> for Denied {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

fn actor(token: Token) -> Actor {
    Actor {
        name: token.name,
        token: Some(token.id),
    }
}

/// Authenticates callers by token or ticket, and signs browsers in and out. Cheap to clone. Only
/// [`caller`](Self::caller) is cancel safe: what other futures do may be done after they are
/// dropped.
#[derive(Clone, Debug)]
pub struct Authenticator {
    store: Store,
    finder: TokenFinder,
    active_tokens: ActiveTokens,
}

impl Authenticator {
    /// Creates an authenticator that finds tokens with `finder` and follows those in use in
    /// `active_tokens`.
    #[must_use]
    pub const fn new(store: Store, finder: TokenFinder, active_tokens: ActiveTokens) -> Self {
        Self {
            store,
            finder,
            active_tokens,
        }
    }

    /// Returns the tokens and tickets that are in use.
    #[must_use]
    pub const fn active_tokens(&self) -> &ActiveTokens {
        &self.active_tokens
    }

    /// Authenticates a caller by what it presents. Without that the caller is anonymous.
    ///
    /// # Errors
    /// If the token or session is unknown or no longer valid, or the database is away.
    pub async fn caller(&self, shown: Option<Credential>) -> Result<Caller, Denied> {
        let Some(shown) = shown else {
            return Ok(Caller::default());
        };
        let find = || self.finder.find(shown.clone());
        let token = self.follow_token(find).await?;
        Ok(self.caller_with(token, None))
    }

    /// Authenticates a client by a ticket for a board, and ends the stream that was opened with it
    /// before. The first `client` to use a ticket is the only one that may.
    ///
    /// # Errors
    /// If the ticket is unknown, expired or that of another client, if its token is no longer
    /// valid, or the database is away.
    pub async fn caller_with_ticket(
        &self,
        secret: &str,
        board: &BoardName,
        client: &str,
        times: TicketTimes,
    ) -> Result<Caller, Denied> {
        let find = || {
            let (secret, board, client) = (secret.to_owned(), board.clone(), client.to_owned());
            query(&self.store, move |store| {
                store.use_ticket(&secret, &board, &client, times)
            })
        };
        let token = self.follow_token(find).await?;
        let lease = self.active_tokens.lease_ticket(secret);
        Ok(self.caller_with(token, Some((board.clone(), Arc::new(lease)))))
    }

    fn caller_with(
        &self,
        token: watch::Receiver<Option<FoundToken>>,
        ticket: Option<(BoardName, Arc<TicketLease>)>,
    ) -> Caller {
        Caller(Some(Box::new(Grant {
            token,
            active_tokens: self.active_tokens.clone(),
            ticket,
        })))
    }

    /// Finds a token and follows it from then on, so that no change falls in between.
    async fn follow_token<F>(
        &self,
        find: impl Fn() -> F,
    ) -> Result<watch::Receiver<Option<FoundToken>>, Denied>
    where
        F: Future<Output = Result<Option<FoundToken>, StoreError>>,
    {
        loop {
            let refreshes = self.active_tokens.refresh_count();
            let token = find()
                .await?
                .filter(|found| self.active_tokens.is_valid(found))
                .ok_or(Denied::Unknown)?;
            let followed = self.active_tokens.follow(token);
            if self.active_tokens.refresh_count() == refreshes {
                return Ok(followed);
            }
        }
    }

    /// Creates a ticket that opens one stream of `board`, for the caller's token.
    ///
    /// # Errors
    /// If the caller has no token that allows reading the board, or too many tickets, if there is
    /// no such board, or the database is away.
    pub async fn create_ticket(
        &self,
        caller: &Caller,
        board: BoardName,
        times: TicketTimes,
        alive_max: usize,
    ) -> Result<Secret, Denied> {
        let token = caller.ticket_holder(&board)?;
        let session = caller.session();
        let ticket = Secret::ticket()?;
        let made = ticket.clone();
        query(&self.store, move |store| {
            let new = NewTicket {
                token: token.id,
                session,
                board: &board,
                secret: &made,
            };
            store.create_ticket(new, times, alive_max)
        })
        .await?;
        Ok(ticket)
    }
}
