//! A board's address to hang up, as a QR code.

use std::fmt::Write as _;

use kairanban_core::BoardName;
use minijinja::Error;
use qrcode::{Color, EcLevel, QrCode};
use serde::Serialize;

use super::Pages;
use crate::{preferences::Preferences, service::Navigation};

/// The empty edge that a reader needs around the code, in squares.
const EDGE: usize = 4;

/// What the template sees.
#[derive(Serialize)]
struct QrContext<'a> {
    address: &'a str,
    /// Squares along an edge.
    size: usize,
    /// The path that draws the dark squares.
    squares: String,
}

impl Pages {
    /// Renders a page with the address of a board to hang up.
    ///
    /// # Errors
    /// If the template fails, or the address is too long for a code.
    pub fn qr(
        &self,
        reader: &Preferences,
        navigation: &Navigation,
        board: &BoardName,
        address: &str,
    ) -> Result<String, Error> {
        let code = QrCode::with_error_correction_level(address, EcLevel::M).map_err(|error| {
            Error::new(minijinja::ErrorKind::InvalidOperation, error.to_string())
        })?;
        let context = QrContext {
            address,
            size: code.width() + 2 * EDGE,
            squares: squares(&code),
        };
        let nav = self.board_frame(navigation, board, "");
        self.page("qr.html", reader, Some(nav), context)
    }
}

/// Returns the path of the dark squares: a rectangle for each run of them in a row.
fn squares(code: &QrCode) -> String {
    let mut path = String::new();
    let colors = code.to_colors();
    for (y, row) in colors.chunks(code.width()).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|one, next| one == next) {
            if run[0] == Color::Dark {
                let (left, top, width) = (x + EDGE, y + EDGE, run.len());
                // Writing to a string does not fail.
                let _ = write!(path, "M{left} {top}h{width}v1h-{width}z");
            }
            x += run.len();
        }
    }
    path
}
