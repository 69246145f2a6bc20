//! `canary pki` as people and scripts see it: the real program, its files, its exit codes, and OpenSSL's opinion.

#![expect(clippy::print_stderr, reason = "a test says what it could not try and what it happened to see")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

#[path = "pki/life.rs"]
mod life;
mod needs;

use needs::Need;

const CANARY: &str = env!("CARGO_BIN_EXE_canary");
/// Any user but root; `nobody` on Debian.
const NOBODY: u32 = 65534;

/// What a run said.
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error} in {:?}, stderr {:?}", self.out, self.err))
    }

    #[track_caller]
    fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout {:?}\nstderr {:?}", self.out, self.err);
        self
    }

    #[track_caller]
    fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "{text:?} is not in {:?}", self.err);
        self
    }
}

/// A command without the variables that this program reads.
fn clean(program: &str, dir: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PEERS_") || name.to_string_lossy().starts_with("CANARY_") {
            command.env_remove(name);
        }
    }
    command.current_dir(dir).stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> Run {
    let output = command.output().expect("the program starts");
    Run {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

fn pki(dir: &Path, arguments: &[&str]) -> Run {
    run(clean(CANARY, dir).arg("pki").args(arguments))
}

fn with_peers(dir: &Path, peers: &[(&str, &str)], arguments: &[&str]) -> Run {
    run(clean(CANARY, dir).envs(peers.iter().copied()).arg("pki").args(arguments))
}

fn shell(dir: &Path, before: &str, arguments: &[&str]) -> Run {
    let script = format!("{before}; exec \"$0\" pki \"$@\"");
    run(clean("sh", dir).args(["-c", &script, CANARY]).args(arguments))
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

const NODES: [&str; 6] =
    ["--node", "node-a=10.0.0.1,a.example", "--node", "node-b=2001:db8::2", "--node", "node-c=c.example"];

fn init(dir: &Path, more: &[&str]) -> Run {
    pki(dir, &[&["init"][..], &NODES, more].concat()).ends_with(0)
}

/// Every path below `dir` with its mode.
fn modes(dir: &Path) -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    let mut ahead = vec![dir.to_owned()];
    while let Some(next) = ahead.pop() {
        let facts = fs::symlink_metadata(&next).expect("there");
        let name = next.strip_prefix(dir).expect("below it").display().to_string();
        all.insert(name, facts.mode() & 0o7777);
        if facts.is_dir() {
            ahead.extend(fs::read_dir(&next).expect("readable").map(|entry| entry.expect("an entry").path()));
        }
    }
    all
}

/// OpenSSL's answer; none where this run does without.
fn openssl(dir: &Path, arguments: &[&str]) -> Option<Run> {
    Need::OpenSsl.is_met().then(|| run(clean("openssl", dir).args(arguments)))
}

#[track_caller]
fn openssl_agrees(dir: &Path, arguments: &[&str]) {
    if let Some(run) = openssl(dir, arguments) {
        assert_eq!(run.code, 0, "openssl {arguments:?}: {} {}", run.out, run.err);
    }
}

#[track_caller]
fn openssl_refuses(dir: &Path, arguments: &[&str], why: &str) {
    if let Some(run) = openssl(dir, arguments) {
        assert_ne!(run.code, 0, "openssl {arguments:?}");
        assert!(run.err.contains(why), "{why:?} is not in {:?}", run.err);
    }
}

#[test]
fn modes_are_exact_under_any_umask() {
    let mut wanted = BTreeMap::new();
    for (path, mode) in [("", 0o755), ("ca.pem", 0o644), ("crl.pem", 0o644), ("ca", 0o700)] {
        wanted.insert(path.to_owned(), mode);
    }
    for name in ["ca.key", "index.jsonl", "crlnumber"] {
        wanted.insert(format!("ca/{name}"), 0o600);
    }
    for node in ["node-a", "node-b", "node-c"] {
        wanted.insert(node.to_owned(), 0o700);
        wanted.insert(format!("{node}/node.key"), 0o600);
        for name in ["node.pem", "ca.pem", "crl.pem", "bundle.json"] {
            wanted.insert(format!("{node}/{name}"), 0o644);
        }
    }
    wanted.insert("operator-admin".to_owned(), 0o700);
    for (name, mode) in [("client.key", 0o600), ("client.pem", 0o644), ("ca.pem", 0o644)] {
        wanted.insert(format!("operator-admin/{name}"), mode);
    }
    for umask in ["000", "022", "077", "777"] {
        let dir = folder();
        let certs = dir.path().join("certs");
        shell(dir.path(), &format!("umask {umask}"), &["init"]).ends_with(0);
        assert_eq!(modes(&certs), wanted, "umask {umask}");
    }
}

#[test]
fn openssl_accepts_every_kind_of_key_strictly() {
    for kind in ["p256", "p384", "ed25519"] {
        let dir = folder();
        let certs = dir.path().join("certs");
        init(dir.path(), &["--key-alg", kind]);
        let strict = ["verify", "-x509_strict", "-CAfile", "ca.pem", "-CRLfile", "crl.pem", "-crl_check"];
        let ask = |more: &[&str]| openssl_agrees(&certs, &[&strict[..], more].concat());
        ask(&["-purpose", "sslserver", "-verify_ip", "10.0.0.1", "node-a/node.pem"]);
        ask(&["-purpose", "sslserver", "-verify_hostname", "a.example", "node-a/node.pem"]);
        ask(&["-purpose", "sslserver", "-verify_ip", "2001:db8::2", "node-b/node.pem"]);
        ask(&["-purpose", "sslclient", "node-c/node.pem"]);
        ask(&["-purpose", "sslclient", "operator-admin/client.pem"]);
        openssl_agrees(&certs, &["crl", "-in", "crl.pem", "-CAfile", "ca.pem", "-noout"]);
        openssl_agrees(&certs, &["pkey", "-in", "node-a/node.key", "-noout", "-check"]);
        let operator_as_server = [&strict[..], &["-purpose", "sslserver", "operator-admin/client.pem"]].concat();
        openssl_refuses(&certs, &operator_as_server, "unsuitable certificate purpose");
        let wrong_address = [&strict[..], &["-verify_ip", "10.0.0.2", "node-a/node.pem"]].concat();
        openssl_refuses(&certs, &wrong_address, "IP address mismatch");
    }
}

#[test]
fn certificates_say_what_the_profile_says() {
    let dir = folder();
    init(
        dir.path(),
        &["--trust-domain", "prod.example", "--permit-cidr", "10.0.0.0/8", "--permit-dns", ".Example.org"],
    );
    let files = ["certs/ca.pem", "certs/crl.pem", "certs/node-a/node.pem", "certs/operator-admin/client.pem"];
    let all = pki(dir.path(), &[&["inspect", "--output", "json"][..], &files].concat()).ends_with(0).json();
    let (ca, crl, node, operator) = (&all[0], &all[1], &all[2], &all[3]);

    let strings = |values: &[&str]| Value::from(values.to_vec());
    assert_eq!(node["names"], strings(&["URI:spiffe://prod.example/node/node-a", "IP:10.0.0.1", "DNS:a.example"]));
    assert_eq!(node["spiffe_id"], "spiffe://prod.example/node/node-a");
    assert_eq!(node["key_usage"], strings(&["digitalSignature"]));
    assert_eq!(node["extended_key_usage"], strings(&["serverAuth", "clientAuth"]));
    assert_eq!((&node["subject"], &node["is_ca"]), (&"O=canary, CN=node-a".into(), &false.into()));
    assert_eq!(operator["names"], strings(&["URI:spiffe://prod.example/operator/admin"]));
    assert_eq!(operator["extended_key_usage"], strings(&["clientAuth"]));
    for (leaf, days) in [(node, 90), (operator, 90), (ca, 3650)] {
        let left = leaf["seconds_left"].as_i64().expect("a number");
        assert!((days * 86_400 - 600..=days * 86_400).contains(&left), "{left} s left of {days} days");
        let serial = leaf["serial"].as_str().expect("a serial");
        assert_eq!(serial.len(), 32, "{serial} has 16 bytes");
        assert!(serial < "8", "{serial} is positive");
    }
    assert_eq!((&ca["is_ca"], &ca["path_length"]), (&true.into(), &0.into()));
    assert_eq!(ca["key_usage"], strings(&["keyCertSign", "cRLSign"]));
    assert_eq!(ca["names"], strings(&[]));
    let names =
        ["a.example", "c.example", "example.org", "node-a", "node-b", "node-c"].map(|name| format!("DNS:{name}"));
    let blocks = ["10.0.0.0/8", "10.0.0.1/32", "2001:db8::2/128"].map(|block| format!("IP:{block}"));
    let permitted: Vec<&str> = names.iter().chain(&blocks).map(String::as_str).collect();
    assert_eq!(ca["permitted_names"], strings(&permitted));
    let name = format!("O=canary, CN=canary CA {}", &ca["serial"].as_str().expect("a serial")[..8]);
    assert_eq!(
        (&ca["subject"], &crl["issuer"], &node["issuer"]),
        (&name.as_str().into(), &name.as_str().into(), &name.into())
    );
    assert_eq!((&crl["number"], &crl["revoked"]), (&"1".into(), &strings(&[])));

    let fingerprint = openssl(dir.path(), &["x509", "-in", "certs/ca.pem", "-noout", "-fingerprint", "-sha256"]);
    if let Some(fingerprint) = fingerprint {
        let printed = ca["fingerprint"].as_str().expect("a fingerprint");
        assert_eq!(fingerprint.out.trim(), format!("sha256 Fingerprint={printed}"));
    }
}

#[test]
fn bundles_tell_each_machine_about_all() {
    let dir = folder();
    let report = init(dir.path(), &["--output", "json"]).json();
    for node in ["node-a", "node-b", "node-c"] {
        let text = fs::read_to_string(dir.path().join("certs").join(node).join("bundle.json")).expect("a bundle");
        let bundle: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&bundle["id"], &bundle["trust_domain"]), (&node.into(), &report["trust_domain"]));
        assert_eq!(bundle["ca_sha256"], report["ca_sha256"]);
        let peers = serde_json::json!({"node-a": "10.0.0.1", "node-b": "2001:db8::2", "node-c": "c.example"});
        assert_eq!(bundle["peers"], peers);
    }
    let index = fs::read_to_string(dir.path().join("certs/ca/index.jsonl")).expect("an index");
    let ids: Vec<Value> =
        index.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["id"].clone()).collect();
    assert_eq!(ids, ["ca", "node-a", "node-b", "node-c", "admin"]);
    let domain = report["trust_domain"].as_str().expect("a name");
    let drawn =
        domain.strip_prefix("c-").and_then(|rest| rest.strip_suffix(".canary")).expect("the form of a drawn name");
    assert!(drawn.len() == 8 && drawn.bytes().all(|byte| byte.is_ascii_hexdigit()), "{domain}");
}

