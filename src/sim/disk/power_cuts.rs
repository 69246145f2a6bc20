//! Cuts of the power: what the log must keep, at every step of it; and what it makes of bytes that no crash leaves
//! behind.

use super::platter::{Fate, Shared};
use crate::dice::Dice;
use model::{Ballot, Incarnation, NodeId};
use service::RoutingState;
use service::{Durable, Proposal, Record};
use std::path::Path;
use std::sync::Arc;
use store::frame::{Found, SECTOR, SEGMENT, encode, look};
use store::segment::{format_of, recover};
use store::{Log, Side, StoreError, StoreFault, StoreIdentity};

const DIR: &str = "/simulated";
/// Long lives come to states that are marked, and go on with another version of the log.
const MARKED_FROM: u64 = 8;

fn open(disk: &Shared, fresh: u64) -> Result<Log, StoreError> {
    let identity = StoreIdentity { node: NodeId::A, cluster: "c-1.canary".into() };
    Log::open(Box::new(disk.clone()), Path::new(DIR), identity, Incarnation(fresh))
}

/// Record number `number` of a long life, different from all others; about `size` bytes.
fn record(number: u64, size: usize) -> Record {
    let ballot = Ballot { round: number, node: NodeId::A, incarnation: Incarnation(1) };
    let mut state = RoutingState::initial("v1".parse().expect("a model id"));
    state.version = number;
    state.stable.upstream = Some("x".repeat(size));
    state.wire = (number >= MARKED_FROM).then_some(6);
    let proposal = Arc::new(Proposal {
        ballot,
        state: Arc::new(state),
        by: None,
        votes: Default::default(),
        evidence: Default::default(),
    });
    match number % 5 {
        0 => Record::Promised(ballot),
        1 | 3 => Record::Accepted(proposal),
        4 => Record::AcceptedIsCommitted,
        _ => Record::Committed(proposal),
    }
}

fn without_epoch(durable: &Durable) -> Durable {
    Durable { epoch: 0, ..durable.clone() }
}

/// What a life adds up to after its first `count` records.
fn after(incarnation: Incarnation, life: &[Record], count: usize) -> Durable {
    let mut durable = Durable::blank(incarnation);
    life.iter().take(count).for_each(|record| durable.apply(record));
    without_epoch(&durable)
}

/// What was said to others on the strength of the disk.
struct Said {
    incarnation: Incarnation,
    epoch: u64,
    /// All records ever handed over that may still count.
    life: Vec<Record>,
    /// How many of them are on disk for certain.
    certain: usize,
    next: u64,
}

/// Opens, works and dies, `lives` times, dying after as many operations as `fuses` says.
fn live_and_die(seed: u64, fuses: &[usize]) {
    let mut dice = Dice::new(seed);
    let disk = Shared::sized(seed, SEGMENT);
    let mut said: Option<Said> = None;
    for (life, fuse) in fuses.iter().enumerate() {
        disk.lock().arm(*fuse, Fate::DiesWithin);
        let fresh = 100 + life as u64;
        if let Ok(mut log) = open(&disk, fresh) {
            let now = said.get_or_insert_with(|| Said {
                incarnation: log.durable().incarnation,
                epoch: 0,
                life: Vec::new(),
                certain: 0,
                next: 0,
            });
            check(log.durable(), now);
            work(&mut log, now, &mut dice);
        }
        disk.lock().release();
        if dice.once_in(2) {
            disk.lock().cut_power();
        }
    }
    let log = open(&disk, 9999).expect("whatever happened, the last start succeeds");
    if let Some(said) = &mut said {
        check(log.durable(), said);
    }
}

fn check(durable: &Durable, said: &mut Said) {
    assert_eq!(durable.incarnation, said.incarnation, "the life of the disk has not changed");
    assert!(durable.epoch > said.epoch, "no epoch is used twice");
    said.epoch = durable.epoch;
    let kept = (said.certain..=said.life.len())
        .rev()
        .find(|count| after(said.incarnation, &said.life, *count) == without_epoch(durable));
    let Some(kept) = kept else { panic!("{} of {} records are certain: {durable:?}", said.certain, said.life.len()) };
    said.life.truncate(kept);
    said.certain = kept;
}

fn work(log: &mut Log, said: &mut Said, dice: &mut Dice) {
    loop {
        let size = [10, 1000, 100_000, 250_000][dice.below(4)];
        let batch: Vec<Record> = (0..1 + dice.below(2)).map(|index| record(said.next + index as u64, size)).collect();
        said.next += batch.len() as u64;
        said.life.extend(batch.iter().cloned());
        if log.append(&batch).is_err() {
            assert!(matches!(log.append(&batch), Err(StoreError::Failed { .. })), "a failed log takes no more");
            return;
        }
        if !batch.iter().all(Record::is_lazy) {
            said.certain = said.life.len();
        }
    }
}

#[test]
fn nothing_promised_is_lost_whenever_it_dies() {
    // Every step of a first life, of the start after it, and of the start after that.
    for first in 0..40 {
        live_and_die(first as u64, &[first]);
        for second in 0..12 {
            live_and_die((first * 100 + second) as u64, &[first, second, second]);
        }
    }
}

