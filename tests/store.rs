//! The store on a real file system: who may open a directory, and what a full or read-only disk does.

#[path = "shared/mounted.rs"]
mod mounted;
mod needs;

use model::{Ballot, Incarnation, NodeId};
use mounted::Mounted;
use service::{Durable, Proposal, Record, RoutingState};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Memory, Room, Store, StoreError, StoreFault, StoreIdentity};

/// Set for the process that holds a directory while another wants it.
const HOLD: &str = "CANARY_TEST_HOLD";

fn identity() -> StoreIdentity {
    StoreIdentity { node: NodeId::A, cluster: "c-1.canary".into() }
}

fn open(dir: &Path) -> Result<(Store, Durable), StoreError> {
    open_as(dir, identity(), 7)
}

/// Opens the directory. A child that another test is just starting holds all locks of this process for a moment, until
/// it becomes another program; that is waited for.
fn open_as(dir: &Path, identity: StoreIdentity, fresh: u64) -> Result<(Store, Durable), StoreError> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match Store::open(dir, identity.clone(), Incarnation(fresh)) {
            Err(StoreError::InUse { pid, .. }) if pid == Some(std::process::id()) && Instant::now() < deadline => {
                std::thread::yield_now();
            }
            result => return result,
        }
    }
}

/// Something accepted, with about `size` bytes of state.
fn accepted(version: u64, size: usize) -> Record {
    let mut state = RoutingState::initial("v1".parse().expect("a model id"));
    state.version = version;
    state.stable.upstream = Some("x".repeat(size));
    let ballot = Ballot { round: version, node: NodeId::A, incarnation: Incarnation(7) };
    Record::Accepted(Arc::new(Proposal {
        ballot,
        state: Arc::new(state),
        by: None,
        votes: Default::default(),
        evidence: Default::default(),
    }))
}

fn accepted_version(durable: &Durable) -> Option<u64> {
    durable.accepted.as_ref().map(|proposal| proposal.state.version)
}

#[test]
fn what_was_added_is_there_at_the_next_start() {
    let temporary = tempfile::tempdir().expect("a directory");
    let dir = temporary.path().join("data/node-a");
    let (mut store, durable) = open(&dir).expect("an empty directory");
    assert_eq!(durable, Durable::blank(Incarnation(7)));
    assert_eq!(fs::metadata(&dir).expect("it is there").permissions().mode() & 0o777, 0o700);
    drop(store);
    let (again, durable) = open_as(&dir, identity(), 8).expect("still blank");
    assert_eq!((durable.incarnation, durable.epoch, durable.joined), (Incarnation(7), 2, None));
    store = again;
    let founders = BTreeMap::from([(NodeId::A, Incarnation(7))]);
    for version in 1..100 {
        store.append(&[Record::Joined(founders.clone()), accepted(version, 30_000)]).expect("the disk works");
    }
    drop(store);
    let (_store, durable) = open(&dir).expect("its own data");
    assert_eq!((durable.epoch, durable.joined.clone(), accepted_version(&durable)), (3, Some(founders), Some(99)));
    let names: BTreeSet<String> = fs::read_dir(&dir)
        .expect("it is there")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["identity.json", "lock", "log.0", "log.1"]);
    for name in ["log.0", "log.1"] {
        let metadata = fs::metadata(dir.join(name)).expect("a segment");
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (1024 * 1024, 0o600));
    }
}

#[test]
fn the_data_of_others_is_refused_by_name() {
    let temporary = tempfile::tempdir().expect("a directory");
    drop(open(temporary.path()).expect("an empty directory"));
    let other_node = StoreIdentity { node: "node-b".parse().expect("a node"), ..identity() };
    let error = open_as(temporary.path(), other_node, 8).map(drop).expect_err("node-a's data");
    assert_eq!(error.fault(), StoreFault::Configuration);
    assert!(error.to_string().contains("the data of node-a, this node is node-b"), "{error}");
    let other_cluster = StoreIdentity { cluster: "c-2.canary".into(), ..identity() };
    let error = open_as(temporary.path(), other_cluster, 8).map(drop).expect_err("another cluster");
    assert_eq!(error.fault(), StoreFault::Configuration);
    assert!(error.to_string().contains("\"c-1.canary\""), "{error}");
}

#[test]
fn a_changed_byte_is_named_by_file_and_offset() {
    let temporary = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(temporary.path()).expect("an empty directory");
    store.append(&[accepted(1, 10), accepted(2, 10)]).expect("the disk works");
    drop(store);
    let path = temporary.path().join("log.0");
    let mut bytes = fs::read(&path).expect("a segment");
    let place = bytes.windows(8).rposition(|window| window == b"\"version").expect("a record");
    bytes[place] ^= 1;
    fs::write(&path, bytes).expect("the disk works");
    let error = open(temporary.path()).map(drop).expect_err("a changed byte");
    assert_eq!(error.fault(), StoreFault::CorruptData);
    let StoreError::Corrupt { file, offset, .. } = &error else { panic!("{error}") };
    assert_eq!(file, &path);
    assert_eq!(*offset, place as u64 / 512 * 512, "the record begins at the sector before");
}

