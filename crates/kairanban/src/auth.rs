//! Who asks, and what they may do.
//!
//! Every read of a board takes a [`Caller`]; what only an administrator may do takes the proof
//! of one, and only this file can make it: a handler that forgets to ask does not compile, and
//! one that asked for another board changes that one.

mod active_tokens;
pub mod finder;

use std::{
    future::{Future, pending},
    sync::Arc,
    time::Instant,
};

use futures_util::future::BoxFuture;
use kairanban_core::{Action, Actor, BoardChannel, BoardName, Policies, Scope, Token};
use kairanban_store::{FoundToken, Secret, Store, StoreError, TicketTimes, Visible};
use tokio::sync::watch;

use crate::blocking::query;

pub use active_tokens::ActiveTokens;
use active_tokens::TicketLease;
pub use finder::TokenFinder;

/// The client that asks: anybody, or the holder of a token. The token is followed while the caller lives, so
/// that what it allows is always what it allows now.
#[derive(Clone, Debug, Default)]
pub struct Caller(Option<Box<Grant>>);

#[derive(Clone, Debug)]
struct Grant {
    token: watch::Receiver<Option<FoundToken>>,
    held: ActiveTokens,
    /// With a ticket: the board that it is for, and the place that one stream may hold.
    ticket: Option<(BoardName, Arc<TicketLease>)>,
}

impl Caller {
    /// What the caller's token allows on a board now; `None` without a token, or if it is for another board.
    #[must_use]
    pub fn right(&self, board: &BoardName) -> Option<Scope> {
        let grant = self.0.as_ref()?;
        let found = grant.token.borrow();
        let found = found.as_ref().filter(|found| grant.held.is_good(found))?;
        let token = Some(&found.token).filter(|token| token.allows(Scope::Read, Some(board)))?;
        match &grant.ticket {
            None => Some(token.scope),
            Some((only, _)) => (only == board).then_some(Scope::Read),
        }
    }

    /// Returns whether the caller may do something on a board with these policies. On a public board no token is looked at.
    #[must_use]
    pub fn may(&self, action: Action, board: &BoardName, policies: Policies) -> bool {
        policies.permit(None, action).is_ok() || policies.permit(self.right(board), action).is_ok()
    }

    /// Returns whether the caller may read a board, as far as memory knows. While it does not know the board's policies, there is
    /// nothing that could be shown; they are asked again once it is loaded.
    #[must_use]
    pub fn may_read(&self, channel: &BoardChannel) -> bool {
        let policies = channel.live().policies();
        policies.is_none_or(|policies| self.may(Action::Read, &channel.board, policies))
    }

    /// Which boards the caller may know of.
    #[must_use]
    pub fn visible(&self) -> Visible {
        match self.good_token() {
            None => Visible::Open(None),
            Some(Token { board: None, .. }) => Visible::All,
            Some(Token { board, .. }) => Visible::Open(board),
        }
    }

    /// Returns the id of the caller's token, good or not.
    #[must_use]
    pub fn token(&self) -> Option<i64> {
        let grant = self.0.as_ref()?;
        let found = grant.token.borrow();
        found.as_ref().map(|found| found.token.id)
    }

    /// Checks that the caller may administer all boards.
    ///
    /// # Errors
    /// If not.
    pub fn administrator(&self) -> Result<Administrator, Denied> {
        let token = self.holder_of(Scope::Admin, None)?;
        Ok(Administrator(actor(token)))
    }

    /// Checks that the caller may administer `board`.
    ///
    /// # Errors
    /// If not.
    pub fn board_administrator(&self, board: BoardName) -> Result<BoardAdministrator, Denied> {
        let token = self.holder_of(Scope::Admin, Some(&board))?;
        Ok(BoardAdministrator {
            board,
            actor: actor(token),
        })
    }

