//! The page on which a person signs in.

use std::time::Duration;

use minijinja::Error;
use serde::Serialize;

use super::{LOGIN, Pages};
use crate::{error::whole_seconds, preferences::Preferences};

/// Why a person was not signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFault {
    /// The token is not valid; the page does not say whether it ever was.
    BadToken,
    /// The address has tried too often.
    TooMany {
        /// How long until it may try again.
        retry_after: Duration,
    },
}

/// What the template sees.
#[derive(Serialize)]
struct LoginContext {
    /// Where the form is sent, with where to go from there.
    action: String,
    fault: Option<String>,
}

impl Pages {
    /// Renders the page on which a person signs in.
    ///
    /// # Errors
    /// If the template fails.
    pub fn login(&self, reader: &Preferences, fault: Option<LoginFault>) -> Result<String, Error> {
        let fault = fault.map(|fault| match fault {
            LoginFault::BadToken => self.said(reader.language, "login.bad_token", &[]),
            LoginFault::TooMany { retry_after } => {
                let seconds = whole_seconds(retry_after).to_string();
                self.said(reader.language, "login.too_many", &[("n", &seconds)])
            }
        });
        let context = LoginContext {
            action: format!("{LOGIN}{}", reader.query_alone()),
            fault,
        };
        self.page("login.html", reader, None, context)
    }
}
