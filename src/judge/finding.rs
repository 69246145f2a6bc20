//! The finding of one gate, in the units people set limits in, and how it is told in a log or as the reason of a rollback.

use super::sources::Dominant;
use service::{Compare, GateName, Metric, Mode};
use std::fmt;

/// The standing of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// What was seen is within the limit.
    Kept,
    /// What was seen is beyond the limit, which may be chance; or nothing was seen yet. More requests will tell.
    Open,
    /// The same with as many answers as the plan compares latencies by: it holds nothing up any more.
    Unproven,
    /// The limit is broken, and the chance that this is said of a model that keeps it is below the level of the gate.
    Broken,
    /// There is hardly any stable traffic to compare with, as in a step of 100 %, and there never was enough in this rollout.
    /// Waiting would bring none. It speaks neither for nor against the canary and holds nothing up.
    Absent,
}

/// Why a broken limit is for a person to look at, whatever its mode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Doubt {
    /// It may be the doing of one client.
    OneSource(Dominant),
    /// There is nothing to compare with, and most requests ended so.
    NothingToCompare,
}

/// Which requests a finding is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Group {
    /// Those that the routers passed on.
    #[default]
    Routed,
    /// Those that applications told of.
    Told,
}

/// The finding of one gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Which gate.
    pub gate: GateName,
    /// About which requests.
    pub group: Group,
    /// What happens if it is broken.
    pub mode: Mode,
    /// What was seen, in the unit of the limit; none without requests, or without any to compare with.
    pub value: Option<f64>,
    /// A share or a difference of shares (0 to 1), milliseconds, or a ratio (from 1).
    pub limit: f64,
    /// The canary's requests that it is about; those with an answer where it is about latencies.
    pub requests: u64,
    /// How it stands.
    pub standing: Standing,
    /// Why it can only pause the rollout, if it is broken and so.
    pub doubt: Option<Doubt>,
}

impl Finding {
    /// Whether what was seen is beyond the limit, by chance or not.
    pub fn is_beyond(&self) -> bool {
        self.value.is_some() && matches!(self.standing, Standing::Open | Standing::Unproven | Standing::Broken)
    }

    /// What follows if it is broken: a person is asked where it may be nobody's fault but one client's.
    pub const fn consequence(&self) -> Mode {
        match (self.mode, self.doubt) {
            (Mode::Enforce, Some(_)) => Mode::Pause,
            (mode, _) => mode,
        }
    }

    /// Its unit after a number, if it has one.
    const fn unit(&self) -> &'static str {
        match (self.gate.compare, self.gate.metric) {
            (Compare::Limit, Metric::P95) => " ms",
            (Compare::Stable, Metric::P95) => "",
            (Compare::Limit | Compare::Stable, _) => " %",
        }
    }

    /// A value as people read it.
    fn shown(&self, value: f64) -> f64 {
        if self.gate.metric == Metric::P95 { value } else { value * 100.0 }
    }

    /// Decimals that tell a value from the limit.
    fn decimals(&self) -> usize {
        match (self.gate.compare, self.gate.metric) {
            (Compare::Stable, Metric::P95) => 2,
            (Compare::Limit, Metric::P95) => 1,
            _ if self.limit < 0.01 => 4,
            _ => 1,
        }
    }
}

/// As in "error rate 20.0 % of 45 requests, limit 5 %".
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (gate, unit) = (self.gate, self.unit());
        let told = if self.group == Group::Told { "reported outcomes: " } else { "" };
        match self.value {
            Some(value) => {
                let decimals = self.decimals();
                write!(f, "{told}{gate} {:.decimals$}{unit} of {} requests", self.shown(value), self.requests)?;
            }
            None if self.standing == Standing::Absent => write!(f, "{told}{gate} unknown without stable traffic")?,
            None => write!(f, "{told}{gate} unknown yet")?,
        }
        // Limits are set in millionths; what is beyond is the rounding of a binary fraction.
        let limit = (self.shown(self.limit) * 1e6).round() / 1e6;
        write!(f, ", limit {limit}{unit}")?;
        self.doubt.map_or(Ok(()), |doubt| write!(f, "; {doubt}: look at it, then resume or abort"))
    }
}

/// As in "203.0.113.7 alone gave 92 % of them".
impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneSource(Dominant { address, share }) => {
                write!(f, "{address} alone gave {} % of them", (share * 100.0).round())
            }
            Self::NothingToCompare => f.write_str("stable gave nothing to compare with"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_as_a_reason() {
        let finding = |gate, value, limit| {
            let (standing, group, doubt) = (Standing::Broken, Group::Routed, None);
            Finding { gate, group, mode: Mode::Enforce, value, limit, requests: 45, standing, doubt }
        };
        let of = |gate, value, limit| finding(gate, value, limit).to_string();
        assert_eq!(of(GateName::ERROR_RATE, Some(0.2), 0.05), "error rate 20.0 % of 45 requests, limit 5 %");
        assert_eq!(
            of(GateName::ERROR_RATE, Some(0.0004), 0.00007),
            "error rate 0.0400 % of 45 requests, limit 0.007 %"
        );
        assert_eq!(of(GateName::P95, Some(311.3), 200.0), "p95 311.3 ms of 45 requests, limit 200 ms");
        assert_eq!(
            of(GateName::ERROR_RATE_DIFFERENCE, Some(-0.01), 0.02),
            "error rate difference to stable -1.0 % of 45 requests, limit 2 %"
        );
        assert_eq!(of(GateName::P95_RATIO, Some(1.5), 1.2), "p95 ratio to stable 1.50 of 45 requests, limit 1.2");
        assert_eq!(of(GateName::P95, None, 0.1), "p95 unknown yet, limit 0.1 ms");
        let mut provoked = finding(GateName::RATE_4XX_DIFFERENCE, Some(0.5), 0.05);
        let source = Dominant { address: "203.0.113.7".parse().expect("an address"), share: 0.915 };
        (provoked.group, provoked.doubt) = (Group::Told, Some(Doubt::OneSource(source)));
        assert_eq!(
            provoked.to_string(),
            "reported outcomes: share of 4xx difference to stable 50.0 % of 45 requests, limit 5 %; 203.0.113.7 alone \
             gave 92 % of them: look at it, then resume or abort"
        );
        assert_eq!(provoked.consequence(), Mode::Pause);
    }
}
