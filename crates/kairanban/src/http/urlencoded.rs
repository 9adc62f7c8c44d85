//! `application/x-www-form-urlencoded`, as forms and queries are written. Strict: a text that is
//! guessed here would stand on the board, or find nothing.

use std::{borrow::Cow, fmt};

use percent_encoding::percent_decode;

/// Why a name or a value cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// A `%` that two hex digits do not follow.
    Escape,
    /// Bytes that are no text.
    NotUtf8,
}

/// What the name or the value must do.
impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Escape => "must have two hex digits after each %; %25 is a percent sign",
            Self::NotUtf8 => "must be UTF-8",
        })
    }
}

/// Splits a text into names and values, as they are encoded.
pub fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = text.split(|byte| *byte == b'&');
    pairs.filter(|pair| !pair.is_empty()).map(|pair| {
        let split = pair.iter().position(|byte| *byte == b'=');
        let split = split.unwrap_or(pair.len());
        (&pair[..split], pair.get(split + 1..).unwrap_or_default())
    })
}

/// Decodes the `+` and the `%41` of a name or a value.
///
/// # Errors
/// For a lone `%` and for bytes that are no text: neither becomes a replacement character.
pub fn decode(text: &[u8]) -> Result<String, DecodeError> {
    let mut escapes = text.split(|byte| *byte == b'%').skip(1);
    if !escapes
        .all(|rest| matches!(rest, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit()))
    {
        return Err(DecodeError::Escape);
    }
    let spaced: Vec<u8> = text
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    let decoded = percent_decode(&spaced).decode_utf8().map(Cow::into_owned);
    decoded.map_err(|_| DecodeError::NotUtf8)
}
