//! `deploy.sh`, with a stand-in for the program: what it refuses, and what it hands on.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const PEERS: &str = "PEERS_NODE_A=127.23.1.1\nPEERS_NODE_B=127.23.1.2\nPEERS_NODE_C=127.23.1.3\n";

/// A machine's working directory with certificates of node-b and a stand-in for `canary` that says how it was called.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a directory"));
        for name in ["node.pem", "node.key", "bundle.json", "ca.pem", "crl.pem"] {
            place.write(&format!("certs/node-b/{name}"), "");
        }
        place.script(
            "canary",
            "echo \"pid $$\"; printf '<%s>\\n' \"$@\"; env | grep -E '^(PEERS|CANARY|RUST)_' | sort\n",
        );
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        fs::write(path, text).expect("the disk works");
    }

    fn script(&self, name: &str, body: &str) {
        self.write(name, &format!("#!/bin/bash\n{body}"));
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).expect("it is ours");
    }

    fn command(&self, script: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(script);
        command.args(arguments).current_dir(self.0.path()).env_clear();
        command.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("CANARY_BIN", self.path("canary"));
        command
    }

    fn deploy(&self, arguments: &[&str]) -> Output {
        self.command(&deploy_sh(), arguments).output().expect("bash is there")
    }

    /// Runs it to its refusal, and gives what it said.
    fn refused(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.deploy(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(output.stdout.is_empty(), "the program must not start");
        assert!(error.contains("error: ") && error.contains("hint: "), "{error}");
        error
    }
}

fn deploy_sh() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy.sh")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn another_word_is_answered_with_the_words_there_are() {
    let place = Place::new();
    for wrong in
        [&[][..], &["participant_a"], &["participant"], &["node-b"], &["Coordinator"], &["participant_bb"], &[""]]
    {
        let error = place.refused(2, wrong);
        assert!(error.contains("use coordinator, participant_b, participant_c"), "{error}");
    }
    assert!(said(&place.deploy(&["--help"])).contains("Usage: ./deploy.sh ROLE"));
}

#[test]
fn missing_certificates_are_named_with_what_to_copy() {
    let place = Place::new();
    place.write("cluster.env", PEERS);
    let error = place.refused(78, &["participant_c"]);
    assert!(error.contains("./certs/node-c is missing"), "{error}");
    assert!(error.contains("canary pki init") && error.contains("certs/node-c ./certs/"), "{error}");
    fs::remove_file(place.path("certs/node-b/node.key")).expect("it is there");
    assert!(place.refused(78, &["participant_b"]).contains("./certs/node-b/node.key is missing"));
    place.write("certs/node-b/node.key", "");
    fs::remove_file(place.path("certs/node-b/ca.pem")).expect("it is there");
    assert!(place.refused(78, &["participant_b"]).contains("./certs/ca.pem is missing"));
    place.write("certs/ca.pem", "");
    said(&place.deploy(&["participant_b"]));
    fs::rename(place.path("certs"), place.path("other place")).expect("it is there");
    place.refused(78, &["participant_b"]);
    said(&place.deploy(&["participant_b", "--certs", "other place"]));
    said(&place.deploy(&["participant_b", "--certs=other place"]));
}

#[test]
fn addresses_with_a_gap_are_refused() {
    let place = Place::new();
    let refused = |lines: &str| {
        place.write("cluster.env", lines);
        place.refused(78, &["participant_b"])
    };
    let gap = refused("PEERS_NODE_A=127.23.1.1\nPEERS_NODE_B=127.23.1.2\nPEERS_NODE_D=127.23.1.4\n");
    assert!(gap.contains("PEERS_NODE_D is set but PEERS_NODE_C is not"), "{gap}");
    assert!(refused("PEERS_NODE_A=127.23.1.1\n").contains("only 1 of at least 3"));
    assert!(refused("PEERS_NODE_A=\n").contains("PEERS_NODE_A is empty"));
    place.write("cluster.env", PEERS);
    let own = place.refused(78, &["participant_d"]);
    assert!(own.contains("PEERS_NODE_D, is not set"), "{own}");
    place.write("cluster.env", "# nothing: the addresses are in bundle.json\n");
    said(&place.deploy(&["participant_b"]));
}

