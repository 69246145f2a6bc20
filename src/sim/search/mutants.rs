//! The search can fail: the engine without any one of its rules breaks a promise, and the search finds where.

use super::exhaustive::{self, ADVANCE, Budget, LOST_DISK, REPEATS, RETREAT, TAKEOVER};
use super::observer::Promise;
use super::random::{self, Trace, Weather};
use super::rules::{Rule, Without};
use super::subject::Toy;
use crate::dice::Dice;
use service::RoutingState;

/// How the search finds what a rule is for.
#[derive(Clone, Copy, Debug)]
enum Hunt {
    /// By random schedules of so many members in one kind of weather.
    Random(usize, Weather),
    /// By random paths within a budget of the exhaustive search.
    Walks(Budget),
}

/// The most schedules to try for one mutant.
const SEEDS: u64 = 20_000;

/// Rules whose use the searches of everything show, too, and a budget within which they do.
const SHOWN_BY_EXHAUSTION: [(Rule, Budget); 13] = [
    (Rule::NeverReuseBallot, Budget { crashes: 1, ..RETREAT }),
    (Rule::VoteOnce, REPEATS),
    (Rule::EveryVote, ADVANCE),
    (Rule::VoteOnOwnBase, REPEATS),
    (Rule::NothingBelowPromise, TAKEOVER),
    (Rule::WriteThenSpeak, Budget { torn_steps: 1, ..RETREAT }),
    (Rule::NewBallotToGiveUp, REPEATS),
    (Rule::MajorityDecides, TAKEOVER),
    (Rule::MajorityPromises, TAKEOVER),
    (Rule::HighestAccepted, TAKEOVER),
    (Rule::AbortOnlyWhenDecided, TAKEOVER),
    (Rule::ApplyWhenChosen, RETREAT),
    (Rule::EmptyDiskIsSilent, LOST_DISK),
];

const fn hunt(rule: Rule) -> Hunt {
    match rule {
        Rule::LeaseByMajority => Hunt::Random(5, Weather::Splits),
        Rule::LeaseFromSent | Rule::LeaseAtEveryChoice | Rule::DeferToReported => Hunt::Random(3, Weather::Splits),
        Rule::CountOwnVotes | Rule::AcceptUpward | Rule::VoteOnce | Rule::BuildOnChosen => {
            Hunt::Random(3, Weather::Repeats)
        }
        Rule::WriteThenSpeak
        | Rule::OwnPromiseFirst
        | Rule::NeverReuseBallot
        | Rule::EmptyDiskIsSilent
        | Rule::FirstBootProved
        | Rule::RejoinByAll
        | Rule::RejoinAdopts
        | Rule::JoinedEchoes => Hunt::Random(3, Weather::Disks),
        Rule::BaseStillChosen => Hunt::Walks(exhaustive::ONE_WAY),
        Rule::FarewellEnds => Hunt::Walks(exhaustive::STOP),
        Rule::EveryVote
        | Rule::VoteOnOwnBase
        | Rule::NothingBelowPromise
        | Rule::AcceptingPromises
        | Rule::NewBallotToGiveUp
        | Rule::MajorityDecides
        | Rule::MajorityPromises
        | Rule::HighestAccepted
        | Rule::WriteAgain
        | Rule::RetreatNeverRaises
        | Rule::AbortOnlyWhenDecided
        | Rule::ApplyWhenChosen
        | Rule::CleanEcho
        | Rule::CleanSelf
        | Rule::NoLeaseAtStart
        | Rule::ShowWhatIsAwaited => Hunt::Random(3, Weather::Mixed),
    }
}

/// The promise that the engine without `rule` breaks, and where.
fn broken_without(rule: Rule) -> Option<(Promise, String)> {
    match hunt(rule) {
        Hunt::Random(members, weather) => (0..SEEDS).find_map(|seed| {
            let broken = random::run(members, seed, weather, Without(Some(rule)), Trace::Off).err()?;
            Some((broken.promise, format!("{weather:?} seed {seed} of {members} members: {}", broken.how)))
        }),
        Hunt::Walks(budget) => (0..SEEDS).find_map(|seed| {
            let broken = exhaustive::walk(budget, &mut Dice::new(seed), Without(Some(rule))).err()?;
            Some((broken.promise, format!("walk {seed}: {}", broken.how)))
        }),
    }
}

#[test]
fn every_rule_left_out_breaks_a_promise() {
    let results: Vec<(Rule, Option<(Promise, String)>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|part| {
                let rules = Rule::ALL.into_iter().enumerate().filter(move |(index, _)| index % 2 == part);
                scope.spawn(move || rules.map(|(_, rule)| (rule, broken_without(rule))).collect::<Vec<_>>())
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not panic")).collect()
    });
    for (rule, broken) in &results {
        match broken {
            Some((promise, at)) => {
                eprintln!("without {rule:?}: {promise:?}, {}", at.chars().take(160).collect::<String>())
            }
            None => eprintln!("without {rule:?}: nothing found"),
        }
    }
    let harmless: Vec<Rule> = results.iter().filter(|(_, broken)| broken.is_none()).map(|(rule, _)| *rule).collect();
    assert!(harmless.is_empty(), "the search does not see what these rules are for: {harmless:?}");
}

#[test]
fn searching_everything_shows_what_rules_are_for() {
    for (rule, budget) in SHOWN_BY_EXHAUSTION {
        let rules = Without(Some(rule));
        let broken = [
            ("the routing state", exhaustive::search::<RoutingState>(budget, rules).err()),
            ("the toy", exhaustive::search::<Toy>(budget, rules).err()),
        ];
        for (subject, broken) in broken {
            assert!(broken.is_some(), "everything within {budget:?} keeps its promises without {rule:?}: {subject}");
        }
    }
}