#[test]
fn the_environment_names_the_nodes_and_the_next_steps_can_be_pasted() {
    let dir = folder();
    let peers = [("PEERS_NODE_A", "192.168.1.10"), ("PEERS_NODE_B", "[2001:db8::2]"), ("PEERS_NODE_C", "c.example")];
    let run = run(clean(CANARY, dir.path()).envs(peers).env("HOME", dir.path()).args(["pki", "init"])).ends_with(0);
    for line in [
        "ssh 192.168.1.10 mkdir -p certs && scp -pr certs/ca.pem certs/node-a 192.168.1.10:certs/",
        "ssh 2001:db8::2 mkdir -p certs && scp -pr certs/ca.pem certs/node-b '[2001:db8::2]':certs/",
        "ssh c.example mkdir -p certs && scp -pr certs/ca.pem certs/node-c c.example:certs/",
        "curl --cacert certs/ca.pem https://192.168.1.10:50051/routing/state",
    ] {
        assert!(run.out.lines().any(|printed| printed.trim() == line), "{line:?} is not in {}", run.out);
    }
    let fingerprint =
        pki(dir.path(), &["inspect", "certs/ca.pem", "--output", "json"]).json()[0]["fingerprint"].clone();
    assert!(run.out.contains(fingerprint.as_str().expect("a fingerprint")), "{}", run.out);
    assert!(!run.out.contains("scp -pr certs/ca "), "the authority stays here");
    with_peers(dir.path(), &peers, &["verify"]).ends_with(0);
}

