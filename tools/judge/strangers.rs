//! One client at one address that has ten thousand keys which are given the canary, and does with them whatever it likes.

use crate::cases::Cases;
use crate::evasions::{RATES, told};
use crate::table::Row;
use crate::traffic::{Behaviour, Chance, log_uniform};
use crate::world::{Fault, Trick, World};
use judge::Verdict;
use rand::RngExt;

/// The rollouts of each trick are so many times fewer than those of other rows.
const FEWER: u64 = 4;

impl Cases {
    pub(crate) fn strangers(&self) -> Vec<Row> {
        TRICKS.iter().zip((300..).step_by(2)).flat_map(|(trick, row)| self.stranger(row, trick)).collect()
    }

    fn stranger(&self, row: u64, (case, trick): &(&str, Trick)) -> [Row; 2] {
        let rollouts = self.rollouts.div_ceil(FEWER);
        let world = |chance: &mut Chance| {
            let rate = log_uniform(chance, RATES.0, RATES.1);
            let stable = Behaviour::any(chance);
            let mut world = World::plain(rate, stable, stable);
            // From a tenth of what users ask the canary in the first step to as much as they ask in all.
            world.stranger = Some((*trick, rate * log_uniform(chance, 0.005, 1.0)));
            world
        };
        let good = self.ends_of(row, rollouts, world);
        let bad = self.ends_of(row + 1, rollouts, |chance| {
            let mut world = world(chance);
            let faults = [
                Fault::Answers(Verdict::Failed, 0.1),
                Fault::Tail(0.15, 0.5),
                Fault::Answers(Verdict::ClientError, 0.1),
            ];
            world.fault = faults[chance.random_range(0..faults.len())];
            world
        });
        let rolled_back = good.rolled_back();
        [
            Row {
                case: format!("one client {case}: a good canary rolled back"),
                measured: format!("{rolled_back} ({} paused, {} aborted)", good.paused(), good.aborted()),
                required: "0".to_owned(),
                holds: Some(rolled_back == 0),
            },
            Row {
                case: format!("one client {case}: a bad one promoted"),
                measured: format!("{} ({})", bad.promoted(), told(&bad)),
                required: "0".to_owned(),
                holds: Some(bad.promoted() == 0),
            },
        ]
    }
}

const TRICKS: [(&str, Trick); 8] = [
    ("leaves at once", Trick::LeavesAtOnce),
    ("leaves after stable's p95", Trick::LeavesAfterP95),
    ("leaves after 190 ms", Trick::LeavesAfter190Ms),
    ("asks for what is not there", Trick::AsksForNothing),
    ("is redirected", Trick::IsRedirected),
    ("repeats itself", Trick::Repeats),
    ("asks for what is fast", Trick::AsksWell),
    ("uploads and never ends", Trick::UploadsSlowly),
];
