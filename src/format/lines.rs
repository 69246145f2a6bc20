//! Lines of the history and of the audit, of whichever version.

use super::v5::history::first_format;
use super::{Unreadable, Version, v5, v6};
use serde::Deserialize;

/// Only this is read until the format is known.
#[derive(Deserialize)]
struct FormatOnly {
    #[serde(default = "first_format")]
    format: u64,
}

/// The version of a line.
///
/// # Errors
/// When it is no JSON, or newer or older than any that is read.
pub fn version_of(line: &str) -> Result<Version, Unreadable> {
    let FormatOnly { format } = serde_json::from_str(line)?;
    match format {
        0..v5::history::FORMAT => Err(Unreadable::Older { found: format, oldest: v5::history::FORMAT }),
        v5::history::FORMAT => Ok(Version::V5),
        v6::history::FORMAT => Ok(Version::V6),
        _ => Err(Unreadable::Newer { found: format, newest: Version::NEWEST.line() }),
    }
}

/// The decision that a line of the history tells of, in the newest form.
///
/// # Errors
/// When it tells of none that this program can read.
pub fn entry(line: &str) -> Result<v6::history::Entry<'_>, Unreadable> {
    Ok(match version_of(line)? {
        Version::V5 => serde_json::from_str::<v5::history::Entry<'_>>(line)?.into(),
        Version::V6 => serde_json::from_str(line)?,
    })
}

/// What a line of the audit tells, in the newest form. The chain is over the lines themselves, never over what is made of
/// them.
///
/// # Errors
/// When it tells nothing that this program can read.
pub fn line(text: &str) -> Result<v6::audit::Line<'_>, Unreadable> {
    Ok(match version_of(text)? {
        Version::V5 => serde_json::from_str::<v5::audit::Line<'_>>(text)?.into(),
        Version::V6 => serde_json::from_str(text)?,
    })
}
