//! What happens to a certificate after `init`: revoked, renewed, listed, packed, and joined by others.

use super::{init, openssl, openssl_agrees, openssl_refuses, pki, with_peers};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// An authority with room for more machines.
fn roomy(dir: &Path) {
    init(dir, &["--permit-cidr", "10.0.0.0/8"]);
}

fn inspected(dir: &Path, file: &str) -> Value {
    pki(dir, &["inspect", file, "--output", "json"]).ends_with(0).json()[0].clone()
}

const CHECKED: [&str; 6] = ["verify", "-x509_strict", "-crl_check", "-CAfile", "ca.pem", "-CRLfile"];

#[test]
fn a_revoked_certificate_is_refused_by_everyone_and_the_others_stay() {
    let dir = super::folder();
    init(dir.path(), &[]);
    let certs = dir.path().join("certs");
    let report =
        pki(dir.path(), &["revoke", "node-b", "--reason", "keyCompromise", "--output", "json"]).ends_with(0).json();
    assert_eq!((&report["revoked"][0]["reason"], &report["lists"]["number"]), (&"keyCompromise".into(), &2.into()));
    for copy in ["node-a/crl.pem", "node-b/crl.pem", "node-c/crl.pem"] {
        assert_eq!(fs::read(certs.join(copy)).expect("a list"), fs::read(certs.join("crl.pem")).expect("a list"));
    }
    openssl_refuses(&certs, &[&CHECKED[..], &["crl.pem", "node-b/node.pem"]].concat(), "certificate revoked");
    openssl_agrees(&certs, &[&CHECKED[..], &["crl.pem", "node-a/node.pem"]].concat());
    if let Some(text) = openssl(&certs, &["crl", "-in", "crl.pem", "-noout", "-text"]) {
        assert!(text.out.contains("Key Compromise") && text.out.contains("Revocation Date"), "{}", text.out);
        let serial = report["revoked"][0]["serial"].as_str().expect("a serial").to_uppercase();
        assert!(text.out.contains(&serial), "{serial} is not in {}", text.out);
    }
    let refused = pki(dir.path(), &["verify"]).ends_with(1);
    assert!(refused.out.contains("Revoked"), "{}", refused.out);
    assert_eq!(refused.out.matches("Revoked").count(), 1, "only one: {}", refused.out);
    let again = pki(dir.path(), &["revoke", "node-b", "--reason", "superseded"]).ends_with(0);
    assert!(
        again.out.contains("was revoked already") && again.out.contains("nothing had to be written"),
        "{}",
        again.out
    );
    assert_eq!(inspected(dir.path(), "certs/crl.pem")["number"], "2");
    pki(dir.path(), &["revoke", "operator-admin"]).ends_with(0);
    let list = inspected(dir.path(), "certs/crl.pem");
    assert_eq!((&list["number"], list["revoked"].as_array().map(Vec::len)), (&"3".into(), Some(2)));
    pki(dir.path(), &["revoke", "nobody"]).ends_with(4).says("canary pki list");
    pki(dir.path(), &["revoke", "ca"]).ends_with(4).says("rotate-ca");
    pki(dir.path(), &["revoke", "node-a", "--reason", "stolen"]).ends_with(2).says("keyCompromise");
}

#[test]
fn lists_are_signed_anew_and_keep_what_is_on_them() {
    let dir = super::folder();
    init(dir.path(), &[]);
    pki(dir.path(), &["revoke", "node-c"]).ends_with(0);
    let before = inspected(dir.path(), "certs/crl.pem");
    pki(dir.path(), &["crl", "--next-update", "30d"]).ends_with(0);
    let after = inspected(dir.path(), "certs/node-a/crl.pem");
    assert_eq!((&after["revoked"], &after["number"]), (&before["revoked"], &"3".into()));
    let left = after["seconds_left"].as_i64().expect("a number");
    assert!((30 * 86_400 - 600..=30 * 86_400).contains(&left), "{left}");
    // A number that was lost is not given out twice.
    fs::remove_file(dir.path().join("certs/ca/crlnumber")).expect("there");
    pki(dir.path(), &["crl"]).ends_with(0);
    assert_eq!(inspected(dir.path(), "certs/crl.pem")["number"], "4");
    pki(dir.path(), &["crl", "--next-update", "1m"]).ends_with(2);
    openssl_agrees(&dir.path().join("certs"), &["crl", "-in", "crl.pem", "-CAfile", "ca.pem", "-noout"]);
}

