//! Prepares the database before it is used: waits until it is up, checks it, and migrates it.

use std::{
    thread,
    time::{Duration, Instant},
};

use kairanban_store::{
    Check, DatabaseAddress, StartError, Store, StoreError, check, check_files, migrate, repair,
};

use crate::{config::Config, exit::ExitError, last_seen};

/// Delay between two attempts to reach a database that is not up yet.
const RETRY: Duration = Duration::from_millis(500);

/// Waits for the database and brings it to the schema, if the configuration allows that. Blocks.
///
/// # Errors
/// If the database cannot be used as it is, is not up in time, or cannot be migrated.
pub fn prepare(config: &Config) -> Result<(), ExitError> {
    if !config.database.migrate {
        return require_current(config, "database.migrate is false");
    }
    warn_of(&files(config)?);
    let deadline = Instant::now() + config.database.start_wait;
    let (address, listen_address) = (config.address()?, config.listen_address()?);
    let mut found = wait_for(config, &listen_address, true, deadline)?;
    refuse_damage(&listen_address, &found)?;
    let ran = migrate_now(config, false)?;
    // Now there are tables, and the role of the server may be another one than that which made
    // them. Over a slow link nothing is asked twice.
    if !ran.is_empty() || address != listen_address {
        found = wait_for(config, &address, false, deadline)?;
    }
    warn_of(&found.warnings);
    refuse_damage(&address, &found)
}

/// Waits for a database that is at the schema already, and changes nothing in it. Blocks.
///
/// # Errors
/// As [`prepare`], or if it is not at the schema. `why` it is not migrated now is part of the text.
pub fn require_current(config: &Config, why: &str) -> Result<(), ExitError> {
    warn_of(&files(config)?);
    let deadline = Instant::now() + config.database.start_wait;
    let address = config.address()?;
    let found = wait_for(config, &address, false, deadline)?;
    warn_of(&found.warnings);
    refuse_damage(&address, &found)?;
    if found.is_current() {
        Ok(())
    } else {
        Err(not_migrated(config, &address, &found, why))
    }
}

/// Brings the database to the schema. Returns the names of the migrations that ran. Blocks.
///
/// # Errors
/// As [`prepare`].
pub fn migrate_only(config: &Config, new_epoch: bool) -> Result<Vec<String>, ExitError> {
    warn_of(&files(config)?);
    let deadline = Instant::now() + config.database.start_wait;
    let address = config.listen_address()?;
    let found = wait_for(config, &address, true, deadline)?;
    warn_of(&found.warnings);
    if !(found.damage.is_empty() && found.warnings.is_empty()) {
        for what in repair(&address, config.first_timeouts())
            .map_err(|error| failed(config, &address, error))?
        {
            tracing::warn!("repaired: {what}");
        }
        refuse_damage(&address, &wait_for(config, &address, true, deadline)?)?;
    }
    migrate_now(config, new_epoch)
}

/// Checks once whether a server could start. Returns notes for the operator.
///
/// # Errors
/// If it could not, with the reason.
pub fn examine(config: &Config) -> Result<Vec<String>, ExitError> {
    let (address, listen_address) = (config.address()?, config.listen_address()?);
    let migrates = config.database.migrate;
    let mut notes = files(config)?;
    let mut addresses = vec![(&address, migrates && address == listen_address)];
    if listen_address != address {
        addresses.push((&listen_address, migrates));
    }
    for (address, migrates) in addresses {
        let found = check(
            address,
            config.first_timeouts(),
            &config.default_board()?,
            migrates,
        );
        let found = found.map_err(|error| ExitError::Unusable(cannot_use(address, &error)))?;
        notes.extend(found.warnings.iter().cloned());
        refuse_damage(address, &found)?;
        if found.is_current() {
            continue;
        }
        if !config.database.migrate {
            return Err(not_migrated(
                config,
                address,
                &found,
                "database.migrate is false",
            ));
        }
        notes.push(format!(
            "{address} is not at this version's schema yet; the server brings it \
            there when it starts"
        ));
    }
    notes.dedup();
    Ok(notes)
}

/// Logs if the database has another default board than the configuration: topics that other
/// programs write without a board go to that one.
///
/// # Errors
/// If the database is away.
pub fn compare_default_board(config: &Config, store: &Store) -> Result<(), StoreError> {
    let stored = store.default_board()?;
    if let Some(stored) = stored.filter(|stored| stored.as_str() != config.board.default) {
        tracing::warn!(
            configured = config.board.default,
            %stored,
            "board.default is not the default board of the database: topics that other programs \
             write without a board go to the latter"
        );
    }
    Ok(())
}

