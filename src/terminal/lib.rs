//! Text for people who look at a mesh: tables, shares, lengths of time, verdicts in colour, and where it is printed.
//!
//! What is data goes to stdout and everything else to stderr. Colours are left out where the reader is no terminal.

mod table;
mod words;

pub use table::{columns, table};
pub use words::{length, listed, shares, time_left, verdict};

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Goes to the top left of a terminal and clears what is below.
pub const CLEAR: &str = "\x1b[H\x1b[2J";

/// Prints text to stdout. A reader who has seen enough, such as `head`, is no error. Fails when stdout cannot be
/// written to for another reason.
pub fn print(text: &str) -> io::Result<()> {
    match show(text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        shown => shown,
    }
}

/// Prints text to stdout, for as long as somebody reads. Fails when stdout cannot be written to, also because nobody
/// reads any more.
pub fn show(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Prints a line to stderr, beside the data.
pub fn note(text: impl Display) {
    anstream::eprintln!("{text}");
}
