//! Signs browsers in with a token, and out.

use std::time::Duration;

use kairanban_store::{FoundToken, NewBrowserSession, Secret};

use super::{Authenticator, Credential, Denied};
use crate::blocking::query;

/// How long sessions last, and how many there are.
#[derive(Clone, Copy, Debug)]
pub struct SessionBounds {
    /// How long a session lasts, if its token does.
    pub age_max: Duration,
    /// The sessions of one token that are alive.
    pub per_token_max: usize,
}

impl Authenticator {
    /// Finds the token that a person signs in with.
    ///
    /// # Errors
    /// [`Denied::Unknown`] if it is not valid, whatever the reason, or if the database is away.
    pub async fn token(&self, secret: String) -> Result<FoundToken, Denied> {
        let found = self.finder.find(Credential::Token(secret)).await?;
        let valid = found.filter(|found| self.active_tokens.is_valid(found));
        valid.ok_or(Denied::Unknown)
    }

    /// Begins a session for a token. Returns what the browser will present, which is new at each
    /// sign-in. Ends the `earlier` session of the browser, if it has one.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn sign_in(
        &self,
        token: FoundToken,
        bounds: SessionBounds,
        earlier: Option<String>,
    ) -> Result<Secret, Denied> {
        let secret = Secret::session()?;
        let made = secret.clone();
        let begun = query(&self.store, move |store| {
            if let Some(earlier) = earlier {
                store.end_session(&earlier)?;
            }
            store.create_session(NewBrowserSession {
                token: &token,
                secret: &made,
                age_max: bounds.age_max,
                alive_max: bounds.per_token_max,
            })
        });
        begun.await?;
        Ok(secret)
    }

    /// Ends a session, on every node. One that is unknown is no error.
    ///
    /// # Errors
    /// If the database is away.
    pub async fn sign_out(&self, session: String) -> Result<(), Denied> {
        let ended = query(&self.store, move |store| store.end_session(&session));
        Ok(ended.await?)
    }
}
