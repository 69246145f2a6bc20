//! The forms in which commands print: text for people, or JSON for scripts.

use super::failure::{Exit, Failure};
use serde::Serialize;

/// The form of what goes to stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Table,
    /// For scripts.
    Json,
}

impl Output {
    /// Prints a result, as `text` or as JSON; then the command is done.
    pub(crate) fn print(self, text: impl FnOnce() -> String, result: &impl Serialize) -> Result<Exit, Failure> {
        match self {
            Self::Table => print_text(&text())?,
            Self::Json => print_json(result)?,
        }
        Ok(Exit::Done)
    }
}

/// Prints a value as indented JSON to stdout.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(value).map_err(|error| Failure::new(Exit::Failed, error))?;
    print_text(&(json + "\n"))
}

/// Prints text to stdout. A reader who has seen enough, such as `head`, is no error.
pub(crate) fn print_text(text: &str) -> Result<(), Failure> {
    terminal::print(text).map_err(|error| Failure::new(Exit::Failed, error))
}
