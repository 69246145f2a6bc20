//! What scanners find that look for weak settings and for certificates out of form: sslyze and pkilint.

use super::good::init;
use super::programs::{python_with, run};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The releases whose opinions stand here.
const PACKAGES: [&str; 2] = ["sslyze==6.3.1", "pkilint==0.13.3"];
const MEMBERS: [(&str, &[&str]); 3] =
    [("node-a", &["127.9.8.1"]), ("node-b", &["127.9.8.2"]), ("node-c", &["127.9.8.3", "c.example"])];
const HTTPS: &str = "127.9.8.1:50051";
const DEADLINE: Duration = Duration::from_secs(60);

fn scanners() -> Option<PathBuf> {
    python_with("scanners", &PACKAGES)
}

/// A node that ends with the test.
struct Node(Child);

impl Node {
    fn start(dir: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_canary"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PEERS_") || name.to_string_lossy().starts_with("CANARY_") {
                command.env_remove(name);
            }
        }
        command.current_dir(dir).args(["node", "coordinator"]).stdin(Stdio::null()).stderr(Stdio::null());
        let node = Self(command.stdout(Stdio::null()).spawn().expect("the program starts"));
        let give_up = Instant::now() + DEADLINE;
        while TcpStream::connect(HTTPS).is_err() {
            assert!(Instant::now() < give_up, "the node does not listen");
            thread::sleep(Duration::from_millis(50));
        }
        node
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn sslyze_calls_the_https_port_modern() {
    let Some(scanners) = scanners() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    init(dir.path(), "p256", &MEMBERS);
    let _node = Node::start(dir.path());
    let output = run(
        Command::new(scanners.join("sslyze")).args([
            "--mozilla_config=modern",
            "--certinfo_ca_file",
            "certs/ca.pem",
            HTTPS,
        ]),
        dir.path(),
    );
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("OK - Compliant"), "{said}");
}

/// The lines in which a linter says what it found.
fn findings(output: &std::process::Output) -> Vec<String> {
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().filter(|line| line.starts_with("    ")).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn pkilint_finds_nothing_but_what_is_meant() {
    let Some(scanners) = scanners() else { return };
    for algorithm in ["p256", "p384", "ed25519"] {
        let dir = tempfile::tempdir().expect("a directory");
        init(dir.path(), algorithm, &MEMBERS);
        for (file, meant) in [
            ("node-a/node.pem", "Invalid URI syntax: \"spiffe://"),
            ("node-c/node.pem", "Invalid URI syntax: \"spiffe://"),
            ("operator-admin/client.pem", "Invalid URI syntax: \"spiffe://"),
            // A member's name is one label, as `localhost` is.
            ("ca.pem", "Invalid domain name syntax: \"node-"),
        ] {
            let path = Path::new("certs").join(file);
            let lint = run(Command::new(scanners.join("lint_pkix_cert")).arg("lint").arg(path), dir.path());
            let found = findings(&lint);
            // A notice that the identifier of the key is not the SHA-1 of RFC 5280's example.
            let notice =
                |line: &String| line.starts_with("pkix.unknown_subject_key_identifier_calculation_method (NOTICE)");
            let (notices, errors): (Vec<String>, Vec<String>) = found.into_iter().partition(notice);
            assert_eq!(notices.len(), 1, "{file}");
            assert_eq!(errors.len(), if file == "ca.pem" { MEMBERS.len() } else { 1 }, "{file}: {errors:?}");
            assert!(errors.iter().all(|line| line.contains(meant)), "{algorithm} {file}: {errors:?}");
        }
        let lists = ["lint", "-t", "CRL", "-p", "PKIX", "certs/crl.pem"];
        let lint = run(Command::new(scanners.join("lint_crl")).args(lists), dir.path());
        assert_eq!(findings(&lint), [""; 0], "{algorithm}");
    }
}
