//! Evasions: canaries at least twice over a limit, by traffic that makes them look better than they are.

use crate::cases::{Cases, Ends, percent, share};
use crate::table::Row;
use crate::traffic::{Behaviour, Chance, log_uniform};
use crate::world::{Begins, Fault, Tells, World};
use judge::Verdict;
use rand::RngExt;

/// Requests of users a second on all nodes together.
pub(crate) const RATES: (f64, f64) = (5.0, 2_000.0);
/// The most that may be promoted, of all.
const MOST_PROMOTED: f64 = 0.001;
/// Twice the share of errors, and of answers that may be slower than the p95's limit.
const TWICE: f64 = 0.1;

/// A name, and what is special about its world.
type Evasion = (&'static str, fn(&mut World, &mut Chance));

impl Cases {
    pub(crate) fn evasions(&self) -> Vec<Row> {
        let all = EVASIONS.iter().chain(&TURNS).chain(&CROWDS);
        all.zip(100..).map(|(evasion, row)| self.evasion(row, evasion)).collect()
    }

    fn evasion(&self, row: u64, (case, change): &Evasion) -> Row {
        let ends = self.ends_of(row, self.rollouts, |chance| {
            let rate = log_uniform(chance, RATES.0, RATES.1);
            let stable = Behaviour::any(chance);
            let mut world = World::plain(rate, stable, stable);
            change(&mut world, chance);
            world
        });
        let promoted = share(ends.promoted(), ends.all());
        Row {
            case: format!("{case}: promoted"),
            measured: format!("{} ({})", percent(promoted), told(&ends)),
            required: format!("<= {}", percent(MOST_PROMOTED)),
            holds: Some(promoted <= MOST_PROMOTED),
        }
    }
}

/// How they ended otherwise.
pub(crate) fn told(ends: &Ends) -> String {
    let (rolled_back, paused, aborted) = (ends.rolled_back(), ends.paused(), ends.aborted());
    let enough = ends.aborted_with_enough();
    format!("{rolled_back} rolled back, {paused} paused, {aborted} aborted, {enough} of them with enough requests")
}

const fn fails(share: f64) -> Fault {
    Fault::Answers(Verdict::Failed, share)
}

fn leaving(world: &mut World, share: f64, after: f64) {
    world.crowd.leaving = (share, after);
}

/// What is wrong from the start.
const EVASIONS: [Evasion; 16] = [
    ("every stream breaks after the head", |world, _| world.fault = Fault::BreaksOff(1.0)),
    ("422 to everything", |world, _| world.fault = Fault::Answers(Verdict::ClientError, 1.0)),
    ("first byte after 4 s, head at once", |world, _| world.fault = Fault::FirstByte(4.0)),
    ("the same, a third leaves after 1 s", |world, _| {
        world.fault = Fault::FirstByte(4.0);
        leaving(world, 0.3, 1.0);
    }),
    ("hangs, clients leave after 150 ms", |world, _| {
        world.fault = Fault::Hangs(1.0);
        leaving(world, 1.0, 0.15);
    }),
    ("hangs, clients leave after 65 ms", |world, _| {
        world.fault = Fault::Hangs(1.0);
        leaving(world, 1.0, 0.065);
    }),
    ("hangs, clients leave after 1 s", |world, _| {
        world.fault = Fault::Hangs(1.0);
        leaving(world, 1.0, 1.0);
    }),
    ("stops in mid-stream, clients leave after 5 s", |world, _| {
        world.fault = Fault::Stalls(1.0);
        leaving(world, 1.0, 5.0);
    }),
    ("has only health checks", |world, _| world.crowd.health = 1.0),
    ("serves nothing", |world, _| world.fault = Fault::Nothing),
    ("hides one error of ten as a 302", |world, _| world.fault = Fault::Answers(Verdict::Redirect, TWICE)),
    ("hides one error of ten as a 404", |world, _| world.fault = Fault::Answers(Verdict::ClientError, TWICE)),
    ("15 % of answers take 500 ms", |world, _| world.fault = Fault::Tail(1.5 * TWICE, 0.5)),
    ("p95 2.4 x stable's, limit 1.2", |world, _| world.fault = Fault::Slower(2.4)),
    ("10 % fail late, after 500 ms", |world, _| world.fault = Fault::FailsLate(TWICE, 0.5)),
    ("all fails in one second of ten", |world, _| world.fault = Fault::Bursts),
];

/// What turns bad on the way.
const TURNS: [Evasion; 6] = [
    ("10 % errors from a random step on", |world, chance| {
        world.fault = fails(TWICE);
        world.begins = Begins::Step(chance.random_range(0..4));
    }),
    ("10 % errors from a random second of a step before the last", |world, chance| {
        world.fault = fails(TWICE);
        world.begins = Begins::Second(chance.random_range(0..3), chance.random_range(0..30));
    }),
    ("p95 2.4 x stable's from a random step on", |world, chance| {
        world.fault = Fault::Slower(2.4);
        world.begins = Begins::Step(chance.random_range(0..4));
    }),
    ("10 % errors at 100 % only", |world, _| (world.fault, world.begins) = (fails(TWICE), Begins::Step(3))),
    ("10 % more 404s at 100 % only", |world, _| {
        world.fault = Fault::Answers(Verdict::ClientError, TWICE);
        world.begins = Begins::Step(3);
    }),
    ("hangs at 100 % only, clients leave after 150 ms", |world, _| {
        (world.fault, world.begins) = (Fault::Hangs(1.0), Begins::Step(3));
        leaving(world, 1.0, 0.15);
    }),
];

/// What a crowd hides.
const CROWDS: [Evasion; 10] = [
    ("10 % errors, ten times as many 404s of bots", |world, _| {
        (world.fault, world.crowd.bots) = (fails(TWICE), 10.0);
    }),
    ("10 % errors, nine of ten requests are health checks", |world, _| {
        (world.fault, world.crowd.health) = (fails(TWICE), 0.9);
    }),
    ("10 % errors, half of the clients leave at once", |world, _| {
        world.fault = fails(TWICE);
        leaving(world, 0.5, 0.001);
    }),
    ("10 % errors, each is tried again three times", |world, _| {
        (world.fault, world.crowd.retries) = (fails(TWICE), 3);
    }),
    ("errors for a tenth of the users", |world, _| world.fault = Fault::Users(TWICE)),
    ("one request of ten hangs, clients leave after 300 ms", |world, _| {
        world.fault = Fault::Hangs(TWICE);
        leaving(world, 1.0, 0.3);
    }),
    ("10 % errors, a member makes up good counts", |world, _| {
        (world.fault, world.has_liar) = (fails(TWICE), true);
    }),
    ("10 % errors, all told to be good", |world, _| {
        (world.fault, world.crowd.tells) = (fails(TWICE), Tells::Beside(0.0));
    }),
    ("10 % told to have failed, none seen", |world, _| world.crowd.tells = Tells::Beside(TWICE)),
    ("10 % of good answers told to be none, by name", |world, _| world.crowd.tells = Tells::ByName(TWICE)),
];