#[test]
fn nothing_promised_is_lost_over_many_lives() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let fuses: Vec<usize> = (0..8).map(|_| dice.below(40)).collect();
        live_and_die(seed, &fuses);
    }
}

/// A log with `count` small records, on one segment, and the states after each.
fn small_log(count: u64) -> (Shared, Vec<Durable>) {
    let disk = Shared::sized(0, SEGMENT);
    let mut log = open(&disk, 7).expect("an empty disk");
    let life: Vec<Record> = (0..count).map(|number| record(number, 600)).collect();
    life.iter().for_each(|record| log.append(std::slice::from_ref(record)).expect("the disk works"));
    log.force().expect("the disk works");
    let states = (0..=life.len()).map(|count| after(Incarnation(7), &life, count)).collect();
    (disk, states)
}

/// The used part of both segments, and a little more.
fn used_images(disk: &Shared) -> [Vec<u8>; 2] {
    disk.lock().images().map(|mut image| {
        let used = image.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        image.truncate(used.next_multiple_of(SECTOR) + 2 * SECTOR);
        image
    })
}

#[test]
fn no_changed_byte_changes_the_state() {
    let (disk, states) = small_log(7);
    let [even, odd] = used_images(&disk);
    let truth = states.last();
    let mut refused = 0;
    for (side, image) in [(Side::Even, &even), (Side::Odd, &odd)] {
        for place in 0..image.len() {
            for flip in [0x01, 0x20, 0x80, 0xff, image[place]] {
                let mut changed = image.clone();
                changed[place] ^= flip;
                let segments = if side == Side::Even { [&changed[..], &odd] } else { [&even[..], &changed] };
                match recover(segments) {
                    Err(damage) => {
                        refused += 1;
                        let offset = place / SECTOR * SECTOR;
                        assert!(damage.side == side && damage.offset <= offset, "{damage:?} for byte {place}");
                    }
                    Ok(None) => panic!("byte {place} makes all forgotten"),
                    Ok(Some(current)) => {
                        assert_eq!(Some(&without_epoch(&current.snapshot.durable)), truth, "byte {place} ^ {flip:#x}");
                    }
                }
            }
        }
    }
    assert!(refused > 10_000, "most changes are noticed");
}

#[test]
fn every_cut_leaves_the_records_before_it() {
    let (disk, states) = small_log(7);
    let [even, odd] = used_images(&disk);
    let mut seen = std::collections::BTreeSet::new();
    for place in 0..even.len() {
        let mut zeroed = even.clone();
        zeroed[place..].fill(0);
        for image in [&even[..place], &zeroed] {
            match recover([image, &odd]).expect("a cut is no damage") {
                None => assert_eq!(seen.len(), 0, "only without its snapshot is a log no log"),
                Some(current) => {
                    let kept = current.records;
                    assert_eq!(without_epoch(&current.snapshot.durable), states[kept]);
                    seen.insert(kept);
                    assert_eq!(seen.len(), kept + 1, "a later cut keeps as much or more");
                }
            }
        }
    }
    assert_eq!(seen.len(), states.len());
}

#[test]
fn a_lost_record_before_a_forced_one_is_named() {
    let (disk, _) = small_log(7);
    let [mut even, odd] = used_images(&disk);
    // The snapshot takes one sector; the first record, a promise, the next.
    even[SECTOR..2 * SECTOR].fill(0);
    let damage = recover([&even, &odd]).expect_err("a promise is missing");
    assert_eq!((damage.side, damage.offset), (Side::Even, SECTOR));
}

#[test]
fn a_snapshot_that_vanished_is_named() {
    let (disk, _) = small_log(7);
    let [mut even, odd] = used_images(&disk);
    even[..SECTOR].fill(0);
    let damage = recover([&even, &odd]).expect_err("the snapshot is missing");
    assert_eq!((damage.side, damage.offset), (Side::Even, 0));
    let fresh = Shared::sized(0, SEGMENT);
    drop(open(&fresh, 7).expect("an empty disk"));
    fresh.lock().lose_segments();
    assert!(matches!(open(&fresh, 8), Err(StoreError::Corrupt { .. })), "an identity without a log is no empty disk");
    let (headless, _) = small_log(3);
    headless.lock().identity = None;
    assert!(matches!(open(&headless, 8), Err(StoreError::Corrupt { .. })), "a log without an identity is none either");
}

#[test]
fn segments_of_different_times_are_not_mixed() {
    let (disk, _) = small_log(3);
    let [first, _] = used_images(&disk);
    open(&disk, 8).and_then(|mut log| log.append(&[record(5, 600)])).expect("the disk works");
    let [wiped, mut second] = used_images(&disk);
    recover([&first, &second]).expect("a crash before the wipe leaves both");
    second[..2 * SECTOR].fill(0);
    let damage = recover([&first, &second]).expect_err("the newer snapshot is missing, a record after it is there");
    assert_eq!((damage.side, damage.offset), (Side::Odd, 0));
    for _ in 0..2 {
        open(&disk, 8).expect("the disk works");
    }
    let [_, later] = used_images(&disk);
    let damage = recover([&first, &later]).expect_err("one of them is from a backup");
    assert!(damage.what.contains("generation 4"), "{damage:?}");
    recover([&wiped, &later]).expect("a wiped one fits any");
}