#[test]
fn nothing_configured_is_three_nodes_on_this_machine() {
    let dir = folder();
    let run = pki(dir.path(), &["init", "--output", "json"]).ends_with(0).says("share an address");
    let report = run.json();
    assert_eq!(report["nodes"].as_array().expect("nodes").len(), 3);
    assert!(
        report["nodes"].as_array().expect("nodes").iter().all(|node| node["hosts"] == serde_json::json!(["127.0.0.1"]))
    );
    assert_eq!(report["copy"], serde_json::json!([]));
}

#[test]
fn what_is_there_is_kept() {
    let dir = folder();
    init(dir.path(), &[]);
    let certs = dir.path().join("certs");
    let before = fs::read(certs.join("node-a/node.key")).expect("a key");
    pki(dir.path(), &["init"]).ends_with(4).says("already holds ca, ca.pem").says("--force");
    assert_eq!(fs::read(certs.join("node-a/node.key")).expect("a key"), before);
    let report = pki(dir.path(), &["init", "--force", "--output", "json"]).ends_with(0).json();
    let backups: Vec<PathBuf> = serde_json::from_value(report["backups"].clone()).expect("paths");
    assert_eq!(backups.len(), 7);
    let kept =
        backups.iter().find(|path| path.to_string_lossy().contains("node-a.bak-")).expect("the folder of node-a");
    assert_eq!(fs::read(dir.path().join(kept).join("node.key")).expect("a key"), before);
    assert_ne!(fs::read(certs.join("node-a/node.key")).expect("a key"), before);
    pki(dir.path(), &["verify"]).ends_with(0);
}

