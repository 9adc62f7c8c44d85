//! Which module may use which, checked on resolved paths: it does not matter how an import is
//! written.

use super::{facts::Written, sources::Workspace};

/// Forbids modules, as paths from the crate down, to name some things.
pub struct Layer {
    pub of: &'static [&'static str],
    /// Modules below `of` that are exempt.
    pub except: &'static [&'static str],
    /// Forbidden paths. `*::` at the front matches any beginning; `*` at the end of a segment
    /// matches any ending; `.name` is a method, whatever it is called on.
    pub never: &'static [&'static str],
}

pub const LAYERS: &[Layer] = &[
    // The core touches no outside world; time is passed in.
    Layer {
        of: &["kairanban_core"],
        except: &[],
        never: &[
            "actix*",
            "diesel*",
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
            "tokio::fs",
            "tokio::time",
            "tokio::net",
            "std::time::Instant::now",
            "std::time::SystemTime::now",
            "chrono::Utc::now",
            "chrono::Local::now",
        ],
    },
    // The store knows no network; row times are the database's.
    Layer {
        of: &["kairanban_store"],
        except: &[],
        never: &[
            "actix*",
            "std::net",
            "tokio::net",
            "tokio::time",
            "chrono::Utc::now",
            "chrono::Local::now",
            "std::time::SystemTime::now",
        ],
    },
    // There is one switch between databases.
    Layer {
        of: &["kairanban_store"],
        except: &["kairanban_store::connection", "kairanban_store::migrate"],
        never: &["*::AnyConnection::Postgres", "*::AnyConnection::Sqlite"],
    },
    // Client, server and conformance do not know each other.
    Layer {
        of: &["kairanban_client"],
        except: &[],
        never: &["actix*", "diesel*", "kairanban_store", "std::fs"],
    },
    Layer {
        of: &["kairanban_conformance"],
        except: &[],
        never: &[
            "actix*",
            "diesel*",
            "kairanban_store",
            "kairanban_client",
            "kairanban",
        ],
    },
    Layer {
        of: &["kairanban"],
        except: &["kairanban::cli"],
        never: &["kairanban_client"],
    },
    // Inside the server, dependencies point down.
    Layer {
        of: &["kairanban"],
        except: &[],
        never: &["diesel*"],
    },
    Layer {
        of: &["kairanban"],
        except: &[
            "kairanban::fuzzing",
            "kairanban::http",
            "kairanban::routes",
            "kairanban::server",
        ],
        never: &["kairanban::http"],
    },
    Layer {
        of: &["kairanban::service", "kairanban::follower"],
        except: &[],
        never: &["actix*"],
    },
    // One module puts everything together.
    Layer {
        of: &["kairanban"],
        except: &["kairanban::server"],
        never: &["*::Store::open", "*::Hub::new", "*::Writer::start"],
    },
    // Changes of the log are published by the follower alone. A load that overtakes it sends the
    // difference by `Hub::install_since`. What the two others call so is a command of Redis.
    Layer {
        of: &["kairanban"],
        except: &[
            "kairanban::follower",
            "kairanban::backplane::redis",
            "kairanban::shared_snapshots",
        ],
        never: &[".publish", "*::Hub::publish"],
    },
];

/// Modules of other crates of which all may be imported: what comes from a glob is not known to be
/// from there.
pub const GLOBS: &[&str] = &["diesel::prelude", "plotters::prelude"];

/// Returns a message with file and line for each glob of another crate that `allowed` does not
/// have.
pub fn foreign_globs(workspace: &Workspace, allowed: &[&str]) -> Vec<String> {
    let globs = workspace
        .uses()
        .filter(|named| named.written.written == Written::InGlob && named.target.module.is_none());
    let paths = globs.map(|named| (named.target.path.join("::"), named));
    paths
        .filter(|(path, _)| !allowed.contains(&path.as_str()))
        .map(|(path, named)| {
            let (file, line) = (&named.file.path, named.written.line);
            format!("{file}:{line} imports all of {path}; name what is used")
        })
        .collect()
}

/// Returns a message with file and line for each forbidden path.
pub fn trespasses(workspace: &Workspace, layers: &[Layer]) -> Vec<String> {
    let mut found = Vec::new();
    for named in workspace.uses() {
        for layer in layers {
            let is_bound = layer.of.iter().any(|of| matches(named.from, of));
            if !is_bound
                || layer
                    .except
                    .iter()
                    .any(|module| matches(named.from, module))
            {
                continue;
            }
            if let Some(never) = layer
                .never
                .iter()
                .find(|never| matches(&named.target.path, never))
            {
                let written = named.written.segments.join("::");
                found.push(format!(
                    "{}:{} must not know {never}: {written}",
                    named.file.path, named.written.line
                ));
            }
        }
    }
    found
}

fn matches(path: &[String], pattern: &str) -> bool {
    let (pattern, is_anywhere) = pattern
        .strip_prefix("*::")
        .map_or((pattern, false), |rest| (rest, true));
    let segments: Vec<&str> = pattern.split("::").collect();
    let starts = if is_anywhere { path.len() } else { 1 };
    (0..starts).any(|start| {
        let rest = &path[start..];
        rest.len() >= segments.len()
            && rest
                .iter()
                .zip(&segments)
                .all(|(name, segment)| match segment.strip_suffix('*') {
                    Some(beginning) => name.starts_with(beginning),
                    None => name == segment,
                })
    })
}