#[test]
fn a_new_machine_and_a_new_operator_are_accepted_strictly() {
    let dir = super::folder();
    roomy(dir.path());
    let certs = dir.path().join("certs");
    let made = pki(dir.path(), &["node", "node-d", "--addr", "10.0.0.4", "--san", "10.1.0.4"]).ends_with(0);
    assert!(
        made.out.contains("PEERS_NODE_D=10.0.0.4") && made.out.contains("told       certs/node-a/bundle.json"),
        "{}",
        made.out
    );
    pki(dir.path(), &["operator", "alice"]).ends_with(0);
    pki(dir.path(), &["operator", "shop", "--role", "app", "--days", "10"]).ends_with(0);
    pki(dir.path(), &["monitor", "prom"]).ends_with(0);
    let ask = |more: &[&str]| openssl_agrees(&certs, &[&CHECKED[..], &["crl.pem"], more].concat());
    ask(&["-purpose", "sslserver", "-verify_ip", "10.1.0.4", "node-d/node.pem"]);
    ask(&["-purpose", "sslclient", "node-d/node.pem"]);
    for client in ["operator-alice", "app-shop", "monitor-prom"] {
        ask(&["-purpose", "sslclient", &format!("{client}/client.pem")]);
        let mode = fs::metadata(certs.join(client).join("client.key")).expect("a key").permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600);
    }
    assert_eq!(
        inspected(dir.path(), "certs/monitor-prom/client.pem")["extended_key_usage"],
        serde_json::json!(["clientAuth"])
    );
    pki(dir.path(), &["verify", "--fail-within", "1d"]).ends_with(0);
    let again = pki(dir.path(), &["operator", "alice", "--output", "json"]).ends_with(0).json();
    assert_eq!(again["issued"], false);
    let again =
        pki(dir.path(), &["node", "node-d", "--addr", "10.0.0.4,10.1.0.4", "--output", "json"]).ends_with(0).json();
    assert_eq!((&again["issued"], &again["bundles"]), (&false.into(), &serde_json::json!([])));
    let peers = [
        ("PEERS_NODE_A", "10.0.0.1"),
        ("PEERS_NODE_B", "2001:db8::2"),
        ("PEERS_NODE_C", "c.example"),
        ("PEERS_NODE_D", "10.0.0.4"),
    ];
    with_peers(dir.path(), &peers, &["verify", "--as", "node-d"]).ends_with(0);

    pki(dir.path(), &["node", "node-d", "--addr", "10.0.0.5"]).ends_with(4).says("--force");
    pki(dir.path(), &["node", "node-e", "--addr", "172.16.0.5"])
        .ends_with(4)
        .says("rotate-ca --stage prepare --permit-cidr 172.16.0.5/32");
    pki(dir.path(), &["node", "node-f", "--addr", "10.0.0.6"]).ends_with(78).says("PEERS_NODE_E");
    pki(dir.path(), &["node", "node-e"]).ends_with(2).says("--addr");
    pki(dir.path(), &["operator", "a/b"]).ends_with(2).says("cannot be the name");
    let moved =
        pki(dir.path(), &["node", "node-d", "--addr", "10.0.0.5", "--force", "--output", "json"]).ends_with(0).json();
    assert!(moved["backup"].as_str().expect("a path").contains("node-d.bak-"), "{moved}");
    pki(dir.path(), &["verify", "--fail-within", "1d"]).ends_with(0);
}

#[test]
fn renewed_certificates_carry_the_same_names_and_the_old_ones_hold_until_revoked() {
    let dir = super::folder();
    init(dir.path(), &[]);
    let certs = dir.path().join("certs");
    fs::copy(certs.join("node-a/node.pem"), dir.path().join("old.pem")).expect("copied");
    let (before, key) = (inspected(dir.path(), "old.pem"), fs::read(certs.join("node-a/node.key")).expect("a key"));
    let renewed = pki(dir.path(), &["renew", "node-a"]).ends_with(0);
    let old = before["serial"].as_str().expect("a serial");
    assert!(renewed.out.contains(&format!("canary pki revoke {old}")), "{}", renewed.out);
    let after = inspected(dir.path(), "certs/node-a/node.pem");
    assert_eq!((&after["names"], &after["subject"]), (&before["names"], &before["subject"]));
    assert_ne!(after["serial"], before["serial"]);
    assert_ne!(fs::read(certs.join("node-a/node.key")).expect("a key"), key);
    for file in ["old.pem", "certs/node-a/node.pem"] {
        pki(dir.path(), &["verify", file]).ends_with(0);
    }
    pki(dir.path(), &["revoke", old]).ends_with(0);
    pki(dir.path(), &["verify", "old.pem"]).ends_with(1);
    pki(dir.path(), &["verify"]).ends_with(0);
    pki(dir.path(), &["renew", "operator-admin", "--same-key", "--days", "5"]).ends_with(0);
    openssl_agrees(
        &certs,
        &[&CHECKED[..], &["crl.pem", "-purpose", "sslclient", "operator-admin/client.pem"]].concat(),
    );
    pki(dir.path(), &["renew", "node-z"]).ends_with(78).says("node-z/node.pem is missing");
    pki(dir.path(), &["renew", "admin"]).ends_with(2).says("operator-admin");
}