#[test]
fn the_repository_directory_is_filled_beside_what_it_holds() {
    let dir = folder();
    let certs = dir.path().join("certs");
    fs::create_dir(&certs).expect("made");
    fs::write(certs.join("README.md"), "kept").expect("written");
    fs::write(certs.join(".gitignore"), "*").expect("written");
    init(dir.path(), &[]);
    assert_eq!(fs::read(certs.join("README.md")).expect("there"), b"kept");
}

#[test]
fn wrong_input_is_refused_with_a_reason_and_leaves_nothing() {
    let dir = folder();
    let usage = |arguments: &[&str], text: &str| {
        pki(dir.path(), &[&["init"][..], arguments].concat()).ends_with(2).says(text);
    };
    usage(&["--node", "node-a=10.0.0.1", "--node", "node-a=10.0.0.2"], "there twice");
    usage(&["--node", "node-a=10.0.0.1"], "at least 3");
    usage(&["--node", "node-a=1.1.1.1", "--node", "node-b=1.1.1.2", "--node", "node-d=1.1.1.4"], "without gaps");
    for wrong in
        ["node-a", "node-a=", "node-1=10.0.0.1", "node-a=10.0.0.1:60001", "node-a=0.0.0.0", "node-a=fe80::1%eth0"]
    {
        usage(&["--node", wrong], "invalid value");
    }
    for days in ["0", "-1", "3651", "x", "99999999999"] {
        usage(&[&format!("--days={days}")], "--days");
    }
    usage(&["--ca-days=36501"], "--ca-days");
    for domain in ["Prod", "", "a b", "x/y", "é"] {
        usage(&[&format!("--trust-domain={domain}")], "is not a trust domain");
    }
    for name in ["", "..", "a/b", "a b"] {
        usage(&[&format!("--operator={name}")], "operator's name");
    }
    usage(&["--permit-cidr", "10.1.2.3/8"], "use 10.0.0.0/8");
    usage(&["--permit-cidr", "10.0.0.0"], "not an address block");
    usage(&["--permit-dns", "*.example.org"], "not a domain");
    usage(&["--permit-dns", "example.org", "--no-name-constraints"], "cannot be used with");
    usage(&["--key-alg", "rsa"], "p256");

    let environment = |peers: &[(&str, &str)], text: &str| {
        with_peers(dir.path(), peers, &["init"]).ends_with(78).says(text);
    };
    environment(&[("PEERS_NODE_A", "10.0.0.1")], "only 1 of at least 3");
    environment(
        &[("PEERS_NODE_A", "10.0.0.1"), ("PEERS_NODE_B", "10.0.0.2"), ("PEERS_NODE_D", "10.0.0.4")],
        "PEERS_NODE_C is not set",
    );
    environment(&[("PEERS_NODE_A", "10.0.0.1"), ("PEERS_NODE_a", "10.0.0.2")], "configured twice");
    environment(&[("PEERS_NODE_A", "")], "PEERS_NODE_A: the address is empty");
    environment(&[("PEERS_NODE_AB", "10.0.0.1")], "PEERS_NODE_AB");
    assert!(!dir.path().join("certs").exists());
}

