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

/// The demo promises a minute; all waits here end some time after it.
const PATIENCE: Duration = Duration::from_secs(90);
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

#[test]
fn it_shows_every_step_and_leaves_nothing() {
    let _turn = turn();
    let mut demo = Demo::start(&[]);
    let mut shown = String::new();
    demo.stdout().read_to_string(&mut shown).expect("text");
    let (code, stderr) = demo.end();
    assert_eq!(code, Some(0), "{shown}\n{stderr}");
    assert_eq!(stderr, "", "{shown}");
    for words in ["  5 %", " 20 %", " 50 %", "100 %", "  0 %", "1 1 1", "4 4 4", "5 5 -"] {
        assert!(shown.contains(words), "{words:?} is missing in\n{shown}");
    }
    for words in ["node-c is killed", "acknowledged by node-a, node-b", "node-c started again", "0 failed"] {
        assert!(shown.contains(words), "{words:?} is missing in\n{shown}");
    }
    assert!(shown.contains("SYNCHRONIZED: all nodes at version 5") && shown.contains("PASSED in "), "{shown}");
    assert!(!shown.contains('\x1b'), "without a terminal there are no colours");
    demo.must_leave_nothing();
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
