//! The world around a rollout: who asks, what a service's answers are like, and what is wrong with its canary.

use crate::course::{Client, Course};
use crate::node::{Node, To};
use crate::traffic::{Behaviour, Chance, Moment};
use judge::Verdict;
use rand::RngExt;
use rand_distr::{Distribution, Exp1, Poisson};

/// Users, each at an address of its own, who are given one of the models for good.
const USERS: u32 = 10_000;
/// Hosts that bots are on.
const BOTS: u32 = 50;
/// The stranger's address.
const STRANGER: u32 = 0xcb00_7101;

/// What is wrong with a canary, from some moment on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    None,
    /// This share of answers is of this kind.
    Answers(Verdict, f64),
    /// This share of answers breaks off after the head, before anything of the body.
    BreaksOff(f64),
    /// The head comes at once, the first byte of the body after so many seconds.
    FirstByte(f64),
    /// This share of requests is never answered.
    Hangs(f64),
    /// This share of answers stops after the first bytes.
    Stalls(f64),
    /// All latencies are this many times as long.
    Slower(f64),
    /// This share of answers takes so many seconds, ...
    Tail(f64, f64),
    /// ... and fails then.
    FailsLate(f64, f64),
    /// Requests of this share of users fail.
    Users(f64),
    /// Everything fails in one second of ten.
    Bursts,
    /// It is given nothing.
    Nothing,
}

/// When the fault begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Begins {
    /// With this step.
    Step(usize),
    /// After so many seconds of this step.
    Second(usize, u64),
}

/// What applications tell.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tells {
    Nothing,
    /// Beside each routed request, one of which no router knows, of which this share failed.
    Beside(f64),
    /// That this share of the good answers were none, by their names.
    ByName(f64),
}

/// The traffic besides plain requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    /// This share of requests is health checks.
    pub(crate) health: f64,
    /// Bots ask so many times as often as users, for what is not there.
    pub(crate) bots: f64,
    /// This share of users leaves after so many seconds.
    pub(crate) leaving: (f64, f64),
    /// Users try so many times again what fails.
    pub(crate) retries: u32,
    /// This share of answers is a stream of some seconds.
    pub(crate) streams: f64,
    /// This share of answers is a 404, and this a redirect, whatever the model.
    pub(crate) not_found: f64,
    pub(crate) redirects: f64,
    pub(crate) tells: Tells,
}

impl Crowd {
    pub(crate) const PLAIN: Self = Self {
        health: 0.0,
        bots: 0.0,
        leaving: (0.0, f64::INFINITY),
        retries: 0,
        streams: 0.0,
        not_found: 0.0,
        redirects: 0.0,
        tells: Tells::Nothing,
    };
}

/// What one client does to the canary, by keys that are given it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trick {
    LeavesAtOnce,
    LeavesAfterP95,
    LeavesAfter190Ms,
    AsksForNothing,
    IsRedirected,
    Repeats,
    AsksWell,
    UploadsSlowly,
}

/// Whom requests come from, and what the models are like.
#[derive(Clone, Copy)]
pub(crate) struct World {
    /// Requests of users a second on all nodes together.
    pub(crate) rate: f64,
    pub(crate) stable: Behaviour,
    pub(crate) canary: Behaviour,
    pub(crate) fault: Fault,
    pub(crate) begins: Begins,
    pub(crate) crowd: Crowd,
    /// One client, and its requests a second on all nodes together.
    pub(crate) stranger: Option<(Trick, f64)>,
    /// Whether one node makes its counts up.
    pub(crate) has_liar: bool,
}

impl World {
    pub(crate) const fn plain(rate: f64, stable: Behaviour, canary: Behaviour) -> Self {
        Self {
            rate,
            stable,
            canary,
            fault: Fault::None,
            begins: Begins::Step(0),
            crowd: Crowd::PLAIN,
            stranger: None,
            has_liar: false,
        }
    }

    /// The requests of one second at one of so many nodes.
    pub(crate) fn serve(&self, node: &mut Node, nodes: f64, step: Step, moment: &Moment, chance: &mut Chance) {
        let now = moment.now();
        for _ in 0..poisson(self.rate * (1.0 + self.crowd.bots) / nodes, chance) {
            let began = now - chance.random::<f64>();
            let user = chance.random_range(0..USERS);
            let to = if f64::from(user) < step.weight * f64::from(USERS) { To::Canary } else { To::Stable };
            if to == To::Canary && matches!(self.fault, Fault::Nothing) && self.is_bad(step) {
                continue;
            }
            if chance.random_bool(self.crowd.health) {
                node.pass_over(to);
            } else if self.crowd.bots > 0.0 && chance.random_bool(self.crowd.bots / (1.0 + self.crowd.bots)) {
                let client = Client { source: USERS + user % BOTS, patience: f64::INFINITY };
                node.pass_on(to, began, now, Course::at_once(0.001, Verdict::ClientError), client);
            } else {
                self.ask(node, (to, user), began, step, moment, chance);
            }
        }
        if let Some((trick, rate)) = self.stranger {
            for _ in 0..poisson(rate / nodes, chance) {
                self.trick(node, trick, now, step, moment, chance);
            }
        }
        node.settle(now);
    }

