//! The demo as people run it: to its end, and cut short in every way.
//!
//! It has its addresses to itself: 127.0.0.11 to 127.0.0.13, with the usual ports.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The demo promises a minute and a half; all waits here end some time after it.
const PATIENCE: Duration = Duration::from_secs(120);
/// A rollback takes half a second; one that takes this long on a busy machine was none by what was measured.
const LONGEST_ROLLBACK_MS: f64 = 10_000.0;
/// As long as a node may take to notice that the demo is gone, and to stop.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// One demo at a time: they share addresses.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A demo whose directory is within one that is looked into afterwards. Its own variables are set to nonsense.
struct Demo {
    place: tempfile::TempDir,
    process: Child,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_canary"));
        command.arg("demo").args(arguments).env("TMPDIR", place.path());
        command.env("PEERS_NODE_A", "192.0.2.1").env("CANARY_STABLE", "nonsense").env("CANARY_LOG", "off");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let process = command.spawn().expect("the program was built");
        Self { place, process }
    }

    fn stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.process.stdout.take().expect("it is piped"))
    }

    /// Reads until a line has `words` in it.
    fn until(stdout: &mut BufReader<ChildStdout>, words: &str) -> String {
        let mut text = String::new();
        while !text.contains(words) {
            let read = stdout.read_line(&mut text).expect("text");
            assert!(read > 0, "it ended before it said {words:?}:\n{text}");
        }
        text
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).expect("a process id")).expect("not zero");
        kill_process(pid, signal).expect("it runs");
    }

    /// Waits for its end: its code, None after a signal, and what it said to stderr.
    fn end(&mut self) -> (Option<i32>, String) {
        let give_up = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.process.try_wait().expect("it is ours") {
                break status;
            }
            assert!(Instant::now() < give_up, "it did not end");
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut stderr = String::new();
        self.process.stderr.take().expect("piped").read_to_string(&mut stderr).expect("text");
        (status.code(), stderr)
    }

    fn nodes(&self) -> usize {
        nodes_below(self.place.path())
    }

    fn must_leave_nothing(&self) {
        assert_eq!(self.nodes(), 0, "nodes still run");
        let left: Vec<_> = fs::read_dir(self.place.path()).expect("it is there").flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How many running processes were told of a path below `place`.
fn nodes_below(place: &Path) -> usize {
    let place = place.to_str().expect("a plain path");
    let processes = fs::read_dir("/proc").expect("Linux").flatten();
    let told = |process: &fs::DirEntry| {
        fs::read(process.path().join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(place))
    };
    processes.filter(told).count()
}

/// Runs it to its end, which must be a good one, and gives what it showed.
fn shown_by(arguments: &[&str]) -> String {
    let mut demo = Demo::start(arguments);
    let mut shown = String::new();
    demo.stdout().read_to_string(&mut shown).expect("text");
    let (code, stderr) = demo.end();
    assert_eq!(code, Some(0), "{shown}\n{stderr}");
    assert_eq!(stderr, "", "{shown}");
    assert!(!shown.contains('\x1b'), "without a terminal there are no colours");
    let widest = shown.lines().map(|line| line.chars().count()).max().unwrap_or_default();
    assert!(widest < 110 && shown.lines().count() < 60, "it fits on a screen:\n{shown}");
    demo.must_leave_nothing();
    shown
}

fn must_say(shown: &str, words: &[&str]) {
    for words in words {
        assert!(shown.contains(words), "{words:?} is missing in\n{shown}");
    }
}

/// The number that each line with this label begins with, in order.
fn figures(shown: &str, label: &str) -> Vec<f64> {
    let labelled = shown.lines().filter_map(|line| line.trim_start().strip_prefix(label));
    labelled.filter_map(|rest| rest.split_whitespace().next()?.parse().ok()).collect()
}

#[test]
fn a_good_canary_takes_every_step_by_itself() {
    let _turn = turn();
    let shown = shown_by(&["--good"]);
    must_say(&shown, &["  5 %", " 20 %", " 50 %", "100 %", "1 1 1", "4 4 4", "5 5 5", "Promoted"]);
    must_say(&shown, &["node-c is killed", "node-c started again", " of node-c since then came from v2", "0 failed"]);
    must_say(&shown, &["SYNCHRONIZED: all nodes at version 5", "PASSED in "]);
    assert!(!shown.contains("RolledBack"), "{shown}");
    let samples = shown.lines().filter_map(|line| line.split_once("pass: ")?.1.split(' ').next()?.parse().ok());
    let samples: Vec<u64> = samples.collect();
    assert!(samples.len() == 4 && samples.iter().all(|requests| *requests >= 59), "{samples:?}\n{shown}");
}

#[test]
fn bad_canaries_are_rolled_back_by_themselves() {
    let _turn = turn();
    let shown = shown_by(&["--bad"]);
    assert_eq!(shown.matches("RolledBack").count(), 2, "{shown}");
    must_say(&shown, &["SYNCHRONIZED", "PASSED in ", "0 failed"]);
    let reasons: Vec<&str> =
        shown.lines().filter_map(|line| line.split_once("stopped    by node-")).map(|(_, why)| why).collect();
    let named = matches!(reasons[..], [faulty, slow] if faulty.contains("error rate") && slow.contains("p95"));
    assert!(named, "{reasons:?}\n{shown}");
    let [times, requests, users] = ["time ", "requests ", "users "].map(|label| figures(&shown, label));
    assert!(times.len() == 2 && times.iter().all(|ms| (1.0..LONGEST_ROLLBACK_MS).contains(ms)), "{times:?}\n{shown}");
    assert!(requests.len() == 2 && requests.iter().all(|count| *count >= 4.0), "{requests:?}\n{shown}");
    let [of_faulty, of_slow] = users[..] else { panic!("two figures: {users:?}\n{shown}") };
    assert!(of_faulty >= 1.0 && of_faulty <= requests[0], "{shown}");
    assert!(of_slow == 0.0, "slow answers are no errors:\n{shown}");
}

#[test]
fn a_taken_port_is_named_with_its_holder() {
    let _turn = turn();
    let listener = TcpListener::bind("127.0.0.12:60002").expect("nobody else uses it");
    let mut demo = Demo::start(&[]);
    let (code, stderr) = demo.end();
    drop(listener);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("port 60002 on 127.0.0.12 is taken by "), "{stderr}");
    assert!(stderr.contains(&format!("(process {})", std::process::id())), "{stderr}");
    demo.must_leave_nothing();
}

