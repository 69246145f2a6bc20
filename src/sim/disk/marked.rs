//! The versions of a log: the older one as long as that has words for all, then the newer one for good.

use super::platter::{Fate, Shared};
use format::{Version, disk};
use model::{Ballot, Incarnation, NodeId};
use service::{Durable, Proposal, Record, RoutingState};
use std::path::Path;
use std::sync::Arc;
use store::frame::{Found, SEGMENT, look};
use store::segment::format_of;
use store::{Log, StoreError, StoreIdentity};

fn open(disk: &Shared) -> Result<Log, StoreError> {
    let identity = StoreIdentity { node: NodeId::A, cluster: "c-1.canary".into() };
    Log::open(Box::new(disk.clone()), Path::new("/simulated"), identity, Incarnation(7))
}

fn accepted(round: u64, wire: Option<u16>) -> Record {
    let ballot = Ballot { round, node: NodeId::A, incarnation: Incarnation(7) };
    let state = RoutingState { wire, ..RoutingState::initial("v1".parse().expect("a model id")) };
    let (votes, evidence) = (Default::default(), Default::default());
    Record::Accepted(Arc::new(Proposal { ballot, state: Arc::new(state), by: None, votes, evidence }))
}

/// A log with three records, none of them marked.
fn unmarked() -> (Shared, Log) {
    let disk = Shared::sized(0, SEGMENT);
    let mut log = open(&disk).expect("an empty disk");
    (1..4).for_each(|round| log.append(&[accepted(round, None)]).expect("the disk works"));
    (disk, log)
}

/// The format that the identity names, and that of each segment with a snapshot.
fn formats(disk: &Shared) -> (u64, Vec<u64>) {
    let platter = disk.lock();
    let identity = platter.identity.as_deref().expect("there is one");
    let found = platter.images().iter().filter_map(|image| format_of(image)).collect();
    (disk::format_in(identity).expect("it names one"), found)
}

/// The bodies of the records of a segment.
fn bodies(image: &[u8]) -> Vec<Vec<u8>> {
    let (mut bodies, mut at) = (Vec::new(), 0);
    while let Found::Record { body, next, .. } = look(image, at) {
        bodies.push(body.to_vec());
        at = next;
    }
    bodies
}

fn is_marked(durable: &Durable) -> bool {
    durable.accepted.as_ref().is_some_and(|proposal| proposal.state.wire == Some(6))
}

#[test]
fn what_nobody_marked_is_what_version_5_writes() {
    let (disk, log) = unmarked();
    assert_eq!(formats(&disk), (2, vec![2]));
    let [even, _] = disk.lock().images();
    let wanted = (1..4).map(|round| disk::encode_record(&accepted(round, None), Version::V5).expect("it has words"));
    assert_eq!(bodies(&even)[1..], wanted.collect::<Vec<_>>());
    drop(log);
    open(&disk).expect("its own data");
    assert_eq!(formats(&disk), (2, vec![2]), "a start changes no version");
}

#[test]
fn a_mark_begins_a_segment_of_the_newer_version_and_the_older_never_comes_back() {
    let (disk, mut log) = unmarked();
    log.append(&[accepted(4, Some(6))]).expect("the disk works");
    log.append(&[accepted(5, Some(6))]).expect("the disk works");
    assert_eq!(formats(&disk), (2, vec![3]), "the segment of the older version is wiped");
    drop(log);
    let mut log = open(&disk).expect("its own data");
    assert!(is_marked(log.durable()));
    // Nobody takes a mark off; if somebody did, the version would stay.
    log.append(&[accepted(6, None)]).expect("the disk works");
    drop(log);
    assert!(!is_marked(open(&disk).expect("its own data").durable()));
    assert_eq!(formats(&disk), (2, vec![3]));
}

/// A program that knows version 5 only must never find a mark where it reads.
#[test]
fn whenever_it_dies_an_older_program_is_told_or_nothing_is_marked() {
    let (mut before, mut after) = (0, 0);
    for fate in [Fate::DiesBefore, Fate::DiesWithin, Fate::DiesAfter, Fate::Fails] {
        for fuse in 0..12 {
            let (disk, mut log) = unmarked();
            disk.lock().arm(fuse, fate);
            let kept = log.append(&[accepted(4, Some(6))]).is_ok();
            drop(log);
            disk.lock().release();
            disk.lock().cut_power();
            let is_told = formats(&disk).1.contains(&3);
            let log = open(&disk).expect("no crash leaves damage");
            let marked = is_marked(log.durable());
            assert!(marked || !kept, "{fate:?} {fuse}: what was kept is there");
            assert_eq!(
                log.durable().accepted.as_ref().map(|proposal| proposal.ballot.round),
                Some(3 + u64::from(marked))
            );
            assert!(is_told || !marked, "{fate:?} {fuse}");
            assert_eq!(formats(&disk), (2, vec![2 + u64::from(marked)]), "{fate:?} {fuse}");
            *(if marked { &mut after } else { &mut before }) += 1;
        }
    }
    assert!(before > 4 && after > 4, "{before} deaths before, {after} after");
}
