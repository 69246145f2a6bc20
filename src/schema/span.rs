//! Lengths of time as people write them.

use std::time::Duration;

/// Reads `30s`, `500ms` or `1m30s`; none when it is no length of time, or below zero.
pub fn parse_span(text: &str) -> Option<Duration> {
    text.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok())
}
