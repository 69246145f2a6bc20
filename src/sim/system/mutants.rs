//! The simulation can fail: without any one of these rules the system breaks a promise, and the schedule that is named shows
//! it. What the other rules are for shows elsewhere: in the searches of the agreement alone, or where the store is on its own.

use super::mode;
use super::omitted::{Glue, Omitted};
use super::schedule::{Start, Story};
use crate::search::rules::Rule;
use crate::{disk, rollout};

/// The most schedules to try for one mutant.
const SEEDS: u64 = 30_000;

/// What is left out, and the members and the seed of the first schedule that shows it: of three members, if any does.
const CAUGHT: [(Omitted, usize, u64); 53] = [
    (Omitted::Engine(Rule::NeverReuseBallot), 3, 0),
    (Omitted::Engine(Rule::VoteOnce), 3, 588),
    (Omitted::Engine(Rule::CountOwnVotes), 3, 914),
    (Omitted::Engine(Rule::EveryVote), 3, 0),
    (Omitted::Engine(Rule::VoteOnOwnBase), 3, 9),
    (Omitted::Engine(Rule::AcceptUpward), 3, 415),
    (Omitted::Engine(Rule::NothingBelowPromise), 3, 185),
    (Omitted::Engine(Rule::AcceptingPromises), 3, 415),
    (Omitted::Engine(Rule::WriteThenSpeak), 3, 48),
    (Omitted::Engine(Rule::OwnPromiseFirst), 3, 203),
    (Omitted::Engine(Rule::NewBallotToGiveUp), 3, 738),
    (Omitted::Engine(Rule::MajorityDecides), 3, 0),
    (Omitted::Engine(Rule::MajorityPromises), 3, 4),
    (Omitted::Engine(Rule::HighestAccepted), 3, 69),
    (Omitted::Engine(Rule::WriteAgain), 3, 597),
    (Omitted::Engine(Rule::RetreatNeverRaises), 3, 95),
    (Omitted::Engine(Rule::AbortOnlyWhenDecided), 3, 98),
    (Omitted::Engine(Rule::ApplyWhenChosen), 3, 0),
    (Omitted::Engine(Rule::LeaseByMajority), 5, 1843),
    (Omitted::Engine(Rule::CleanEcho), 3, 287),
    (Omitted::Engine(Rule::CleanSelf), 3, 46),
    (Omitted::Engine(Rule::JoinedEchoes), 3, 287),
    (Omitted::Engine(Rule::NoLeaseAtStart), 3, 18),
    (Omitted::Engine(Rule::LeaseAtEveryChoice), 5, 19_819),
    (Omitted::Engine(Rule::EmptyDiskIsSilent), 3, 77),
    (Omitted::Engine(Rule::FirstBootProved), 3, 351),
    (Omitted::Engine(Rule::RejoinByAll), 3, 31),
    (Omitted::Engine(Rule::RejoinAdopts), 3, 892),
    (Omitted::Engine(Rule::FarewellEnds), 3, 1301),
    (Omitted::Engine(Rule::ShowWhatIsAwaited), 3, 778),
    (Omitted::Controller(rollout::Rule::HoldEachStep), 3, 1215),
    (Omitted::Controller(rollout::Rule::CountAnew), 3, 255),
    (Omitted::Controller(rollout::Rule::EjectWhatFails), 3, 63),
    (Omitted::Controller(rollout::Rule::RollBackWhatFails), 3, 63),
    (Omitted::Controller(rollout::Rule::AwaitPromotion), 3, 255),
    (Omitted::Controller(rollout::Rule::AskAgain), 3, 255),
    (Omitted::Store(disk::Rule::ForceBeforeReturn), 3, 18),
    (Omitted::Store(disk::Rule::NewEpoch), 3, 0),
    (Omitted::Store(disk::Rule::RotateWithNewest), 3, 190),
    (Omitted::Store(disk::Rule::WipeWhatIsLeft), 3, 18673),
    (Omitted::Store(disk::Rule::BeginBeforeWipe), 3, 13),
    (Omitted::Store(disk::Rule::WipeAll), 3, 351),
    (Omitted::Store(disk::Rule::CutIsTheEnd), 3, 31),
    (Omitted::Member(Glue::WriteThenSpeak), 3, 48),
    (Omitted::Member(Glue::EndWhenTheDiskFails), 3, 125),
    (Omitted::Member(Glue::VetoWhenFull), 3, 303),
    (Omitted::Member(Glue::ShowEjection), 3, 63),
    (Omitted::Member(Glue::TellTheController), 3, 255),
    (Omitted::Member(Glue::HearReports), 3, 63),
    (Omitted::Member(Glue::AwaitFarewell), 3, 0),
    (Omitted::Member(Glue::ForceAtTheEnd), 3, 0),
    (Omitted::Member(Glue::KeepTheDoorOpen), 3, 719),
    (Omitted::Member(Glue::CloseTheDoor), 3, 1039),
];

/// Every rule of every part.
pub(super) fn all() -> Vec<Omitted> {
    let engine = Rule::ALL.into_iter().map(Omitted::Engine);
    let controller = rollout::Rule::ALL.into_iter().map(Omitted::Controller);
    let store = disk::Rule::ALL.into_iter().map(Omitted::Store);
    let member = Glue::ALL.into_iter().map(Omitted::Member);
    engine.chain(controller).chain(store).chain(member).collect()
}

#[test]
fn a_named_schedule_shows_what_each_rule_is_for() {
    let mut missed = Vec::new();
    for members in [3, 5] {
        let mut start = Start::new(members).expect("a first boot");
        for (omitted, _, seed) in CAUGHT.into_iter().filter(|(_, wanted, _)| *wanted == members) {
            let without = start.run(seed, mode(seed), omitted, Story::Untold).is_err();
            let with = start.run(seed, mode(seed), Omitted::Nothing, Story::Untold).is_ok();
            if !(without && with) {
                missed.push((omitted, members, seed));
            }
        }
    }
    assert!(missed.is_empty(), "these schedules show nothing: {missed:?}");
}

/// Finds the first schedule that shows what each rule is for:
/// `cargo test -p sim --lib system::mutants::hunt -- --ignored --nocapture`.
#[test]
#[ignore = "it takes minutes; its finds are in the list that is tried each time"]
fn hunt() {
    for omitted in all() {
        for members in [3, 5] {
            let mut start = Start::new(members).expect("a first boot");
            let found = (0..SEEDS).find_map(|seed| {
                let failure = start.run(seed, mode(seed), omitted, Story::Untold).err()?;
                Some((seed, failure.broken))
            });
            let Some((seed, broken)) = found else {
                eprintln!("{omitted:?}: nothing in {SEEDS} schedules of {members}");
                continue;
            };
            eprintln!("{omitted:?}: {members} members, seed {seed}: {:?}: {}", broken.promise, broken.how);
            break;
        }
    }
}
