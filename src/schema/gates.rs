//! The limits of a plan as people write them: by their short names, or by what they measure and what they compare it with.

use super::plan::{PlanShapeError, whole};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use service::{Compare, Gate, GateName, Gates, Metric, Mode};
use std::collections::BTreeSet;
use std::fmt;

const MICROS_PER_MILLI: f64 = 1_000.0;

/// The limits by their short names. What is left out has the usual value, or is no limit where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatesShape {
    /// The share of requests that may fail, above 0 and below 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_error_rate: Option<GateShape>,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_p95_ms: Option<GateShape>,
    /// The share of requests that may end in a way that nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unknown_rate: Option<GateShape>,
    /// The share of requests that may be answered with a status 4xx.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate_4xx: Option<GateShape>,
    /// The share of requests that may be answered with a status 3xx.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate_3xx: Option<GateShape>,
    /// How much larger than the stable model's the error rate may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_error_rate_difference: Option<GateShape>,
    /// Times the stable model's p95.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95_ratio: Option<GateShape>,
    /// How much larger than the stable model's the share of unknown ends may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_rate_difference: Option<GateShape>,
    /// How much larger than the stable model's the share of 4xx may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_4xx_difference: Option<GateShape>,
    /// How much larger than the stable model's the share of 3xx may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_3xx_difference: Option<GateShape>,
}

/// A limit, `0.05`, or with what it does, `{"limit": 0.05, "mode": "pause"}`. Each part may be left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct GateShape {
    /// In the unit of the gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// Milliseconds of a difference that is none, for `p95_ratio`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_ms: Option<f64>,
    /// What happens when it is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ModeShape>,
}

/// A limit by what it measures: `metric = "p95_ms"`, `compare = "stable"`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateEntry {
    /// The figure.
    pub metric: MetricShape,
    /// What it is held against.
    pub compare: CompareShape,
    /// In the unit of the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// Milliseconds of a difference that is none, for a ratio of latencies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_ms: Option<f64>,
    /// What happens when it is broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ModeShape>,
}

/// A figure of the canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetricShape {
    /// The share of requests that failed.
    #[serde(rename = "error_rate")]
    ErrorRate,
    /// The 95th percentile of the times to the first byte.
    #[serde(rename = "p95_ms")]
    P95,
    /// The share of requests that ended in a way that nobody knows.
    #[serde(rename = "unknown_rate")]
    UnknownRate,
    /// The share of statuses 4xx.
    #[serde(rename = "rate_4xx")]
    Rate4xx,
    /// The share of statuses 3xx.
    #[serde(rename = "rate_3xx")]
    Rate3xx,
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CompareShape {
    /// The limit itself.
    Limit,
    /// The stable model: the difference of a share, the ratio of a latency.
    Stable,
}

/// The consequence of a broken limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModeShape {
    /// The canary is rolled back.
    Enforce,
    /// The rollout is paused.
    Pause,
    /// It is shown.
    Observe,
}

/// The gates that both say together: of the usual ones, those that neither names stay.
pub(super) fn read(named: &GatesShape, listed: &[GateEntry]) -> Result<Gates, PlanShapeError> {
    let by_name = GateName::all().filter_map(|name| Some((name, (*named.of(name))?)));
    let by_metric = listed.iter().map(|entry| (entry.name(), entry.shape()));
    let (mut gates, mut said) = (Gates::default(), BTreeSet::new());
    for (name, shape) in by_name.chain(by_metric) {
        if !said.insert(name) {
            return Err(PlanShapeError::Twice(name.word()));
        }
        gates = gates.with(shape.gate(name)?);
    }
    Ok(gates)
}

impl GatesShape {
    const fn of(&self, name: GateName) -> &Option<GateShape> {
        match (name.compare, name.metric) {
            (Compare::Limit, Metric::ErrorRate) => &self.max_error_rate,
            (Compare::Limit, Metric::P95) => &self.max_p95_ms,
            (Compare::Limit, Metric::UnknownRate) => &self.max_unknown_rate,
            (Compare::Limit, Metric::Rate4xx) => &self.max_rate_4xx,
            (Compare::Limit, Metric::Rate3xx) => &self.max_rate_3xx,
            (Compare::Stable, Metric::ErrorRate) => &self.max_error_rate_difference,
            (Compare::Stable, Metric::P95) => &self.p95_ratio,
            (Compare::Stable, Metric::UnknownRate) => &self.unknown_rate_difference,
            (Compare::Stable, Metric::Rate4xx) => &self.rate_4xx_difference,
            (Compare::Stable, Metric::Rate3xx) => &self.rate_3xx_difference,
        }
    }
}

