//! Lines of the history and of the audit, of whichever version.

use super::v5::history::first_format;
use super::{Invalid, Unreadable, Version};
use serde::{Deserialize, Serialize};
use service::RoutingState;

/// Only this is read until the format is known.
#[derive(Deserialize)]
struct FormatOnly {
    #[serde(default = "first_format")]
    format: u64,
}

/// The version of a line. Fails when it is no JSON, or newer or older than any that is read.
pub fn version_of(line: &str) -> Result<Version, Unreadable> {
    let FormatOnly { format } = serde_json::from_str(line)?;
    match format {
        0 => Err(Unreadable::Older { found: format, oldest: first_format() }),
        1 => Ok(Version::V5),
        2 => Ok(Version::V6),
        _ => Err(Unreadable::Newer { found: format, newest: Version::NEWEST.line() }),
    }
}

/// The value that a line tells of, in the form `A` of version 5 or `B` of version 6. Fails when it tells of none that
/// this program can read.
pub fn read<'a, T, A, B>(line: &'a str) -> Result<T, Unreadable>
where
    A: Deserialize<'a>,
    B: Deserialize<'a>,
    T: TryFrom<A, Error = Invalid> + TryFrom<B, Error = Invalid>,
{
    Ok(match version_of(line)? {
        Version::V5 => serde_json::from_str::<A>(line)?.try_into()?,
        Version::V6 => serde_json::from_str::<B>(line)?.try_into()?,
    })
}

/// The line of a value with this state in it, without its end: in the form `A` of version 5 where that has words for the
/// state, else in `B` of version 6.
pub fn text<'a, T, A, B>(value: &'a T, state: Option<&RoutingState>) -> String
where
    A: From<&'a T> + Serialize,
    B: From<&'a T> + Serialize,
{
    let text = match state.map_or(Version::V5, Version::of) {
        Version::V5 => serde_json::to_string(&A::from(value)),
        Version::V6 => serde_json::to_string(&B::from(value)),
    };
    text.expect("what a room gives out is always JSON")
}
