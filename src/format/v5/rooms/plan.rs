//! Plans.

use super::super::{Gate, Gates, Mode, Plan, Shield, Smoke, Step, Text, Then};
use super::same_words;
use crate::format::Invalid;
use crate::model::{self, Span, Weight};

same_words!(Then = model::Then { Continue, AwaitPromotion });
same_words!(Mode = model::Mode { Enforce, Pause, Observe });
same_words!(Shield = model::Shield { On, Off });

impl<'a> From<&'a model::Plan> for Plan<'a> {
    #[inline]
    fn from(plan: &'a model::Plan) -> Self {
        let model::Plan { steps, gates, min_sample, progress_deadline, consecutive_error_limit, smoke, shield } = plan;
        let model::Smoke { path, max_p95: Span(max_p95) } = smoke;
        Self {
            steps: steps.into(),
            gates: (*gates).into(),
            min_sample: *min_sample,
            progress_deadline: progress_deadline.0,
            consecutive_error_limit: *consecutive_error_limit,
            smoke: Smoke { path: path.as_ref().map(Text::from), max_p95: *max_p95 },
            shield: (*shield).into(),
        }
    }
}

impl TryFrom<Plan<'_>> for model::Plan {
    type Error = Invalid;

    #[inline]
    fn try_from(plan: Plan<'_>) -> Result<Self, Invalid> {
        let Plan { steps, gates, min_sample, progress_deadline, consecutive_error_limit, smoke, shield } = plan;
        let Smoke { path, max_p95 } = smoke;
        Ok(Self {
            steps: steps.try_into()?,
            gates: gates.into(),
            min_sample,
            progress_deadline: Span(progress_deadline),
            consecutive_error_limit,
            smoke: model::Smoke { path: path.map(String::from), max_p95: Span(max_p95) },
            shield: shield.into(),
        })
    }
}

impl From<&model::Step> for Step {
    #[inline]
    fn from(model::Step { weight, hold: Span(hold), then, approvals }: &model::Step) -> Self {
        Self { weight: weight.basis_points(), hold: *hold, then: (*then).into(), approvals: *approvals }
    }
}

impl TryFrom<Step> for model::Step {
    type Error = Invalid;

    #[inline]
    fn try_from(Step { weight, hold, then, approvals }: Step) -> Result<Self, Invalid> {
        Ok(Self { weight: weight_of(weight)?, hold: Span(hold), then: then.into(), approvals })
    }
}

impl From<model::Gates> for Gates {
    #[inline]
    fn from(model::Gates { error_rate, p95, error_rate_difference, p95_ratio }: model::Gates) -> Self {
        let gate = |model::Gate { limit, mode }| Gate { limit, mode: Mode::from(mode) };
        let (error_rate, p95) = (gate(error_rate), gate(p95));
        Self { error_rate, p95, error_rate_difference: gate(error_rate_difference), p95_ratio: gate(p95_ratio) }
    }
}

impl From<Gates> for model::Gates {
    #[inline]
    fn from(Gates { error_rate, p95, error_rate_difference, p95_ratio }: Gates) -> Self {
        let gate = |Gate { limit, mode }| model::Gate { limit, mode: mode.into() };
        let (error_rate, p95) = (gate(error_rate), gate(p95));
        Self { error_rate, p95, error_rate_difference: gate(error_rate_difference), p95_ratio: gate(p95_ratio) }
    }
}

/// The weight of so many basis points.
pub(super) fn weight_of(points: u16) -> Result<Weight, Invalid> {
    Weight::from_basis_points(points).ok_or(Invalid::Weight(points))
}