#[test]
fn a_forced_record_costs_one_write_and_one_force() {
    let (disk, _) = small_log(0);
    let mut log = open(&disk, 7).expect("the disk works");
    let cost = |log: &mut Log, records: &[Record]| {
        let figures = || {
            let platter = disk.lock();
            (platter.writes, platter.forces)
        };
        let (writes, forces) = figures();
        log.append(records).expect("the disk works");
        (figures().0 - writes, figures().1 - forces)
    };
    assert_eq!(cost(&mut log, &[record(1, 600)]), (1, 1));
    assert_eq!(cost(&mut log, &[record(2, 600)]), (1, 0), "a decision is lazy");
    assert_eq!(cost(&mut log, &[record(3, 600), record(4, 600), record(5, 600)]), (1, 1));
    assert_eq!(cost(&mut log, &[]), (0, 0));
    let forces = disk.lock().forces;
    log.force().expect("nothing to do");
    assert_eq!(disk.lock().forces, forces, "all is on disk already");
}

#[test]
fn a_record_without_a_place_is_refused_before_it_is_written() {
    let (disk, _) = small_log(0);
    let mut log = open(&disk, 7).expect("the disk works");
    let writes = disk.lock().writes;
    assert!(matches!(log.append(&[record(1, 300_000)]), Err(StoreError::TooLarge(_))));
    assert_eq!(disk.lock().writes, writes);
    log.append(&[record(1, 250_000)]).expect("the log goes on");
}

#[test]
fn a_directory_is_of_one_member_one_cluster_and_no_later_format() {
    let (disk, _) = small_log(3);
    let open = |node: &str, cluster: &str| {
        let identity = StoreIdentity { node: node.parse().expect("a node"), cluster: cluster.into() };
        Log::open(Box::new(disk.clone()), Path::new(DIR), identity, Incarnation(8)).map(|log| log.durable().epoch)
    };
    assert!(matches!(open("node-b", "c-1.canary"), Err(StoreError::OtherNode { .. })));
    assert!(matches!(open("node-a", "c-2.canary"), Err(StoreError::OtherCluster { .. })));
    assert!(matches!(open("node-a", "c-1.canary"), Ok(2)), "refusals change nothing");
    disk.lock().identity = Some(br#"{"format": 4, "what": "no idea"}"#.to_vec());
    assert!(matches!(open("node-a", "c-1.canary"), Err(StoreError::NewerFormat { found: 4, .. })));
    disk.lock().identity = Some(b"{".to_vec());
    assert!(matches!(open("node-a", "c-1.canary"), Err(StoreError::Corrupt { .. })));
}

/// Makes a directory look as if it was written in another format: what names one names `format`.
fn age(disk: &Shared, format: u64) {
    let mut platter = disk.lock();
    let text = String::from_utf8(platter.identity.clone().expect("there is one")).expect("JSON");
    platter.identity = Some(text.replace("\"format\": 2", &format!("\"format\": {format}")).into_bytes());
    let [content, _] = platter.images();
    let Found::Record { header, body, .. } = look(&content, 0) else { panic!("it begins with its snapshot") };
    let body = String::from_utf8(body.to_vec()).expect("JSON");
    let mut bytes = Vec::new();
    encode(&mut bytes, header, body.replace("\"format\":2", &format!("\"format\":{format}")).as_bytes());
    platter.change(Side::Even, 0, &bytes);
}

#[test]
fn what_an_older_version_wrote_is_brought_to_the_present_format_or_refused_by_name() {
    let (disk, states) = small_log(4);
    age(&disk, 1);
    let log = open(&disk, 8).expect("format 1 is read");
    assert_eq!(Some(&without_epoch(log.durable())), states.last());
    drop(log);
    let text = String::from_utf8(disk.lock().identity.clone().expect("there is one")).expect("JSON");
    assert!(text.contains("\"format\": 2"), "an older version must not take it for its own: {text}");
    assert_eq!(disk.lock().images().map(|image| format_of(&image)), [None, Some(2)]);

    let (disk, _) = small_log(4);
    age(&disk, 0);
    let error = open(&disk, 8).map(drop).expect_err("there was no format 0");
    assert!(error.to_string().contains("identity.json has format 0, this program reads 1 to 3"), "{error}");
    assert_eq!(error.fault(), StoreFault::Configuration);

    // A newer one may have forgotten to say so in its identity: its snapshot says it.
    let (disk, _) = small_log(4);
    age(&disk, 4);
    let text = disk
        .lock()
        .identity
        .clone()
        .map(|text| String::from_utf8_lossy(&text).replace("\"format\": 4", "\"format\": 2"));
    disk.lock().identity = text.map(String::into_bytes);
    let error = open(&disk, 8).map(drop).expect_err("format 4 is of tomorrow");
    assert!(matches!(&error, StoreError::NewerFormat { found: 4, file } if file.ends_with("log.0")), "{error}");
}