#[test]
fn ctrl_c_clears_everything_away() {
    let _turn = turn();
    let mut demo = Demo::start(&[]);
    let mut stdout = demo.stdout();
    Demo::until(&mut stdout, "in step");
    assert_eq!(demo.nodes(), 3);
    demo.signal(Signal::INT);
    let (code, stderr) = demo.end();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("ended by Ctrl-C"), "{stderr}");
    demo.must_leave_nothing();
}

#[test]
fn its_nodes_end_with_it_when_it_is_killed() {
    let _turn = turn();
    let mut demo = Demo::start(&[]);
    let mut stdout = demo.stdout();
    Demo::until(&mut stdout, "in step");
    demo.signal(Signal::KILL);
    let give_up = Instant::now() + GONE_WITHIN;
    while demo.nodes() > 0 {
        assert!(Instant::now() < give_up, "nodes outlive the demo");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_node_that_dies_on_its_own_is_an_error_with_its_log() {
    let _turn = turn();
    let mut demo = Demo::start(&[]);
    let mut stdout = demo.stdout();
    Demo::until(&mut stdout, "in step");
    let directory = fs::read_dir(demo.place.path()).expect("it is there").flatten().next().expect("the demo's").path();
    let node_b = fs::read_dir("/proc").expect("Linux").flatten().find_map(|process| {
        let line = fs::read(process.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let ours = line.contains(directory.to_str()?) && line.contains("participant_b");
        ours.then(|| process.file_name().to_str()?.parse::<i32>().ok()).flatten()
    });
    let pid = node_b.and_then(Pid::from_raw).expect("node-b runs");
    kill_process(pid, Signal::KILL).expect("it runs");
    let (code, stderr) = demo.end();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("node-b") && stderr.contains("last log lines of node-b:"), "{stderr}");
    demo.must_leave_nothing();
}