fn migrate_now(config: &Config, new_epoch: bool) -> Result<Vec<String>, ExitError> {
    let address = config.listen_address()?;
    let ran = migrate(
        &address,
        config.first_timeouts(),
        &config.default_board()?,
        new_epoch,
    );
    let ran = ran.map_err(|error| failed(config, &address, error))?;
    for migration in &ran {
        tracing::info!(migration, "migrated");
    }
    Ok(ran)
}

fn failed(config: &Config, address: &DatabaseAddress, error: StoreError) -> ExitError {
    let text = format!("cannot migrate {address}: {error}");
    not_usable(config, address, text, error)
}

/// Returns the error for a step at the start or after it that failed: whether a restart may help is
/// the same question everywhere.
#[must_use]
pub fn not_usable(
    config: &Config,
    address: &DatabaseAddress,
    text: String,
    error: StoreError,
) -> ExitError {
    match StartError::of_failure(address, config.first_timeouts(), error) {
        StartError::NotYet { .. } => ExitError::Failed(text),
        StartError::Final(_) => ExitError::Unusable(text),
    }
}

/// Refuses a database that lacks something that the migrations made.
fn refuse_damage(address: &DatabaseAddress, found: &Check) -> Result<(), ExitError> {
    if found.damage.is_empty() {
        return Ok(());
    }
    Err(ExitError::Unusable(format!(
        "cannot use the database {address}: {}. Run `kairanban migrate` as the owner of the tables",
        found.damage.join("; ")
    )))
}

/// Checks the database until it is up.
fn wait_for(
    config: &Config,
    address: &DatabaseAddress,
    migrates: bool,
    deadline: Instant,
) -> Result<Check, ExitError> {
    let board = config.default_board()?;
    retry(address, deadline, || {
        check(address, config.first_timeouts(), &board, migrates)
    })
}

/// Tries something on a checked database, and waits while another program locks what it needs.
/// Blocks.
///
/// # Errors
/// If the database is away, or locked for too long.
pub fn wait_while_locked<T>(
    config: &Config,
    mut attempt: impl FnMut() -> Result<T, StoreError>,
) -> Result<T, ExitError> {
    let address = config.address()?;
    let deadline = Instant::now() + config.database.start_wait;
    retry(&address, deadline, || {
        attempt().map_err(|error| StartError::of_failure(&address, config.first_timeouts(), error))
    })
}

/// Tries until the database can be used, or never will. Logs each state that it is found in once.
fn retry<T>(
    address: &DatabaseAddress,
    deadline: Instant,
    mut attempt: impl FnMut() -> Result<T, StartError>,
) -> Result<T, ExitError> {
    let mut said = None;
    loop {
        let state = match attempt() {
            Ok(done) => {
                if said.is_some() {
                    tracing::info!(%address, "the database is up");
                }
                return Ok(done);
            }
            Err(error @ StartError::Final(_)) => {
                return Err(ExitError::Unusable(cannot_use(address, &error)));
            }
            Err(error @ StartError::NotYet { .. }) if Instant::now() >= deadline => {
                return Err(ExitError::Failed(cannot_use(address, &error)));
            }
            Err(StartError::NotYet { state, .. }) => state,
        };
        if said.replace(state) != Some(state) {
            let left_s = deadline.saturating_duration_since(Instant::now()).as_secs();
            tracing::warn!(%address, state, left_s, "waiting for the database");
        }
        thread::park_timeout(RETRY);
    }
}

fn cannot_use(address: &DatabaseAddress, error: &StartError) -> String {
    match error {
        StartError::NotYet { state, text } => {
            format!("cannot use the database {address}: {state} ({text})")
        }
        StartError::Final(text) => format!("cannot use the database {address}: {text}"),
    }
}

fn not_migrated(config: &Config, address: &DatabaseAddress, found: &Check, why: &str) -> ExitError {
    let what = match (address, found.pending.as_slice()) {
        (DatabaseAddress::Sqlite(path), _) if !path.exists() => "there is no such file".to_owned(),
        (_, []) => format!(
            "the board {} is not there, or `identity` names no default board",
            config.board.default
        ),
        (_, pending) => format!("it lacks {}", pending.join(", ")),
    };
    ExitError::Unusable(format!(
        "cannot use the database {address}: {what}, and {why}. Run `kairanban migrate` as the \
         owner of the tables (on Postgres config/grants-server.sql after it), or name another \
         database with --database-url"
    ))
}

fn warn_of(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// Checks the files of this server, and returns warnings.
fn files(config: &Config) -> Result<Vec<String>, ExitError> {
    let mut files = vec![config.server.data_dir.join(last_seen::FILE)];
    if let DatabaseAddress::Sqlite(path) = config.address()? {
        files.push(path);
    }
    let mut warnings = Vec::new();
    for file in files {
        let found = check_files(&file, config.database.follow_symlinks);
        warnings.extend(found.map_err(|error| ExitError::Unusable(error.to_string()))?);
    }
    warnings.sort_unstable();
    warnings.dedup();
    Ok(warnings)
}
