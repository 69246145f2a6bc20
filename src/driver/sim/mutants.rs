//! The simulation can fail: without any one of its rules the system breaks a promise, and a named schedule shows it.

use super::omitted::Omitted;
use super::schedule::{Mode, Start, Story};
use super::{BUDGET, mode};

use crate::driver::rule::Rule as Glue;
use crate::{commit, rollout, store};

/// The most schedules to try for one mutant.
const SEEDS: u64 = 30_000;

/// Every rule of every part.
pub(super) fn all() -> Vec<Omitted> {
    let engine = commit::Rule::ALL.into_iter().map(Omitted::Engine);
    let controller = rollout::Rule::ALL.into_iter().map(Omitted::Controller);
    let store = store::Rule::ALL.into_iter().map(Omitted::Store);
    let member = Glue::ALL.into_iter().map(Omitted::Member);
    engine.chain(controller).chain(store).chain(member).collect()
}

/// What a rollout shows is looked for in rollouts.
fn mode_for(omitted: Omitted, seed: u64) -> Mode {
    let rollouts = match omitted {
        Omitted::Controller(_) => true,
        Omitted::Member(rule) => matches!(rule, Glue::ShowEjection | Glue::TellTheController | Glue::HearReports),
        Omitted::Nothing | Omitted::Engine(_) | Omitted::Store(_) => false,
    };
    if rollouts { Mode::Rollout(BUDGET) } else { mode(seed) }
}

/// Finds the first schedule that shows what each rule is for:
/// `cargo test --release --lib sim::mutants::hunt -- --ignored --nocapture`.
#[test]
#[ignore = "it takes minutes; its finds are in the list that is tried each time"]
fn hunt() {
    for omitted in all() {
        for members in [3, 5] {
            let mut start = Start::new(members).expect("a first boot");
            let budget = if members == 3 { SEEDS } else { SEEDS / 3 };
            let found = (0..budget).find_map(|seed| {
                let failure = start.run(seed, mode_for(omitted, seed), omitted, Story::Untold).err()?;
                Some((seed, failure.broken))
            });
            match found {
                Some((seed, broken)) => {
                    eprintln!("({omitted:?}, {members}, {seed}, Promise::{:?}), // {}", broken.promise, broken.how);
                    break;
                }
                None => eprintln!("// {omitted:?}: nothing in {budget} schedules of {members}"),
            }
        }
    }
}
