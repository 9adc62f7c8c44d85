//! What is wrong with a command line. No message repeats an argument: it may be a secret in the
//! wrong place.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Says what is wrong, and how the command is used.
pub(super) fn explain(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return error.to_string().trim_end().to_owned();
    }
    let usage = context(error, ContextKind::Usage)
        .map(|usage| format!("{usage}\n\n"))
        .unwrap_or_default();
    format!(
        "error: {}\n\n{usage}For more information, try '--help'.",
        reason(error)
    )
}

fn reason(error: &clap::Error) -> String {
    // With these kinds, the name of an option as it is defined.
    let option = || context(error, ContextKind::InvalidArg).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => unknown(
            context(error, ContextKind::InvalidArg),
            context(error, ContextKind::SuggestedArg),
        ),
        ErrorKind::InvalidSubcommand => unknown(
            context(error, ContextKind::InvalidSubcommand),
            context(error, ContextKind::SuggestedSubcommand),
        ),
        ErrorKind::ValueValidation => {
            let why = error.source().map(ToString::to_string);
            format!("{}: {}", option(), why.unwrap_or_default())
        }
        ErrorKind::InvalidValue if context(error, ContextKind::ValidValue).is_some() => {
            let values = context(error, ContextKind::ValidValue).unwrap_or_default();
            format!("{} takes one of: {values}", option())
        }
        ErrorKind::InvalidValue | ErrorKind::WrongNumberOfValues | ErrorKind::TooFewValues => {
            format!("{} needs a value", option())
        }
        ErrorKind::TooManyValues => format!("{} takes no more values", option()),
        ErrorKind::ArgumentConflict => format!("{} can be given only once", option()),
        ErrorKind::MissingRequiredArgument => format!("{} is missing", option()),
        ErrorKind::MissingSubcommand => "a command is missing".to_owned(),
        ErrorKind::InvalidUtf8 => "an argument is not Unicode".to_owned(),
        _ => "the command line cannot be read".to_owned(),
    }
}

/// Names an argument by its position, with what may have been meant.
fn unknown(argument: Option<String>, alike: Option<String>) -> String {
    let argument = argument.unwrap_or_default();
    let position = std::env::args_os()
        .skip(1)
        .position(|given| given.to_string_lossy().starts_with(&argument))
        .map_or(String::new(), |index| format!(" {}", index + 1));
    let hint = match alike {
        _ if argument.contains("://") => {
            "; a database URL is given by --database-url, that of a server by --url".to_owned()
        }
        Some(alike) => format!("; did you mean {alike}?"),
        None => String::new(),
    };
    format!("argument{position} is neither a command nor an option that can be used there{hint}")
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => Some(texts.join(", ")),
        ContextValue::StyledStr(text) => Some(text.to_string()),
        _ => None,
    }
}
