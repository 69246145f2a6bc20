//! How much is kept of a record that only grows.
//!
//! Such a record is several files, of which the oldest go as a whole: an eighth at a time, so that what is kept is always
//! within the limit and never less than about seven eighths of it.

use super::UnixMillis;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Into how many files a record is divided.
const PIECES: u64 = 8;
/// A file of a record is read as a whole by whoever checks it, so it is never longer than this, in bytes.
const MAX_PIECE: u64 = 64 * KIB * KIB;
const KIB: u64 = 1024;
/// Less than this would not hold what one busy minute brings.
const LEAST_BYTES: u64 = 256 * KIB;
const MOST_BYTES: u64 = KIB * KIB * KIB * KIB;
const HOUR: u64 = 60 * 60;
const LEAST_AGE: Duration = Duration::from_secs(HOUR);
/// Ten years.
const MOST_AGE: Duration = Duration::from_secs(3650 * 24 * HOUR);

/// At most so many bytes, what is at most so old, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    bytes: Option<u64>,
    age: Option<Duration>,
}

/// One file of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptPiece {
    /// How long it is.
    pub bytes: u64,
    /// When its first line was written.
    pub first: UnixMillis,
}

/// This says of nothing how much is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no limit such as 64MiB, 90d or 64MiB,90d: from 256KiB to 1TiB, from 1h to 3650d")]
pub struct KeepError(String);

impl Keep {
    /// At most so many bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self { bytes: Some(bytes), age: None }
    }

    /// Only what is at most so old.
    pub const fn age(age: Duration) -> Self {
        Self { bytes: None, age: Some(age) }
    }

    /// How long one file of the record may become.
    pub fn piece_bytes(self) -> u64 {
        self.bytes.map_or(MAX_PIECE, |bytes| (bytes / PIECES).min(MAX_PIECE))
    }

    /// Whether a file whose first line was written at `first` must be continued in a new one, however short it is.
    pub fn is_old(self, first: UnixMillis, now: UnixMillis) -> bool {
        self.age.is_some_and(|age| Duration::from_millis(now.0.saturating_sub(first.0)) >= age / 8)
    }

    /// How many of these files, oldest first, have to go, so that there is room for the one that is being written.
    pub fn excess(self, before: &[KeptPiece], now: UnixMillis) -> usize {
        let mut left = before.iter().map(|piece| piece.bytes).sum::<u64>().saturating_add(self.piece_bytes());
        let goes = |piece: &&KeptPiece| {
            let too_old = self.age.is_some_and(|age| Duration::from_millis(now.0.saturating_sub(piece.first.0)) > age);
            let too_much = self.bytes.is_some_and(|bytes| left > bytes);
            left -= piece.bytes;
            too_old || too_much
        };
        before.iter().take_while(goes).count()
    }
}

impl FromStr for Keep {
    type Err = KeepError;

    fn from_str(text: &str) -> Result<Self, KeepError> {
        let wrong = || KeepError(text.to_owned());
        let mut keep = Self { bytes: None, age: None };
        for part in text.split(',') {
            let digits = part.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
            let (number, unit) = part.split_at(digits);
            let number: u64 = number.parse().map_err(|_| wrong())?;
            let times = |factor: u64| number.checked_mul(factor).ok_or_else(wrong);
            let before = match unit {
                "KiB" => keep.bytes.replace(times(KIB)?).is_some(),
                "MiB" => keep.bytes.replace(times(KIB * KIB)?).is_some(),
                "GiB" => keep.bytes.replace(times(KIB * KIB * KIB)?).is_some(),
                "TiB" => keep.bytes.replace(times(KIB * KIB * KIB * KIB)?).is_some(),
                "h" => keep.age.replace(Duration::from_secs(times(HOUR)?)).is_some(),
                "d" => keep.age.replace(Duration::from_secs(times(24 * HOUR)?)).is_some(),
                _ => true,
            };
            if before {
                return Err(wrong());
            }
        }
        let in_range = keep.bytes.is_none_or(|bytes| (LEAST_BYTES..=MOST_BYTES).contains(&bytes))
            && keep.age.is_none_or(|age| (LEAST_AGE..=MOST_AGE).contains(&age));
        if in_range { Ok(keep) } else { Err(wrong()) }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(bytes) = self.bytes {
            let (number, unit) =
                if bytes % (KIB * KIB) == 0 { (bytes / KIB / KIB, "MiB") } else { (bytes / KIB, "KiB") };
            write!(f, "{number}{unit}")?;
        }
        let comma = if self.bytes.is_some() { "," } else { "" };
        self.age.map_or(Ok(()), |age| write!(f, "{comma}{}h", age.as_secs() / HOUR))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * HOUR * 1000;

    #[test]
    fn limits_are_read_and_written() {
        for (text, keep, again) in [
            ("64MiB", Keep::bytes(64 * KIB * KIB), "64MiB"),
            ("300KiB", Keep::bytes(300 * KIB), "300KiB"),
            ("90d", Keep::age(Duration::from_secs(90 * 24 * HOUR)), "2160h"),
            ("1GiB,36h", Keep { bytes: Some(KIB * KIB * KIB), age: Some(36 * LEAST_AGE) }, "1024MiB,36h"),
        ] {
            assert_eq!((text.parse(), keep.to_string().as_str()), (Ok(keep), again));
            assert_eq!(again.parse(), Ok(keep));
        }
        for wrong in [
            "",
            "64",
            "MiB",
            "64MB",
            "-1d",
            "1MiB,2MiB",
            "1d,2d",
            "1KiB",
            "2TiB",
            "0d",
            "9999d",
            "1 d",
            "99999999999999999999d",
        ] {
            let error = wrong.parse::<Keep>().expect_err(wrong);
            assert!(error.to_string().contains("64MiB"), "{error}");
        }
    }

    #[test]
    fn the_oldest_go_until_the_next_file_has_room() {
        let keep = Keep::bytes(800);
        let piece = |first| KeptPiece { bytes: 100, first: UnixMillis(first) };
        let pieces: Vec<KeptPiece> = (0..9).map(piece).collect();
        assert_eq!(keep.piece_bytes(), 100);
        assert_eq!((keep.excess(&pieces[..7], UnixMillis(0)), keep.excess(&pieces, UnixMillis(0))), (0, 2));
    }

    #[test]
    fn what_is_too_old_goes_and_no_more_than_that() {
        let keep: Keep = "8d".parse().expect("a limit");
        let piece = |day: u64| KeptPiece { bytes: 1, first: UnixMillis(day * DAY) };
        let pieces: Vec<KeptPiece> = (0..10).map(piece).collect();
        let count = |now| keep.excess(&pieces, UnixMillis(now));
        assert_eq!((count(8 * DAY), count(8 * DAY + 1), count(11 * DAY), count(99 * DAY)), (0, 1, 3, 10));
        assert!(!keep.is_old(UnixMillis(5 * DAY), UnixMillis(6 * DAY - 1)));
        assert!(keep.is_old(UnixMillis(5 * DAY), UnixMillis(6 * DAY)));
        assert!(!keep.is_old(UnixMillis(9 * DAY), UnixMillis(0)), "a clock that was set back makes nothing old");
        assert!(!Keep::bytes(1).is_old(UnixMillis(0), UnixMillis(u64::MAX)));
    }
}