/// Not a test by itself: the process that [`a_second_process_is_refused_with_the_first_ones_pid`] starts.
#[test]
fn hold_a_directory() {
    let Some(dir) = std::env::var_os(HOLD) else { return };
    let (_store, durable) = open(&PathBuf::from(dir)).expect("the directory is free");
    let mut error = std::io::stderr();
    writeln!(error, "holding in epoch {}", durable.epoch).expect("the parent reads");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("the parent closes it");
}

#[test]
fn a_second_process_is_refused_with_the_first_ones_pid() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut holder = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "hold_a_directory", "--nocapture"])
        .env(HOLD, temporary.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this program can be started");
    let lines = BufReader::new(holder.stderr.take().expect("it is piped")).lines();
    let held = lines.map_while(Result::ok).any(|line| line.contains("holding in epoch 1"));
    assert!(held, "the first process has the directory");
    let error = open(temporary.path()).map(drop).expect_err("the directory is in use");
    assert_eq!(error.fault(), StoreFault::Configuration);
    assert!(matches!(&error, StoreError::InUse { pid: Some(pid), .. } if *pid == holder.id()), "{error}");
    assert!(error.to_string().contains(&format!("process {}", holder.id())), "{error}");
    holder.kill().expect("it is running");
    holder.wait().expect("it was killed");
    let (_store, durable) = open(temporary.path()).expect("the directory is free again");
    assert_eq!((durable.epoch, durable.incarnation), (2, Incarnation(7)));
}

#[test]
fn a_full_disk_stops_no_record_and_no_restart() {
    let temporary = tempfile::tempdir().expect("a directory");
    let Some(mounted) = Mounted::at(temporary.path(), "32m") else { return };
    let dir = mounted.path().join("node-a");
    let (mut store, _) = open(&dir).expect("an empty directory");
    assert_eq!(store.has_room(), Room::Plenty);
    let mut filler = fs::File::create(mounted.path().join("filler")).expect("there is room");
    let block = [1_u8; 4096];
    while filler.write_all(&block).is_ok() {}
    assert_eq!(store.has_room(), Room::Full);
    // Enough to go through both segments twice.
    for version in 1..50 {
        store.append(&[accepted(version, 100_000)]).expect("the room for it is kept");
    }
    drop(store);
    let (mut store, durable) = open(&dir).expect("a start needs no room");
    assert_eq!((durable.epoch, accepted_version(&durable)), (2, Some(49)));
    store.append(&[accepted(50, 100_000)]).expect("the room for it is kept");
    let blank = mounted.path().join("node-b");
    let error = open_as(&blank, identity(), 8).map(drop).expect_err("there is no room for another");
    assert_eq!(error.fault(), StoreFault::Storage);
}

#[test]
fn a_first_start_without_room_can_be_repeated_with_room() {
    let temporary = tempfile::tempdir().expect("a directory");
    let Some(mounted) = Mounted::at(temporary.path(), "1536k") else { return };
    let dir = mounted.path().join("node-a");
    let error = open(&dir).map(drop).expect_err("there is room for one segment only");
    assert_eq!(error.fault(), StoreFault::Storage);
    assert!(error.to_string().contains("log.1"), "{error}");
    mounted.remount("size=8m");
    let (_store, durable) = open_as(&dir, identity(), 9).expect("there is room now");
    assert_eq!(durable, Durable::blank(Incarnation(9)));
}

#[test]
fn a_read_only_disk_is_a_storage_error_with_the_path() {
    let temporary = tempfile::tempdir().expect("a directory");
    let Some(mounted) = Mounted::at(temporary.path(), "8m") else { return };
    let dir = mounted.path().join("node-a");
    drop(open(&dir).expect("an empty directory"));
    mounted.remount("ro");
    for dir in [dir, mounted.path().join("node-b")] {
        let error = open(&dir).map(drop).expect_err("nothing can be written");
        assert_eq!(error.fault(), StoreFault::Storage);
        assert!(error.to_string().contains(&dir.display().to_string()), "{error}");
    }
}

#[test]
fn a_file_where_the_directory_should_be_is_a_storage_error() {
    let temporary = tempfile::tempdir().expect("a directory");
    let path = temporary.path().join("node-a");
    fs::write(&path, "not a directory").expect("the disk works");
    let error = open(&path).map(drop).expect_err("a file");
    assert_eq!(error.fault(), StoreFault::Storage);
    assert!(error.to_string().contains("node-a"), "{error}");
}
