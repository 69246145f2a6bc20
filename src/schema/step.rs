//! One step of a plan as people write it, and a length of time.

use super::values::parse_span;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "WrittenStep", into = "WrittenStep")]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum StepShape {
    /// The canary's share in per cent, and how many different operators have to approve it before it is entered.
    SetWeight { percent: f64, approvals: u8 },
    /// How long the weight before it is held, or that it waits for an operator.
    Pause(PauseShape),
}

/// A step by its keys: one of the first two, and the third only with the first.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStep {
    #[serde(default, rename = "setWeight", skip_serializing_if = "Option::is_none")]
    set_weight: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pause: Option<PauseShape>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approvals: Option<u8>,
}

impl TryFrom<WrittenStep> for StepShape {
    type Error = &'static str;

    fn try_from(written: WrittenStep) -> Result<Self, Self::Error> {
        match written {
            WrittenStep { set_weight: Some(percent), pause: None, approvals } => {
                Ok(Self::SetWeight { percent, approvals: approvals.unwrap_or_default() })
            }
            WrittenStep { set_weight: None, pause: Some(pause), approvals: None } => Ok(Self::Pause(pause)),
            WrittenStep { set_weight: None, approvals: Some(_), .. } => {
                Err("approvals belong to a step with setWeight")
            }
            WrittenStep { .. } => Err("a step is either a setWeight or a pause"),
        }
    }
}

impl From<StepShape> for WrittenStep {
    fn from(step: StepShape) -> Self {
        match step {
            StepShape::SetWeight { percent, approvals } => {
                let approvals = Some(approvals).filter(|approvals| *approvals > 0);
                Self { set_weight: Some(percent), pause: None, approvals }
            }
            StepShape::Pause(pause) => Self { pause: Some(pause), ..Self::default() },
        }
    }
}

impl StepShape {
    /// This share in per cent, by nobody's approval.
    pub const fn of_percent(percent: f64) -> Self {
        Self::SetWeight { percent, approvals: 0 }
    }
}

/// A pause: without a duration it waits for an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseShape {
    /// How long, `10m` or `1h30m`; a number is seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<HoldShape>,
}

/// A length of time, written `30s` or `1m30s`; a number is seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldShape(pub Duration);

impl Serialize for HoldShape {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let span = jiff::SignedDuration::try_from(self.0).unwrap_or(jiff::SignedDuration::MAX);
        serializer.collect_str(&format_args!("{span:#}"))
    }
}

impl<'de> Deserialize<'de> for HoldShape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HoldVisitor)
    }
}

struct HoldVisitor;

impl Visitor<'_> for HoldVisitor {
    type Value = HoldShape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"30s\" or \"1m30s\", or a number of seconds")
    }

    fn visit_u64<E>(self, seconds: u64) -> Result<HoldShape, E> {
        Ok(HoldShape(Duration::from_secs(seconds)))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<HoldShape, E> {
        u64::try_from(seconds)
            .map(|seconds| HoldShape(Duration::from_secs(seconds)))
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(seconds), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<HoldShape, E> {
        parse_span(text).map(HoldShape).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}