#[test]
fn cluster_env_is_read_and_never_run() {
    let place = Place::new();
    let lines = "# addresses\r\nexport PEERS_NODE_A=127.23.1.1\r\n\n  PEERS_NODE_B = 127.23.1.2\n";
    place.write("cluster.env", lines);
    assert!(place.refused(78, &["participant_b"]).contains("./cluster.env line 4 is not NAME=value"));
    for (line, words) in [
        ("PATH=/tmp", "line 1 sets PATH, which no node reads"),
        ("CANARY_LOG=$(touch ran)", "CANARY_LOG has a $"),
        ("CANARY_LOG=`touch ran`", "CANARY_LOG has a $ or `"),
        ("touch ran", "line 1 is not NAME=value"),
        ("CANARY_LOG;touch ran=1", "line 1 is not NAME=value"),
    ] {
        place.write("cluster.env", line);
        let error = place.refused(78, &["participant_b"]);
        assert!(error.contains(words), "{error}");
    }
    assert!(!place.path("ran").exists(), "nothing in the file is run");
    let lines = "export PEERS_NODE_A=127.23.1.1\r\nPEERS_NODE_B=\"127.23.1.2\"\n\tPEERS_NODE_C='127.23.1.3'  \n\
                 CANARY_UPSTREAMS=v1=http://127.0.0.1:9001/x y#1 # two\nRUST_BACKTRACE=1";
    place.write("cluster.env", lines);
    let output = place
        .command(&deploy_sh(), &["participant_b"])
        .env("PEERS_NODE_B", "127.23.1.9")
        .output()
        .expect("bash is there");
    let text = said(&output);
    for line in [
        "PEERS_NODE_A=127.23.1.1",
        "PEERS_NODE_B=127.23.1.9",
        "PEERS_NODE_C=127.23.1.3",
        "CANARY_UPSTREAMS=v1=http://127.0.0.1:9001/x y#1",
        "RUST_BACKTRACE=1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} is missing:\n{text}");
    }
}

#[test]
fn the_program_takes_the_place_of_the_script() {
    let place = Place::new();
    place.write("cluster.env", PEERS);
    let child = place
        .command(&deploy_sh(), &["participant_b", "--data", "a place", "", "*"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("bash is there");
    let pid = child.id();
    let text = said(&child.wait_with_output().expect("it ends"));
    assert!(text.starts_with(&format!("pid {pid}\n<node>\n<participant_b>\n<--data>\n<a place>\n<>\n<*>\n")), "{text}");
    place.script("canary", "exit 65\n");
    assert_eq!(place.deploy(&["participant_b"]).status.code(), Some(65));
}

#[test]
fn a_signal_reaches_the_program() {
    let place = Place::new();
    // Nothing here may be parsed while it runs: a shell that gets a signal in the middle of `<(…)` fails to read its trap.
    place.script("canary", "trap 'echo stopping; exit 42' TERM\necho ready\nfor i in {1..600}; do sleep 0.1; done\n");
    let mut child =
        place.command(&deploy_sh(), &["participant_b"]).stdout(Stdio::piped()).spawn().expect("bash is there");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("ready"));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is running");
    assert_eq!(lines.next().as_deref(), Some("stopping"));
    assert_eq!(child.wait().expect("it ends").code(), Some(42));
}

#[test]
fn the_program_is_found_or_its_absence_explained() {
    let place = Place::new();
    place.write("alone/deploy.sh", &fs::read_to_string(deploy_sh()).expect("it is there"));
    fs::set_permissions(place.path("alone/deploy.sh"), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let run = |path: &str, program: Option<&str>| {
        let mut command = place.command(&place.path("alone/deploy.sh"), &["participant_b"]);
        command.env_remove("CANARY_BIN").env("PATH", format!("{path}:/usr/bin:/bin")).env("HOME", "/nonexistent");
        if let Some(program) = program {
            command.env("CANARY_BIN", program);
        }
        command.output().expect("bash is there")
    };
    let error = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let none = run("/nonexistent", None);
    assert_eq!(none.status.code(), Some(78), "{}", error(&none));
    assert!(error(&none).contains("there is no canary program"), "{}", error(&none));
    let wrong = run("/nonexistent", Some("/etc/passwd"));
    assert_eq!(wrong.status.code(), Some(78));
    assert!(error(&wrong).contains("CANARY_BIN is /etc/passwd, which is no program"), "{}", error(&wrong));
    said(&run(&place.0.path().display().to_string(), None));
    place.script("alone/target/release/canary", "echo built here\n");
    assert_eq!(said(&run(&place.0.path().display().to_string(), None)), "built here\n");
}