#[test]
fn a_name_that_nobody_knows_is_no_reason_to_refuse() {
    let dir = folder();
    let peers = [("PEERS_NODE_A", "a.invalid"), ("PEERS_NODE_B", "b.invalid"), ("PEERS_NODE_C", "c.invalid")];
    with_peers(dir.path(), &peers, &["init"]).ends_with(0);
    with_peers(dir.path(), &peers, &["verify", "--as", "node-a"]).ends_with(0);
}

#[test]
fn a_disk_that_takes_nothing_is_an_error_that_leaves_nothing() {
    let dir = folder();
    // With a limit of nothing on file sizes every write fails, as on a full disk.
    let run = shell(dir.path(), "trap '' XFSZ; ulimit -f 0", &["init"]).ends_with(1);
    assert!(run.err.contains("cannot write") && run.err.contains("caused by: File too large"), "{}", run.err);
    assert!(!dir.path().join("certs").exists());
    fs::create_dir(dir.path().join("certs")).expect("made");
    shell(dir.path(), "trap '' XFSZ; ulimit -f 0", &["init"]).ends_with(1);
    assert_eq!(modes(&dir.path().join("certs")).len(), 1, "only the directory itself");
}

#[test]
fn places_that_cannot_be_written_to_are_named() {
    let dir = folder();
    fs::write(dir.path().join("certs"), "a file").expect("written");
    pki(dir.path(), &["init"]).ends_with(78).says("certs is not a directory");
    pki(dir.path(), &["init", "--certs", "certs/below"]).ends_with(1).says("certs/below");
    assert_eq!(fs::read(dir.path().join("certs")).expect("there"), b"a file");

    // Root may write anywhere, so another user is asked, with a copy of the program that it can reach.
    let sealed = dir.path().join("sealed");
    fs::create_dir(&sealed).expect("made");
    for (path, mode) in [(dir.path(), 0o755), (&sealed, 0o555)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("own directory");
    }
    let program = dir.path().join("canary");
    // By another process: a child that some other test forks meanwhile would hold the copy open for writing, and such a file
    // cannot be run.
    assert!(Command::new("cp").arg(CANARY).arg(&program).status().expect("cp is everywhere").success());
    let mut command = clean(program.to_str().expect("text"), dir.path());
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    for certs in ["sealed", "sealed/certs"] {
        let run = run(command.args(["pki", "init", "--certs", certs]));
        assert!(run.code == 1 && run.err.contains("sealed") && run.err.contains("Permission denied"), "{}", run.err);
        command = clean(program.to_str().expect("text"), dir.path());
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
    }
}

/// How far a run has come, as far as can be seen from outside.
fn stage(certs: &Path) -> usize {
    let names = |dir: &Path| -> Vec<String> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let top = names(certs);
    if let Some(building) = top.iter().find(|name| name.starts_with(".building-")) {
        return 1 + names(&certs.join(building)).len();
    }
    let placed = top.iter().filter(|name| !name.starts_with('.')).count();
    if top.iter().any(|name| name.starts_with(".moving-")) || placed > 0 { 10 + placed } else { 0 }
}

