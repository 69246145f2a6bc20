//! Values in words: shares, lengths of time, verdicts.

use anstyle::{AnsiColor, Style};
use client::Verdict;
use jiff::{SignedDuration, Timestamp};
use schema::Shares;
use std::fmt::Display;

/// A length of time in its two largest units: `89 d 23 h`, `5 min 2 s`.
pub fn length(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().unsigned_abs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// The [length](length()) of time that is left until then; `over` when none is.
pub fn time_left(until: Timestamp, now: Timestamp) -> String {
    let left = until.duration_since(now);
    if left.is_negative() { "over".to_owned() } else { length(left) }
}

/// Several things one after the other: `node-a, node-b`.
pub fn listed(all: &[impl Display]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Each model's share of the traffic: `v1 80 %, v2 20 %`.
pub fn shares(shares: &Shares) -> String {
    shares.iter().map(|(model, share)| format!("{model} {} %", per_cent(*share))).collect::<Vec<_>>().join(", ")
}

/// Two decimals at most, and none that are zero.
fn per_cent(fraction: f64) -> String {
    let text = format!("{:.2}", fraction * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A verdict with its word in colour.
pub fn verdict(verdict: &Verdict) -> String {
    let color = match verdict {
        Verdict::Synchronized { .. } => AnsiColor::Green,
        Verdict::CatchingUp { .. } => AnsiColor::Yellow,
        Verdict::Diverged { .. } | Verdict::Unreachable { .. } => AnsiColor::Red,
    };
    let style: Style = color.on_default().bold();
    format!("{style}{}{style:#}: {}", verdict.word(), verdict.detail())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_two_units() {
        let lengths =
            [0, 59, 60, 3599, 3600, 86_399, 86_400, 90 * 86_400 - 1].map(SignedDuration::from_secs).map(length);
        assert_eq!(
            lengths,
            ["0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "23 h 59 min", "1 d 0 h", "89 d 23 h"]
        );
    }

    #[test]
    fn per_cent_is_short() {
        assert_eq!([0.2, 0.0007, 1.0, 0.3333, 0.0].map(per_cent), ["20", "0.07", "100", "33.33", "0"]);
    }
}
