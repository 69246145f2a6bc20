//! Plans.

use super::super::{Gate, Gates, Mode, Plan, Shield, Smoke, Step, Text, Then};
use super::same_words;
use crate::Invalid;
use model::Weight;
use service::Span;

same_words!(Then = service::Then { Continue, AwaitPromotion });
same_words!(Mode = service::Mode { Enforce, Pause, Observe });
same_words!(Shield = service::Shield { On, Off });

impl<'a> From<&'a service::Plan> for Plan<'a> {
    #[inline]
    fn from(plan: &'a service::Plan) -> Self {
        let service::Plan { steps, gates, min_sample, progress_deadline, consecutive_error_limit, smoke, shield } =
            plan;
        let service::Smoke { path, max_p95: Span(max_p95) } = smoke;
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

impl TryFrom<Plan<'_>> for service::Plan {
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
            smoke: service::Smoke { path: path.map(String::from), max_p95: Span(max_p95) },
            shield: shield.into(),
        })
    }
}

impl From<&service::Step> for Step {
    #[inline]
    fn from(service::Step { weight, hold: Span(hold), then, approvals }: &service::Step) -> Self {
        Self { weight: weight.basis_points(), hold: *hold, then: (*then).into(), approvals: *approvals }
    }
}

impl TryFrom<Step> for service::Step {
    type Error = Invalid;

    #[inline]
    fn try_from(Step { weight, hold, then, approvals }: Step) -> Result<Self, Invalid> {
        Ok(Self { weight: weight_of(weight)?, hold: Span(hold), then: then.into(), approvals })
    }
}

impl From<service::Gates> for Gates {
    #[inline]
    fn from(service::Gates { error_rate, p95, error_rate_difference, p95_ratio }: service::Gates) -> Self {
        let gate = |service::Gate { limit, mode }| Gate { limit, mode: Mode::from(mode) };
        let (error_rate, p95) = (gate(error_rate), gate(p95));
        Self { error_rate, p95, error_rate_difference: gate(error_rate_difference), p95_ratio: gate(p95_ratio) }
    }
}

impl From<Gates> for service::Gates {
    #[inline]
    fn from(Gates { error_rate, p95, error_rate_difference, p95_ratio }: Gates) -> Self {
        let gate = |Gate { limit, mode }| service::Gate { limit, mode: mode.into() };
        let (error_rate, p95) = (gate(error_rate), gate(p95));
        Self { error_rate, p95, error_rate_difference: gate(error_rate_difference), p95_ratio: gate(p95_ratio) }
    }
}

/// The weight of so many basis points.
pub(super) fn weight_of(points: u16) -> Result<Weight, Invalid> {
    Weight::from_basis_points(points).ok_or(Invalid::Weight(points))
}