#[test]
fn killed_at_any_stage_it_leaves_nothing_or_all_or_says_so() {
    let mut outcomes = BTreeMap::new();
    for until in 0..=17 {
        let dir = folder();
        let certs = dir.path().join("certs");
        let mut command = clean(CANARY, dir.path());
        command.args(["pki", "init"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("started");
        while stage(&certs) < until && child.try_wait().expect("a child").is_none() {}
        let _ = child.kill();
        child.wait().expect("ended");
        let again = pki(dir.path(), &["init"]);
        let outcome = match (again.code, again.err.contains("interrupted")) {
            (0, _) => "nothing was left",
            (4, false) => "all was there",
            (4, true) => {
                pki(dir.path(), &["init", "--force"]).ends_with(0);
                "a mixture was noticed"
            }
            _ => panic!("killed at stage {until}: {} {}", again.code, again.err),
        };
        *outcomes.entry(outcome).or_insert(0) += 1;
        pki(dir.path(), &["verify"]).ends_with(0);
        let left = modes(&certs);
        assert!(!left.keys().any(|name| name.starts_with('.')), "{left:?}");
    }
    eprintln!("{outcomes:?}");
}

#[test]
fn verify_tells_age_from_other_faults() {
    let dir = folder();
    init(dir.path(), &[]);
    let certs = dir.path().join("certs");
    pki(dir.path(), &["verify"]).ends_with(0);
    let late = pki(dir.path(), &["verify", "--fail-within", "91d", "--output", "json"]).ends_with(6).json();
    assert_eq!(late["ok"], false);
    pki(dir.path(), &["verify", "--fail-within", "soon"]).ends_with(2);
    pki(dir.path(), &["verify", "certs/node-a", "certs/node-b/node.pem", "certs/crl.pem", "certs/ca.pem"]).ends_with(0);
    pki(dir.path(), &["verify", "--as", "node-b", "certs/node-a/node.pem"]).ends_with(1);
    pki(dir.path(), &["verify", "--as", "node-a", "--peer-addr", "10.0.0.1"]).ends_with(0);
    pki(dir.path(), &["verify", "--as", "node-a", "--peer-addr", "::ffff:10.0.0.1"]).ends_with(0);
    let elsewhere = pki(dir.path(), &["verify", "--as", "node-a", "--peer-addr", "10.0.0.9"]).ends_with(1);
    assert!(elsewhere.out.contains("address_mismatch"), "{}", elsewhere.out);
    let peers = [("PEERS_NODE_A", "10.0.0.9"), ("PEERS_NODE_B", "2001:db8::2"), ("PEERS_NODE_C", "c.example")];
    let moved = with_peers(dir.path(), &peers, &["verify"]).ends_with(1);
    assert!(moved.out.contains("PEERS_NODE_A=10.0.0.9 contradicts"), "{}", moved.out);

    fs::set_permissions(certs.join("node-a/node.key"), fs::Permissions::from_mode(0o644)).expect("own file");
    let open = pki(dir.path(), &["verify"]).ends_with(1);
    assert!(open.out.contains("mode is 0644 and must be 0600") && open.out.contains("chmod 600"), "{}", open.out);
    pki(dir.path(), &["verify", "--certs", "nowhere"]).ends_with(1);
}

#[test]
fn constraints_hold_against_the_authority_itself() {
    let dir = folder();
    init(dir.path(), &["--key-alg", "p256"]);
    let certs = dir.path().join("certs");
    let extensions = |names: &str| {
        format!(
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName={names}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
    };
    let request = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"];
    if openssl(&certs, &[&request[..], &["-keyout", "../x.key", "-out", "../x.csr"]].concat()).is_none() {
        return;
    }
    let uri = "URI:spiffe://x.canary/node/node-a";
    for (names, accepted) in [
        (format!("{uri},IP:10.0.0.1"), true),
        (format!("{uri},DNS:deep.a.example"), true),
        (format!("{uri},IP:10.0.0.2"), false),
        (format!("{uri},IP:2001:db8::3"), false),
        (format!("{uri},DNS:b.example"), false),
    ] {
        fs::write(dir.path().join("x.cnf"), extensions(&names)).expect("written");
        let sign = ["x509", "-req", "-in", "../x.csr", "-CA", "ca.pem", "-CAkey", "ca/ca.key", "-extfile", "../x.cnf"];
        openssl_agrees(&certs, &[&sign[..], &["-days", "30", "-out", "../x.pem"]].concat());
        let strict = ["verify", "-x509_strict", "-CAfile", "ca.pem", "../x.pem"];
        let ours = pki(dir.path(), &["verify", "x.pem"]);
        if accepted {
            openssl_agrees(&certs, &strict);
            ours.ends_with(0);
        } else {
            openssl_refuses(&certs, &strict, "permitted subtree violation");
            let ours = ours.ends_with(1);
            assert!(ours.out.contains("NameConstraint"), "{}", ours.out);
        }
    }
}

#[test]
fn certificates_that_break_a_rule_are_refused_by_name() {
    let dir = folder();
    init(dir.path(), &["--no-name-constraints"]);
    let certs = dir.path().join("certs");
    let request = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"];
    if openssl(&certs, &[&request[..], &["-keyout", "../x.key", "-out", "../x.csr"]].concat()).is_none() {
        return;
    }
    let uri = "subjectAltName=URI:spiffe://x.canary/node/node-a";
    let usages = "extendedKeyUsage=serverAuth,clientAuth";
    let signs = "keyUsage=critical,digitalSignature";
    for (lines, why) in [
        (format!("{uri},URI:spiffe://x.canary/node/node-b\n{signs}\n{usages}"), "2 URI names"),
        (format!("subjectAltName=DNS:a.example\n{signs}\n{usages}"), "0 URI names"),
        (format!("{uri}\n{signs},keyCertSign\n{usages}"), "keyCertSign"),
        (format!("{uri}\n{usages}"), "digitalSignature"),
        (format!("{uri}\n{signs}"), "clientAuth"),
        (format!("{uri}\n{signs}\nextendedKeyUsage=clientAuth"), "serverAuth"),
        (format!("subjectAltName=URI:spiffe://x.canary/operator/eve\n{signs}\n{usages}"), "must not have"),
        (format!("subjectAltName=URI:spiffe://x.canary/root/eve\n{signs}\n{usages}"), "its path is not"),
    ] {
        fs::write(dir.path().join("x.cnf"), format!("basicConstraints=critical,CA:FALSE\n{lines}\n")).expect("written");
        let sign = ["x509", "-req", "-in", "../x.csr", "-CA", "ca.pem", "-CAkey", "ca/ca.key", "-extfile", "../x.cnf"];
        openssl_agrees(&certs, &[&sign[..], &["-days", "30", "-out", "../x.pem"]].concat());
        let refused = pki(dir.path(), &["verify", "x.pem"]).ends_with(1);
        assert!(refused.out.contains(why), "{why:?} is not in {}", refused.out);
    }
}

#[test]
fn no_private_key_is_ever_printed() {
    let dir = folder();
    let mut said = Vec::new();
    let mut record = |run: Run| {
        said.push(run.out);
        said.push(run.err);
    };
    record(init(dir.path(), &[]));
    let keys = ["ca/ca.key", "node-a/node.key", "node-b/node.key", "node-c/node.key", "operator-admin/client.key"];
    let keys: Vec<PathBuf> = keys.iter().map(|key| dir.path().join("certs").join(key)).collect();
    let mut secrets: Vec<String> = vec!["PRIVATE KEY".to_owned()];
    for key in &keys {
        let pem = fs::read_to_string(key).expect("a key");
        secrets.extend(pem.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned));
        for output in ["table", "json"] {
            record(pki(dir.path(), &["inspect", key.to_str().expect("text"), "--output", output]).ends_with(0));
            record(pki(dir.path(), &["verify", key.to_str().expect("text"), "--output", output]).ends_with(1));
        }
    }
    record(pki(dir.path(), &["verify", "--output", "json"]));
    // A key where a certificate should be, and a broken key.
    fs::copy(&keys[1], dir.path().join("certs/node-a/node.pem")).expect("copied");
    let broken = fs::read_to_string(&keys[2]).expect("a key").replacen('A', "!", 3);
    fs::write(&keys[2], broken).expect("written");
    record(pki(dir.path(), &["verify"]).ends_with(1));
    record(pki(dir.path(), &["init"]).ends_with(4));
    record(pki(dir.path(), &["init", "--force", "--output", "json"]).ends_with(0));
    assert!(secrets.len() > keys.len());
    for text in said {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "a key is in {text}");
        }
    }
}