#[test]
fn the_list_says_what_is_due_by_its_exit_code() {
    let dir = super::folder();
    init(dir.path(), &["--days", "60"]);
    pki(dir.path(), &["operator", "alice", "--days", "20"]).ends_with(0);
    pki(dir.path(), &["revoke", "node-c", "--reason", "cessationOfOperation"]).ends_with(0);
    pki(dir.path(), &["renew", "node-b", "--days", "90"]).ends_with(0);
    let all = pki(dir.path(), &["list", "--output", "json"]).ends_with(0).json();
    let statuses: Vec<(&str, &str)> = all
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| (entry["name"].as_str().expect("a name"), entry["status"].as_str().expect("a status")))
        .collect();
    let wanted = [
        ("ca", "valid"),
        ("node-a", "valid"),
        ("node-b", "superseded"),
        ("node-c", "revoked"),
        ("operator-admin", "valid"),
        ("operator-alice", "valid"),
        ("node-b", "valid"),
    ];
    assert_eq!(statuses, wanted);
    let due = |within: &str, code: i32| {
        let due = pki(dir.path(), &["list", "--expiring-within", within, "--output", "json"]).ends_with(code).json();
        due.as_array()
            .expect("a list")
            .iter()
            .map(|entry| entry["name"].as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(due("10d", 0), [""; 0]);
    assert_eq!(due("30d", 6), ["operator-alice"]);
    assert_eq!(due("61d", 6), ["node-a", "operator-admin", "operator-alice"]);
    let table = pki(dir.path(), &["list"]).ends_with(0);
    assert!(table.out.contains("revoked (cessationOfOperation)"), "{}", table.out);
    // A machine without the authority has no index.
    fs::remove_dir_all(dir.path().join("certs/ca")).expect("there");
    pki(dir.path(), &["list"]).ends_with(78).says("index.jsonl is missing");
    pki(dir.path(), &["revoke", "node-a"]).ends_with(78).says("run it where `canary pki init` ran");
}

#[test]
fn a_folder_is_packed_for_its_machine() {
    let dir = super::folder();
    init(dir.path(), &[]);
    let packed = pki(dir.path(), &["export", "node-a", "--out", "a.tar"]).ends_with(0);
    assert!(packed.out.contains("private key"), "{}", packed.out);
    let mode = fs::metadata(dir.path().join("a.tar")).expect("a file").permissions().mode() & 0o7777;
    assert_eq!(mode, 0o600);
    let other = dir.path().join("other/certs");
    fs::create_dir_all(&other).expect("made");
    let tar = super::run(super::clean("tar", dir.path()).args(["-xpf", "a.tar", "-C", "other/certs"]));
    assert_eq!(tar.code, 0, "{}", tar.err);
    assert_eq!(fs::metadata(other.join("node-a")).expect("there").permissions().mode() & 0o7777, 0o700);
    assert_eq!(fs::metadata(other.join("node-a/node.key")).expect("there").permissions().mode() & 0o7777, 0o600);
    pki(dir.path(), &["verify", "--certs", "other/certs", "--as", "node-a"]).ends_with(0);
    assert!(!fs::read(dir.path().join("a.tar")).expect("a file").windows(6).any(|bytes| bytes == b"ca.key"));
    pki(dir.path(), &["export", "node-a", "--out", "a.tar"]).ends_with(0);
    pki(dir.path(), &["export", "node-b", "--out", "a.tar"]).ends_with(4).says("--force");
    pki(dir.path(), &["export", "node-d"]).ends_with(78).says("node-d is missing");
    pki(dir.path(), &["export", "ca"]).ends_with(2);
}
