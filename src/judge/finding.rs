//! The finding of one gate, in the units people set limits in, and how it is told in a log or as the reason of a rollback.

use service::Mode;
use std::fmt;

/// The gates of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GateName {
    /// The share of the canary's requests that failed.
    ErrorRate,
    /// The latency that 95 % of the canary's answers did not exceed.
    P95,
    /// How far the canary's error rate is above the stable model's.
    ErrorRateDifference,
    /// How many times the stable model's p95 the canary's is.
    P95Ratio,
}

/// The standing of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// What was seen is within the limit.
    Kept,
    /// What was seen is beyond the limit, which may be chance; or nothing was seen yet. More requests will tell.
    Open,
    /// The limit is broken, and the chance that this is said of a model that keeps it is below the level of the gate.
    Broken,
    /// There is hardly any stable traffic to compare with, as in a step of 100 %, and waiting would bring none. It speaks
    /// neither for nor against the canary and holds nothing up.
    Absent,
}

/// The finding of one gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Which gate.
    pub gate: GateName,
    /// What happens if it is broken.
    pub mode: Mode,
    /// What was seen, in the unit of the limit; none without requests, or without any to compare with.
    pub value: Option<f64>,
    /// A share (0 to 1) for the error rate, milliseconds for the p95, a difference of shares (0 to 1), or a ratio (from 1).
    pub limit: f64,
    /// The canary's requests that it is about; those with an answer where it is about latencies.
    pub requests: u64,
    /// How it stands.
    pub standing: Standing,
}

impl GateName {
    /// All gates, the absolute ones first.
    pub const ALL: [Self; 4] = [Self::ErrorRate, Self::P95, Self::ErrorRateDifference, Self::P95Ratio];

    /// Its unit after a number, if it has one.
    const fn unit(self) -> &'static str {
        match self {
            Self::ErrorRate | Self::ErrorRateDifference => " %",
            Self::P95 => " ms",
            Self::P95Ratio => "",
        }
    }

    /// A value as people read it.
    fn shown(self, value: f64) -> f64 {
        match self {
            Self::ErrorRate | Self::ErrorRateDifference => value * 100.0,
            Self::P95 | Self::P95Ratio => value,
        }
    }

    /// Decimals that tell a value from a limit.
    fn decimals(self, limit: f64) -> usize {
        match self {
            Self::ErrorRate | Self::ErrorRateDifference if limit < 0.01 => 4,
            Self::ErrorRate | Self::ErrorRateDifference | Self::P95 => 1,
            Self::P95Ratio => 2,
        }
    }
}

impl fmt::Display for GateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ErrorRate => "error rate",
            Self::P95 => "p95",
            Self::ErrorRateDifference => "error rate difference to stable",
            Self::P95Ratio => "p95 ratio to stable",
        })
    }
}

/// As in "error rate 20.0 % of 45 requests, limit 5 %".
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (gate, unit) = (self.gate, self.gate.unit());
        match self.value {
            Some(value) => {
                let decimals = gate.decimals(self.limit);
                write!(f, "{gate} {:.decimals$}{unit} of {} requests", gate.shown(value), self.requests)?;
            }
            None if self.standing == Standing::Absent => write!(f, "{gate} unknown without stable traffic")?,
            None => write!(f, "{gate} unknown yet")?,
        }
        // Limits are set in millionths; what is beyond is the rounding of a binary fraction.
        let limit = (gate.shown(self.limit) * 1e6).round() / 1e6;
        write!(f, ", limit {limit}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_as_a_reason() {
        let of = |gate, value, limit| {
            let standing = Standing::Broken;
            Finding { gate, mode: Mode::Enforce, value, limit, requests: 45, standing }.to_string()
        };
        assert_eq!(of(GateName::ErrorRate, Some(0.2), 0.05), "error rate 20.0 % of 45 requests, limit 5 %");
        assert_eq!(of(GateName::ErrorRate, Some(0.0004), 0.00007), "error rate 0.0400 % of 45 requests, limit 0.007 %");
        assert_eq!(of(GateName::P95, Some(311.3), 200.0), "p95 311.3 ms of 45 requests, limit 200 ms");
        assert_eq!(
            of(GateName::ErrorRateDifference, Some(-0.01), 0.02),
            "error rate difference to stable -1.0 % of 45 requests, limit 2 %"
        );
        assert_eq!(of(GateName::P95Ratio, Some(1.5), 1.2), "p95 ratio to stable 1.50 of 45 requests, limit 1.2");
        assert_eq!(of(GateName::P95, None, 0.1), "p95 unknown yet, limit 0.1 ms");
    }
}
