//! Where the database is. A URL is checked before any library sees it, because their messages quote
//! the part that they could not read, and that part may be a piece of the password.

mod parameters;

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

pub use self::parameters::without_secrets;

/// Where the boards are kept.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseAddress {
    /// A server, by its URL.
    Postgres(String),
    /// The path of a SQLite file.
    Sqlite(PathBuf),
}

const FORMS: &str =
    "a database URL starts with postgres:// or sqlite://, as in sqlite://data/kairanban.db";

impl DatabaseAddress {
    /// Returns the name of the kind of database.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Sqlite(_) => "sqlite",
        }
    }

    /// Returns the path of the file of a SQLite database; `None` for Postgres.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

impl FromStr for DatabaseAddress {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        // The text may hold a password, so no message repeats it.
        match url.split_once(':') {
            Some(("postgres" | "postgresql", rest)) => {
                let rest = rest.strip_prefix("//").ok_or(FORMS)?;
                if let Some(fault) = url_fault(rest) {
                    return Err(fault.to_owned());
                }
                let query = rest.split_once('?').map_or("", |(_, query)| query);
                parameters::fault(query).map_or_else(|| Ok(Self::Postgres(url.to_owned())), Err)
            }
            Some(("sqlite", path)) if !path.trim_start_matches("//").is_empty() => {
                let path = path.strip_prefix("//").unwrap_or(path);
                if path
                    .split_once('@')
                    .is_some_and(|(before, _)| before.contains(':'))
                {
                    return Err(
                        "a sqlite URL is a path: it has neither user name nor password".to_owned(),
                    );
                }
                if path.contains(|c: char| c == '?' || c.is_control())
                    || path == ":memory:"
                    || path.starts_with("file:")
                {
                    return Err(SQLITE_PATH.to_owned());
                }
                Ok(Self::Sqlite(path.into()))
            }
            _ => Err(FORMS.to_owned()),
        }
    }
}

/// Without user name and password.
impl fmt::Display for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(url) => {
                let rest = url.split_once("://").map_or("", |(_, rest)| rest);
                let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                write!(
                    f,
                    "postgres://{}",
                    rest.split_once('?').map_or(rest, |(rest, _)| rest)
                )
            }
        }
    }
}

impl fmt::Debug for DatabaseAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

const SQLITE_PATH: &str = "behind sqlite:// stands the path of a file, as in \
    sqlite://data/kairanban.db: no parameters behind a ?, no control characters, neither :memory: \
    nor file:";
const ENCODE: &str = "a character of the user name, the password or the query has to be \
    percent-encoded: %25 for %, %40 for @, %2F for /, %3F for ?, %23 for #, %20 for a space";
const HOST: &str = "behind the user name and the password stands a host and perhaps a port, as in \
    host:5432; a character of the user name or the password that is special in URLs has to be \
    percent-encoded (%40 for @, %2F for /, %3F for ?, %3A for :)";
const PATH: &str =
    "behind the host stands one name of a database; a / in a name or a password is written %2F";
const QUERY: &str = "behind the ? stand parameters as in key=value&key=value; a special character \
    in a value is percent-encoded";

/// Returns what is wrong with the part of a URL that follows `scheme://`, without repeating any of
/// it. `None` if every parser of URLs finds the password at the same place.
#[must_use]
pub fn url_fault(rest: &str) -> Option<&'static str> {
    if rest.contains(is_forbidden) || !is_percent_encoded(rest) {
        return Some(ENCODE);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    if tail.contains('@') || user.contains(['@', '[', ']']) {
        return Some(ENCODE);
    }
    if !hosts.split(',').all(is_host) {
        return Some(HOST);
    }
    if path.get(1..).is_some_and(|name| name.contains('/')) {
        return Some(PATH);
    }
    let has_pairs = query.is_empty() || query.split('&').all(is_parameter);
    (!has_pairs).then_some(QUERY)
}

/// Returns whether parsers of URLs could disagree about this character.
fn is_forbidden(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || matches!(c, '#' | '"' | '\'' | '`' | '\\' | '<' | '>' | '|' | '^')
}

/// Returns whether this is `key=value`.
fn is_parameter(pair: &str) -> bool {
    pair.split_once('=').is_some_and(|(key, value)| {
        !key.is_empty()
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !value.contains(['=', '?'])
    })
}

/// Returns whether each `%` is followed by two hex digits that are not those of NUL.
fn is_percent_encoded(text: &str) -> bool {
    text.split('%').skip(1).all(|piece| {
        let digits = piece.as_bytes().get(..2).unwrap_or_default();
        digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit) && digits != b"00"
    })
}

/// Returns whether this is a host, perhaps with a port: a name, an address, or an encoded path to a
/// socket.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else {
                return false;
            };
            if !address
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
            {
                return false;
            }
            (
                "",
                port.strip_prefix(':')
                    .or_else(|| port.is_empty().then_some("")),
            )
        }
        None => text
            .split_once(':')
            .map_or((text, Some("")), |(host, port)| (host, Some(port))),
    };
    host.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'%'))
        && port.is_some_and(is_port)
}

fn is_port(text: &str) -> bool {
    text.is_empty()
        || (text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_selects_the_database() {
        assert_eq!(
            "sqlite://data/a.db".parse::<DatabaseAddress>(),
            Ok(DatabaseAddress::Sqlite("data/a.db".into()))
        );
        assert_eq!(
            "sqlite:///var/a.db".parse::<DatabaseAddress>(),
            Ok(DatabaseAddress::Sqlite("/var/a.db".into()))
        );
        for url in [
            "postgresql://h/d",
            "postgres://",
            "postgres:///d?host=/run",
            "postgres://a:b%40c@[::1]:5432,h2/d?sslmode=require",
        ] {
            assert!(
                matches!(
                    url.parse::<DatabaseAddress>(),
                    Ok(DatabaseAddress::Postgres(_))
                ),
                "{url}"
            );
        }
        for wrong in [
            "",
            "sqlite://",
            "mysql://h/d",
            "data/a.db",
            "postgres:h/d",
            "postgres:/h",
        ] {
            assert!(wrong.parse::<DatabaseAddress>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let address: DatabaseAddress =
            "postgres://ann:secret@db.example:5432/board?sslmode=require"
                .parse()
                .expect("an address");
        assert_eq!(
            format!("{address} {address:?}"),
            "postgres://db.example:5432/board postgres://db.example:5432/board"
        );
    }

    /// Whatever stands in a password unencoded: the URL is refused, or read with all of it in the
    /// password.
    #[test]
    fn no_piece_of_a_password_is_taken_for_something_else() {
        for special in "%?/@#&=+:;,. \"'\\[]{}|^<>`$!*()~_-\u{0}\n\té回".chars() {
            for password in [
                format!("ca{special}nary"),
                format!("{special}canary"),
                format!("canary{special}"),
                format!("ca%{special}nary"),
            ] {
                for tail in ["@h/d", "@h:5432/d?sslmode=require", "@[::1]/d"] {
                    let url = format!("postgres://ann:{password}{tail}");
                    match url.parse::<DatabaseAddress>() {
                        Ok(address) => {
                            assert!(!address.to_string().contains("nary"), "{url}: {address}")
                        }
                        Err(fault) => assert!(!fault.contains("nary"), "{url}: {fault}"),
                    }
                }
            }
        }
    }
}
