//! The share of traffic that the canary gets, as an exact number of basis points.

use std::fmt;

const WHOLE: u16 = 10_000;
/// A fraction this close to a basis point is that basis point: JSON numbers such as 0.07 are not exact in binary.
const TOLERANCE: f64 = 1e-9;

/// A share of the traffic in basis points, 0 to 10 000.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

/// The number cannot be a weight.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightError {
    /// Not within 0 and the whole, or not a number.
    #[error("weight {0} is out of range: use 0 to {1}")]
    OutOfRange(String, &'static str),
    /// Finer than a basis point.
    #[error("weight {0} is finer than one basis point: use at most {1} decimals")]
    TooFine(String, u8),
    /// Not a number at all.
    #[error("{0:?} is not a weight: use a number such as 20, or 0.5 for half a per cent")]
    NotANumber(String),
}

impl Weight {
    /// No traffic.
    pub const ZERO: Self = Self(0);
    /// All traffic.
    pub const FULL: Self = Self(WHOLE);

    /// A weight of `points` basis points, if that is at most 10 000.
    pub const fn from_basis_points(points: u16) -> Option<Self> {
        if points <= WHOLE { Some(Self(points)) } else { None }
    }

    /// The weight in basis points, 0 to 10 000.
    pub const fn basis_points(self) -> u16 {
        self.0
    }

    /// The weight as HTTP speaks it, 0 to 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }

    /// What this weight leaves of the whole.
    pub const fn rest(self) -> Self {
        Self(WHOLE - self.0)
    }

    /// Reads a fraction, 0 to 1, with up to four decimals. Fails when it is not a number, is out of range, or is not
    /// within 1e-9 of a basis point.
    pub fn from_fraction(fraction: f64) -> Result<Self, WeightError> {
        if !(0.0..=1.0).contains(&fraction) {
            return Err(WeightError::OutOfRange(fraction.to_string(), "1"));
        }
        let points = (fraction * f64::from(WHOLE)).round();
        if (fraction - points / f64::from(WHOLE)).abs() > TOLERANCE {
            return Err(WeightError::TooFine(fraction.to_string(), 4));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10 000, checked above")]
        Ok(Self(points as u16))
    }

    /// Reads per cent as people type it, `20`, `0.5` or `20%`, with up to two decimals, without rounding. Fails when it
    /// is not a plain decimal number, is out of range, or is finer than a basis point.
    pub fn from_percent(text: &str) -> Result<Self, WeightError> {
        let shown = || text.chars().take(32).collect::<String>();
        let digits = text.trim().trim_end_matches('%').trim_end();
        let unsigned = digits.strip_prefix('-').unwrap_or(digits);
        let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if !plain(whole) || !plain(decimals) || (whole.is_empty() && decimals.is_empty()) {
            return Err(WeightError::NotANumber(shown()));
        }
        let decimals = decimals.trim_end_matches('0');
        let is_zero = whole.bytes().chain(decimals.bytes()).all(|byte| byte == b'0');
        if digits.starts_with('-') && !is_zero {
            return Err(WeightError::OutOfRange(shown(), "100"));
        }
        let whole = if whole.is_empty() { "0" } else { whole };
        let points = whole.parse::<u32>().ok().and_then(|whole| whole.checked_mul(100));
        if decimals.len() > 2 {
            return Err(WeightError::TooFine(shown(), 2));
        }
        let hundredths = format!("{decimals:0<2}").parse::<u32>().unwrap_or(0);
        points
            .and_then(|points| u16::try_from(points.saturating_add(hundredths)).ok())
            .and_then(Self::from_basis_points)
            .ok_or_else(|| WeightError::OutOfRange(shown(), "100"))
    }
}

impl fmt::Display for Weight {
    /// Per cent with as many decimals as it has: `20 %`, `0.05 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", f64::from(self.0) / 100.0)
    }
}

impl fmt::Debug for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(text: &str) -> Result<u16, WeightError> {
        Weight::from_percent(text).map(Weight::basis_points)
    }

    #[test]
    fn per_cent_is_read_exactly() {
        assert_eq!(percent("20"), Ok(2000));
        assert_eq!(percent("0.2"), Ok(20));
        assert_eq!(percent(".05"), Ok(5));
        assert_eq!(percent("100.00%"), Ok(10_000));
        assert_eq!(percent("-0"), Ok(0));
        assert_eq!(percent("33.3300"), Ok(3333));
    }

    #[test]
    fn what_is_no_weight_is_refused_by_name() {
        assert!(matches!(percent("-1"), Err(WeightError::OutOfRange(..))));
        assert!(matches!(percent("101"), Err(WeightError::OutOfRange(..))));
        assert!(matches!(percent("99999999999999999999"), Err(WeightError::OutOfRange(..))));
        assert!(matches!(percent("0.005"), Err(WeightError::TooFine(..))));
        for text in ["", "NaN", "inf", "1e2", "twenty", "2 0", "%", ".", "+5", "--1"] {
            assert!(matches!(percent(text), Err(WeightError::NotANumber(_))), "{text:?} must be refused");
        }
    }

    #[test]
    fn fractions_snap_to_the_basis_point_they_mean() {
        assert_eq!(Weight::from_fraction(0.07).map(Weight::basis_points), Ok(700));
        assert_eq!(Weight::from_fraction(0.1 + 0.2).map(Weight::basis_points), Ok(3000));
        assert!(matches!(Weight::from_fraction(0.00005), Err(WeightError::TooFine(..))));
        for fraction in [-0.01, 1.01, f64::NAN, f64::INFINITY] {
            assert!(matches!(Weight::from_fraction(fraction), Err(WeightError::OutOfRange(..))));
        }
    }
}