    /// Whether another stream came in by the same ticket later.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        let ticket = self.0.as_ref().and_then(|grant| grant.ticket.as_ref());
        ticket.is_some_and(|(_, hold)| hold.is_over())
    }

    /// When the caller's token ends by itself.
    #[must_use]
    pub fn ends_at(&self) -> Option<Instant> {
        self.0.as_ref()?.token.borrow().as_ref()?.ends_at
    }

    /// Waits until what the caller may do has changed since [`look`](Self::look). For anybody that is never, and
    /// `None`: who needs no token keeps no room for one.
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
        // Who has no ticket keeps no room for one.
        Some(match ticket {
            None => Box::pin(changed),
            Some((_, hold)) => Box::pin(async move {
                tokio::select! {
                    () = changed => {}
                    () = hold.over() => {}
                }
            }),
        })
    }

    /// Marks the caller's permissions as seen.
    pub fn look(&mut self) {
        if let Some(grant) = &mut self.0 {
            grant.token.mark_unchanged();
        }
    }

    fn good_token(&self) -> Option<Token> {
        let grant = self.0.as_ref()?;
        let found = grant.token.borrow();
        found
            .as_ref()
            .filter(|found| grant.held.is_good(found))
            .map(|found| found.token.clone())
    }

    fn holder_of(&self, scope: Scope, board: Option<&BoardName>) -> Result<Token, Denied> {
        let Some(_) = &self.0 else {
            return Err(Denied::Missing);
        };
        let token = self.good_token().ok_or(Denied::Unknown)?;
        if token.allows(scope, board) {
            Ok(token)
        } else {
            Err(Denied::Forbidden)
        }
    }
}

/// Proof that the client showed a token that allows administering all boards.
#[derive(Debug)]
pub struct Administrator(Actor);

impl Administrator {
    /// Returns the actor, as the audit names it.
    #[must_use]
    pub fn actor(&self) -> Actor {
        self.0.clone()
    }
}

/// Proof that the client showed a token that allows administering this board.
#[derive(Debug)]
pub struct BoardAdministrator {
    board: BoardName,
    actor: Actor,
}

impl BoardAdministrator {
    /// Returns the board that is administered.
    #[must_use]
    pub const fn board(&self) -> &BoardName {
        &self.board
    }

    /// Returns the actor, as the audit names it.
    #[must_use]
    pub fn actor(&self) -> Actor {
        self.actor.clone()
    }
}

/// Why a client is not let in.
#[derive(Debug)]
pub enum Denied {
    /// No token was shown.
    Missing,
    /// The token is unknown or no longer good.
    Unknown,
    /// The token is good, but not for this.
    Forbidden,
    /// The database is away, so that it is not known.
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

/// Finds out who asks. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authenticator {
    store: Store,
    finder: TokenFinder,
    held: ActiveTokens,
}

impl Authenticator {
    /// Creates one that finds tokens by `finder` and follows those in use among `held`.
    #[must_use]
    pub const fn new(store: Store, finder: TokenFinder, held: ActiveTokens) -> Self {
        Self {
            store,
            finder,
            held,
        }
    }

    /// Finds out who shows `secret`; without one it is anybody.
    ///
    /// # Errors
    /// If it is no good token.
    pub async fn caller(&self, secret: Option<&str>) -> Result<Caller, Denied> {
        let Some(secret) = secret.map(str::to_owned) else {
            return Ok(Caller::default());
        };
        let find = || self.finder.find(secret.clone());
        Ok(self.admit(self.follow_token(find).await?, None))
    }

    /// Lets in a client that shows a ticket for a board. A stream that an earlier use of it opened ends. `client` is who shows it: the
    /// first to do so is the only one.
    ///
    /// # Errors
    /// If it is no good ticket, or that of another client, or its token is no longer good.
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
        let hold = self.held.take_ticket(secret);
        Ok(self.admit(token, Some((board.clone(), Arc::new(hold)))))
    }

    fn admit(
        &self,
        token: watch::Receiver<Option<FoundToken>>,
        ticket: Option<(BoardName, Arc<TicketLease>)>,
    ) -> Caller {
        Caller(Some(Box::new(Grant {
            token,
            held: self.held.clone(),
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
            let looks = self.held.looks();
            let token = find()
                .await?
                .filter(|found| self.held.is_good(found))
                .ok_or(Denied::Unknown)?;
            let followed = self.held.follow(token);
            if self.held.looks() == looks {
                return Ok(followed);
            }
        }
    }

    /// Makes a ticket by which the caller lets one stream of `board` in.
    ///
    /// # Errors
    /// If the caller has no token that allows reading the board, or too many tickets, or there is no such board.
    pub async fn create_ticket(
        &self,
        caller: &Caller,
        board: BoardName,
        times: TicketTimes,
        alive_max: usize,
    ) -> Result<Secret, Denied> {
        let token = caller.holder_of(Scope::Read, Some(&board))?;
        let ticket = Secret::ticket()?;
        let made = ticket.clone();
        query(&self.store, move |store| {
            store.create_ticket(token.id, &board, &made, times, alive_max)
        })
        .await?;
        Ok(ticket)
    }
}
