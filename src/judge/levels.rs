//! The chances that gates roll back a canary that keeps its limits, each over a whole rollout.

use super::finding::Group;
use super::samples::Scope;
use service::{Compare, Gate, GateName, Gates, Metric, Mode};

/// For the counts of all nodes together, with what the last seconds have.
const POOLED: f64 = 0.008;
/// For the nodes alone, each of which may veto: all gates of all nodes of the largest mesh.
const NODES: f64 = 0.002;
/// The part of what applications tell of.
const TOLD: f64 = 0.25;
/// The part of the error rate, where a rollback is most urgent and the limit furthest from what a good model does: it finds
/// 20 % errors where 5 % are allowed after some 50 requests.
const ERROR_RATE: f64 = 0.5;

/// The level of each test of one gate: the gates share out what there is by their number. Where a gate has two tests, one of
/// all that was counted and one of the last seconds, each has half.
pub(super) fn level(gates: &Gates, name: GateName, scope: Scope, group: Group) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "26")]
    let all = match scope {
        Scope::Pooled => POOLED,
        Scope::Node => NODES / model::MAX_NODES as f64,
    };
    let of_group = match group {
        Group::Routed => all * (1.0 - TOLD),
        Group::Told => all * TOLD,
    };
    let tests = if has_recent(name) { 2.0 } else { 1.0 };
    of_group * part(gates, name) / tests
}

/// Whether the last seconds are judged by it, too.
pub(super) const fn has_recent(name: GateName) -> bool {
    !matches!((name.compare, name.metric), (Compare::Stable, Metric::ErrorRate | Metric::P95))
}

/// A gate's part. One that only observes has the part of another of its kind: it costs nobody anything.
fn part(gates: &Gates, name: GateName) -> f64 {
    let ruling = |gate: &Gate| gate.mode != Mode::Observe;
    let has_error_rate = gates.get(GateName::ERROR_RATE).is_some_and(|gate| ruling(&gate));
    if name == GateName::ERROR_RATE {
        return ERROR_RATE;
    }
    let others = gates.iter().filter(|gate| ruling(gate) && gate.name != GateName::ERROR_RATE).count().max(1);
    let left = if has_error_rate { 1.0 - ERROR_RATE } else { 1.0 };
    #[allow(clippy::cast_precision_loss, reason = "ten")]
    let number = others as f64;
    left / number
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::MAX_NODES;

    #[test]
    fn all_gates_groups_and_nodes_together_roll_back_one_in_a_hundred_in_vain() {
        let all: Vec<Gate> = GateName::all()
            .map(|name| name.usual().unwrap_or(Gate { name, limit: 50_000, allow: 0, mode: Mode::Enforce }))
            .collect();
        for some in 1..1_u32 << all.len() {
            let gates: Gates =
                all.iter().enumerate().filter(|(at, _)| some >> at & 1 == 1).map(|(_, gate)| *gate).collect();
            let of = |scope, group| -> f64 {
                let tests = |name| if has_recent(name) { 2.0 } else { 1.0 };
                gates.iter().map(|gate| tests(gate.name) * level(&gates, gate.name, scope, group)).sum()
            };
            let both = |scope| of(scope, Group::Routed) + of(scope, Group::Told);
            #[allow(clippy::cast_precision_loss, reason = "26")]
            let sum = both(Scope::Pooled) + MAX_NODES as f64 * both(Scope::Node);
            assert!(sum <= 0.010_000_001, "{sum} with {gates:?}");
            assert!(gates.len() == 1 || sum > 0.009_999, "{sum} wastes it with {gates:?}");
        }
    }

    #[test]
    fn what_only_observes_takes_nothing_from_others() {
        let gates = Gates::default();
        let observing = gates.changed(GateName::RATE_3XX_DIFFERENCE, |gate| gate.mode = Mode::Observe);
        let of = |gates| level(gates, GateName::P95, Scope::Pooled, Group::Routed);
        assert!(of(&observing) > of(&gates));
        assert!(level(&observing, GateName::RATE_3XX_DIFFERENCE, Scope::Pooled, Group::Routed) > 0.0);
    }
}
