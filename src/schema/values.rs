//! Values as people and programs read them: lengths of time, dates, shares of the traffic.

use model::{ModelId, UnixMillis, Weight};
use std::collections::BTreeMap;
use std::time::Duration;

/// Reads `30s`, `500ms` or `1m30s`; none when it is no length of time, or below zero.
pub fn parse_span(text: &str) -> Option<Duration> {
    text.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok())
}

/// Each model's share of the traffic as a fraction, 0 to 1.
pub type Shares = BTreeMap<ModelId, f64>;

/// The shares of two models of which the canary gets `weight`.
pub fn shares_of(stable: &ModelId, canary: Option<&ModelId>, weight: Weight) -> Shares {
    let canary = canary.map(|canary| (canary.clone(), weight.fraction()));
    std::iter::once((stable.clone(), weight.rest().fraction())).chain(canary).collect()
}

/// A date that people and programs read, in UTC with milliseconds.
pub fn rfc3339(at: UnixMillis) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX).to_string()
}