impl From<&Gates> for GatesShape {
    fn from(gates: &Gates) -> Self {
        let shown = |name| gates.get(name).map(GateShape::from);
        let named = |compare, metric| shown(GateName { compare, metric });
        let limit = |metric| named(Compare::Limit, metric);
        let stable = |metric| named(Compare::Stable, metric);
        Self {
            max_error_rate: limit(Metric::ErrorRate),
            max_p95_ms: limit(Metric::P95),
            max_unknown_rate: limit(Metric::UnknownRate),
            max_rate_4xx: limit(Metric::Rate4xx),
            max_rate_3xx: limit(Metric::Rate3xx),
            max_error_rate_difference: stable(Metric::ErrorRate),
            p95_ratio: stable(Metric::P95),
            unknown_rate_difference: stable(Metric::UnknownRate),
            rate_4xx_difference: stable(Metric::Rate4xx),
            rate_3xx_difference: stable(Metric::Rate3xx),
        }
    }
}

impl From<Gate> for GateShape {
    #[allow(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
    fn from(Gate { name, limit, allow, mode }: Gate) -> Self {
        // What is allowed has to be said: where nothing is, something is allowed.
        let allow_ms = (name == GateName::P95_RATIO).then(|| allow as f64 / MICROS_PER_MILLI);
        Self { limit: Some(limit as f64 / name.unit() as f64), allow_ms, mode: Some(mode.into()) }
    }
}

impl GateShape {
    fn gate(self, name: GateName) -> Result<Gate, PlanShapeError> {
        let usual = name.usual();
        #[allow(clippy::cast_precision_loss, reason = "a million")]
        let said = self.limit.map(|limit| whole(name.word(), limit, name.unit() as f64)).transpose()?;
        let limit = said.or(usual.map(|gate| gate.limit)).ok_or(PlanShapeError::NoLimit(name.word()))?;
        let allowed = self.allow_ms.map(|millis| whole("allow_ms", millis, MICROS_PER_MILLI)).transpose()?;
        let allow = allowed.or(usual.map(|gate| gate.allow)).unwrap_or_default();
        Ok(Gate { name, limit, allow, mode: self.mode.map_or(Mode::Enforce, Mode::from) })
    }
}

impl GateEntry {
    const fn name(&self) -> GateName {
        let metric = match self.metric {
            MetricShape::ErrorRate => Metric::ErrorRate,
            MetricShape::P95 => Metric::P95,
            MetricShape::UnknownRate => Metric::UnknownRate,
            MetricShape::Rate4xx => Metric::Rate4xx,
            MetricShape::Rate3xx => Metric::Rate3xx,
        };
        let compare = match self.compare {
            CompareShape::Limit => Compare::Limit,
            CompareShape::Stable => Compare::Stable,
        };
        GateName { compare, metric }
    }

    const fn shape(&self) -> GateShape {
        GateShape { limit: self.limit, allow_ms: self.allow_ms, mode: self.mode }
    }
}

impl From<Mode> for ModeShape {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Enforce => Self::Enforce,
            Mode::Pause => Self::Pause,
            Mode::Observe => Self::Observe,
        }
    }
}

impl From<ModeShape> for Mode {
    fn from(mode: ModeShape) -> Self {
        match mode {
            ModeShape::Enforce => Self::Enforce,
            ModeShape::Pause => Self::Pause,
            ModeShape::Observe => Self::Observe,
        }
    }
}

impl<'de> Deserialize<'de> for GateShape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GateVisitor)
    }
}

struct GateVisitor;

impl<'de> Visitor<'de> for GateVisitor {
    type Value = GateShape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a limit such as 0.05, or {\"limit\": 0.05, \"mode\": \"enforce\"}")
    }

    fn visit_f64<E: de::Error>(self, limit: f64) -> Result<GateShape, E> {
        Ok(GateShape { limit: Some(limit), ..GateShape::default() })
    }

    #[allow(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
    fn visit_u64<E: de::Error>(self, limit: u64) -> Result<GateShape, E> {
        self.visit_f64(limit as f64)
    }

    #[allow(clippy::cast_precision_loss, reason = "limits are far below 2^52")]
    fn visit_i64<E: de::Error>(self, limit: i64) -> Result<GateShape, E> {
        self.visit_f64(limit as f64)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<GateShape, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole {
            limit: Option<f64>,
            allow_ms: Option<f64>,
            mode: Option<ModeShape>,
        }
        let Whole { limit, allow_ms, mode } = Whole::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(GateShape { limit, allow_ms, mode })
    }
}
