//! What follows the `?` of a Postgres URL. The words of libpq, and of a server, repeat a name that
//! libpq does not know and values that it does not like; those may be a password.

use std::{borrow::Cow, cmp::Reverse};

use percent_encoding::percent_decode_str;

/// The parameters that libpq knows, in the order of its documentation.
pub(super) const KNOWN: &[&str] = &[
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "require_auth",
    "channel_binding",
    "connect_timeout",
    "client_encoding",
    "options",
    "application_name",
    "fallback_application_name",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "replication",
    "gssencmode",
    "ssl",
    "sslmode",
    "sslnegotiation",
    "sslcompression",
    "sslcert",
    "sslkey",
    "sslkeylogfile",
    "sslpassword",
    "sslcertmode",
    "sslrootcert",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "requirepeer",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "min_protocol_version",
    "max_protocol_version",
    "krbsrvname",
    "gsslib",
    "gssdelegation",
    "scram_client_key",
    "scram_server_key",
    "service",
    "target_session_attrs",
    "load_balance_hosts",
    "oauth_issuer",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_scope",
];

/// Those that say which server and database it is, and as who: where they stand before the `?`,
/// they are shown, too.
const SHOWN: [&str; 5] = ["host", "hostaddr", "port", "dbname", "user"];

/// Returns what is wrong with the names of parameters, without repeating one.
pub(super) fn fault(query: &str) -> Option<String> {
    let unknown = pairs(query).position(|(name, _)| !KNOWN.contains(&name))?;
    Some(format!(
        "Postgres knows no parameter with the name of number {} behind the ?; it knows those of \
         libpq, as in sslmode=require&connect_timeout=5 (and a password stands before the host: \
         postgres://user:password@host/database)",
        unknown + 1
    ))
}

/// Replaces in a text of libpq, or of a server, what is secret in the URL.
#[must_use]
pub fn without_secrets(url: &str, text: &str) -> String {
    let (authority, query) = url.split_once('?').unwrap_or((url, ""));
    let password = authority
        .split_once("://")
        .and_then(|(_, rest)| rest.rsplit_once('@')?.0.split_once(':'))
        .map(|(_, password)| ("password", password));
    let hidden = pairs(query).filter(|(name, _)| !SHOWN.contains(name));
    let mut secrets: Vec<Cow<'_, str>> = Vec::new();
    for (name, value) in hidden.chain(password) {
        let decoded = percent_decode_str(value).decode_utf8_lossy();
        if name == "options" {
            // A server repeats single words of it.
            let words = decoded.split(|c: char| c.is_whitespace() || matches!(c, '=' | ',' | '-'));
            secrets.extend(words.map(|word| Cow::Owned(word.to_owned())));
        }
        secrets.extend([Cow::Borrowed(value), decoded]);
    }
    secrets.sort_by_key(|secret| Reverse(secret.len()));
    secrets
        .iter()
        .filter(|secret| !secret.is_empty())
        .fold(text.to_owned(), |text, secret| replace_word(&text, secret))
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Replaces a text where it is no part of a longer word.
fn replace_word(text: &str, word: &str) -> String {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, after) = (&rest[..at], &rest[at + word.len()..]);
        let is_inside = before.ends_with(char::is_alphanumeric)
            || (before.is_empty() && replaced.ends_with(char::is_alphanumeric))
            || after.starts_with(char::is_alphanumeric);
        replaced.push_str(before);
        replaced.push_str(if is_inside { word } else { "***" });
        rest = after;
    }
    replaced + rest
}

#[cfg(test)]
mod tests {
    use diesel::{Connection as _, PgConnection};

    use super::*;

    /// What libpq says of a URL that leads to no server.
    fn words_of_libpq(url: &str) -> String {
        PgConnection::establish(url)
            .err()
            .expect("no server")
            .to_string()
    }

    /// Of the libpq that is built with this crate; the system's own may be older.
    #[cfg(feature = "bundled")]
    #[test]
    fn the_known_parameters_are_those_of_libpq() {
        for name in KNOWN {
            let value = if *name == "ssl" { "true" } else { "0" };
            let said = words_of_libpq(&format!("postgres://127.0.0.1:1/d?{name}={value}"));
            assert!(!said.contains("URI query parameter"), "{name}: {said}");
            assert_eq!(fault(&format!("{name}={value}")), None);
        }
        for name in ["pwd", "canary", "sslkeyy", "Host"] {
            let said = words_of_libpq(&format!("postgres://127.0.0.1:1/d?{name}=0"));
            assert!(said.contains("URI query parameter"), "{name}: {said}");
            let fault = fault(&format!("sslmode=require&{name}=x")).expect("a fault");
            assert!(
                fault.contains("number 2") && !fault.contains(name),
                "{fault}"
            );
        }
    }

    /// Whatever libpq says of a value of whichever parameter.
    #[test]
    fn no_value_is_repeated() {
        let mut repeated = 0;
        for name in KNOWN.iter().filter(|name| !SHOWN.contains(name)) {
            for value in [
                "canary",
                "/canary/key.pem",
                "can%20canary",
                "1canary",
                "-canary",
            ] {
                for url in [
                    format!("postgres://127.0.0.1:1/d?{name}={value}"),
                    format!("postgres://ann:canary@127.0.0.1:1/d?sslmode=require&{name}={value}"),
                ] {
                    let said = words_of_libpq(&url);
                    repeated += usize::from(said.contains("canary"));
                    let shown = without_secrets(&url, &said);
                    assert!(!shown.contains("canary"), "{url}: {shown}");
                }
            }
        }
        assert!(repeated > 20, "libpq repeated {repeated}");
    }

    #[test]
    fn what_is_no_secret_stays() {
        let url = "postgres://ann:pw@h:5433/d?connect_timeout=5&options=-c%20jit%3Doff";
        for (text, shown) in [
            (
                "port 5433 failed: role \"ann\"",
                "port 5433 failed: role \"ann\"",
            ),
            ("\"pw\" spwn 5", "\"***\" spwn ***"),
            ("parameter \"jit\"", "parameter \"***\""),
        ] {
            assert_eq!(without_secrets(url, text), shown);
        }
    }
}
