//! Plans.

use super::super::{Gate, Gates, Mode, Plan, Shield, Smoke, Step, Text, Then};
use crate::Invalid;
use crate::parts::same_words;
use model::Weight;
use service::{GateName, Span};

same_words!(Then = service::Then { Continue, AwaitPromotion });
same_words!(Mode = service::Mode { Enforce, Pause, Observe });
same_words!(Shield = service::Shield { On, Off });

impl<'a> From<&'a service::Plan> for Plan<'a> {
    #[inline]
    fn from(plan: &'a service::Plan) -> Self {
        let service::Plan {
            steps,
            gates,
            min_sample,
            compare_sample: _,
            initial_delay: _,
            progress_deadline,
            consecutive_error_limit,
            smoke,
            shield,
            uncounted: _,
            expected: _,
        } = plan;
        Self {
            steps: steps.into(),
            gates: gates.into(),
            min_sample: *min_sample,
            progress_deadline: progress_deadline.unwrap_or(service::Plan::PROGRESS_DEADLINE).0,
            consecutive_error_limit: *consecutive_error_limit,
            smoke: smoke.into(),
            shield: (*shield).into(),
        }
    }
}

impl TryFrom<Plan<'_>> for service::Plan {
    type Error = Invalid;

    #[inline]
    fn try_from(plan: Plan<'_>) -> Result<Self, Invalid> {
        let Plan { steps, gates, min_sample, progress_deadline, consecutive_error_limit, smoke, shield } = plan;
        Ok(Self {
            steps: steps.try_into()?,
            gates: gates.into(),
            min_sample,
            compare_sample: None,
            initial_delay: Span(0),
            progress_deadline: Some(Span(progress_deadline)),
            consecutive_error_limit,
            smoke: smoke.into(),
            shield: shield.into(),
            uncounted: Vec::new(),
            expected: Vec::new(),
        })
    }
}

impl<'a> From<&'a service::Smoke> for Smoke<'a> {
    fn from(service::Smoke { path, max_p95: Span(max_p95) }: &'a service::Smoke) -> Self {
        Self { path: path.as_ref().map(Text::from), max_p95: *max_p95 }
    }
}

impl From<Smoke<'_>> for service::Smoke {
    fn from(Smoke { path, max_p95 }: Smoke<'_>) -> Self {
        Self { path: path.map(String::from), max_p95: Span(max_p95) }
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

/// The four gates that this version has, in its order.
const GATES: [GateName; 4] =
    [GateName::ERROR_RATE, GateName::P95, GateName::ERROR_RATE_DIFFERENCE, GateName::P95_RATIO];

impl From<&service::Gates> for Gates {
    #[inline]
    fn from(gates: &service::Gates) -> Self {
        let gate = |name| {
            let (limit, mode) = match gates.get(name).or(GateName::usual(name)) {
                Some(service::Gate { limit, mode, .. }) => (limit, mode.into()),
                None => (u64::MAX, Mode::Observe),
            };
            Gate { limit, mode }
        };
        let [error_rate, p95, error_rate_difference, p95_ratio] = GATES.map(gate);
        Self { error_rate, p95, error_rate_difference, p95_ratio }
    }
}

impl From<Gates> for service::Gates {
    #[inline]
    fn from(Gates { error_rate, p95, error_rate_difference, p95_ratio }: Gates) -> Self {
        let all = GATES.into_iter().zip([error_rate, p95, error_rate_difference, p95_ratio]);
        all.map(|(name, Gate { limit, mode })| service::Gate { name, limit, allow: 0, mode: mode.into() }).collect()
    }
}

/// The weight of so many basis points.
pub(super) fn weight_of(points: u16) -> Result<Weight, Invalid> {
    Weight::from_basis_points(points).ok_or(Invalid::Weight(points))
}