    fn ask(
        &self,
        node: &mut Node,
        (to, user): (To, u32),
        began: f64,
        step: Step,
        moment: &Moment,
        chance: &mut Chance,
    ) {
        let crowd = &self.crowd;
        let course = self.course(to, user, step, moment, chance);
        let patience = if chance.random_bool(crowd.leaving.0) { crowd.leaving.1 } else { f64::INFINITY };
        let is_well = node.pass_on(to, began, moment.now(), course, Client { source: user, patience });
        if !is_well {
            (0..crowd.retries).for_each(|_| node.pass_over(to));
        }
        match crowd.tells {
            Tells::ByName(share) if is_well && to == To::Canary && chance.random_bool(share) => node.amend(to),
            Tells::Beside(share) => {
                let told = match to {
                    To::Canary => &mut node.told.canary,
                    To::Stable => &mut node.told.stable,
                };
                let fails = to == To::Canary && chance.random_bool(share);
                let verdict = if fails { Verdict::Failed } else { Verdict::Good };
                told.record(crate::course::seconds(0.01), verdict, None);
            }
            Tells::Nothing | Tells::ByName(_) => {}
        }
    }

    fn trick(&self, node: &mut Node, trick: Trick, now: f64, step: Step, moment: &Moment, chance: &mut Chance) {
        let began = now - chance.random::<f64>();
        let usual = self.course(To::Canary, chance.random_range(0..USERS), step, moment, chance);
        let fast = Course::at_once(0.001, Verdict::Good);
        let (course, patience) = match trick {
            Trick::LeavesAtOnce => (usual, 0.001),
            // It asks for what takes the model long.
            Trick::LeavesAfterP95 => (Course::none(), node.patience * 1.05),
            Trick::LeavesAfter190Ms => (Course::none(), 0.19),
            Trick::AsksForNothing => (Course::at_once(0.001, Verdict::ClientError), f64::INFINITY),
            Trick::IsRedirected => (Course::at_once(0.001, Verdict::Redirect), f64::INFINITY),
            Trick::AsksWell => (fast, f64::INFINITY),
            // A repeat is no evidence, nor is a request that the model has not had all of.
            Trick::Repeats | Trick::UploadsSlowly => return node.pass_over(To::Canary),
        };
        node.pass_on(To::Canary, began, now, course, Client { source: STRANGER, patience });
    }

    fn course(&self, to: To, user: u32, step: Step, moment: &Moment, chance: &mut Chance) -> Course {
        let model = if to == To::Canary { &self.canary } else { &self.stable };
        let (latency, verdict) = model.answer(moment, chance);
        let mut course = Course::at_once(latency.as_secs_f64(), verdict);
        let crowd = &self.crowd;
        // What is not there cannot fail.
        if chance.random_bool(crowd.not_found) {
            course.verdict = Verdict::ClientError;
        } else if chance.random_bool(crowd.redirects) {
            course.verdict = Verdict::Redirect;
        } else if verdict == Verdict::Good && chance.random_bool(crowd.streams) {
            let lasts: f64 = Exp1.sample(chance);
            course.ends += 5.0 * lasts;
        }
        match to {
            To::Canary if self.is_bad(step) => self.fault.of(course, user, moment, chance),
            To::Canary | To::Stable => course,
        }
    }

    fn is_bad(&self, now: Step) -> bool {
        match self.begins {
            Begins::Step(step) => now.step >= step,
            Begins::Second(step, second) => now.step > step || (now.step == step && now.held >= second),
        }
    }
}

/// Where a rollout is.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) step: usize,
    pub(crate) weight: f64,
    /// Seconds since it began.
    pub(crate) held: u64,
}

impl Fault {
    /// What becomes of a request that would have gone well.
    fn of(self, usual: Course, user: u32, moment: &Moment, chance: &mut Chance) -> Course {
        let fails = Course { verdict: Verdict::Failed, ..Course::at_once(usual.first_byte, Verdict::Failed) };
        match self {
            Self::Answers(verdict, share) if chance.random_bool(share) => Course::at_once(usual.first_byte, verdict),
            Self::BreaksOff(share) if chance.random_bool(share) => fails,
            Self::FirstByte(after) => Course { first_byte: after, ends: after.max(usual.ends), ..usual },
            Self::Hangs(share) if chance.random_bool(share) => Course::none(),
            Self::Stalls(share) if chance.random_bool(share) => {
                let ends = usual.first_byte + crate::course::ANSWER;
                Course { owes: usual.first_byte, ends, verdict: Verdict::Failed, ..usual }
            }
            Self::Slower(times) => {
                let more = usual.first_byte * (times - 1.0);
                Course { first_byte: usual.first_byte + more, ends: usual.ends + more, ..usual }
            }
            Self::Tail(share, after) if chance.random_bool(share) => {
                Course { first_byte: after, ends: after.max(usual.ends), ..usual }
            }
            Self::FailsLate(share, after) if chance.random_bool(share) => Course::at_once(after, Verdict::Failed),
            // A tenth of them is spread over both models' users.
            Self::Users(share) if f64::from(user.wrapping_mul(2_654_435_761) >> 16) < share * 65_536.0 => fails,
            Self::Bursts if moment.is_burst() => fails,
            Self::None
            | Self::Nothing
            | Self::Answers(..)
            | Self::BreaksOff(_)
            | Self::Hangs(_)
            | Self::Stalls(_)
            | Self::Tail(..)
            | Self::FailsLate(..)
            | Self::Users(_)
            | Self::Bursts => usual,
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand")]
fn poisson(mean: f64, chance: &mut Chance) -> u64 {
    if mean <= 0.0 {
        return 0;
    }
    let drawn: f64 = Poisson::new(mean).expect("it is above 0").sample(chance);
    drawn as u64
}
