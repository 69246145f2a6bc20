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
    let refused = pki(dir.path(), &["verify"]).ends_with(1);
    assert_eq!(refused.out.matches("Revoked").count(), 2, "the operator, too: {}", refused.out);
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
        made.out.contains("PEERS_NODE_D=10.0.0.4")
            && made.out.contains("does not grow")
            && made.out.contains("told       certs/node-a/bundle.json"),
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

#[test]
fn a_key_that_never_leaves_its_machine_is_certified() {
    let dir = super::folder();
    roomy(dir.path());
    let certs = dir.path().join("certs");
    let asked = pki(dir.path(), &["csr", "node-d", "--addr", "10.0.0.4", "--certs", "there"]).ends_with(0);
    assert!(asked.out.contains("canary pki sign there/node-d/node.csr --id node-d --addr 10.0.0.4"), "{}", asked.out);
    openssl_agrees(dir.path(), &["req", "-in", "there/node-d/node.csr", "-noout", "-verify"]);
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
    let there = dir.path().join("there/node-d");
    assert_eq!((mode(&there), mode(&there.join("node.key")), mode(&there.join("node.csr"))), (0o700, 0o600, 0o644));
    let key = fs::read(there.join("node.key")).expect("a key");
    let again =
        pki(dir.path(), &["csr", "node-d", "--addr", "10.0.0.4", "--certs", "there", "--output", "json"]).ends_with(0);
    assert_eq!((&again.json()["made_key"], &again.json()["written"]), (&false.into(), &false.into()));

    let request = "there/node-d/node.csr";
    pki(dir.path(), &["sign", request, "--id", "node-d"]).ends_with(2).says("--addr");
    pki(dir.path(), &["sign", request, "--id", "node-d", "--addr", "172.16.0.4"]).ends_with(4).says("--permit-cidr");
    pki(dir.path(), &["sign", request, "--id", "node-d", "--addr", "10.0.0.4"]).ends_with(0);
    assert!(!certs.join("node-d/node.key").exists());
    openssl_agrees(
        &certs,
        &[&CHECKED[..], &["crl.pem", "-purpose", "sslserver", "-verify_ip", "10.0.0.4", "node-d/node.pem"]].concat(),
    );
    for file in ["node.pem", "ca.pem", "crl.pem", "bundle.json"] {
        fs::copy(certs.join("node-d").join(file), there.join(file)).expect("copied");
    }
    pki(dir.path(), &["verify", "--certs", "there", "--as", "node-d"]).ends_with(0);
    assert_eq!(fs::read(there.join("node.key")).expect("a key"), key);
    // Renewed without the key, and packed without it.
    pki(dir.path(), &["renew", "node-d"]).ends_with(4).says("--same-key");
    pki(dir.path(), &["renew", "node-d", "--same-key"]).ends_with(0);
    fs::copy(certs.join("node-d/node.pem"), there.join("node.pem")).expect("copied");
    pki(dir.path(), &["verify", "--certs", "there", "--as", "node-d"]).ends_with(0);
    let packed = pki(dir.path(), &["export", "node-d", "--output", "json"]).ends_with(0).json();
    assert_eq!(packed["key"], "on_its_machine");
}

#[test]
fn weak_keys_and_broken_requests_are_not_signed() {
    let dir = super::folder();
    roomy(dir.path());
    let made = |name: &str, more: &[&str]| {
        let request = ["req", "-new", "-nodes", "-subj", "/CN=eve", "-keyout", "x.key", "-out", name];
        openssl(dir.path(), &[&request[..], more].concat()).map(|run| run.ends_with(0)).is_some()
    };
    let curve = |name: &str| format!("ec_paramgen_curve:{name}");
    let sign = |file: &str| pki(dir.path(), &["sign", file, "--id", "node-d", "--addr", "10.0.0.4"]);
    if !made("rsa.csr", &["-newkey", "rsa:2048"]) {
        return;
    }
    assert!(made("k1.csr", &["-newkey", "ec", "-pkeyopt", &curve("secp256k1")]));
    assert!(made("p521.csr", &["-newkey", "ec", "-pkeyopt", &curve("P-521")]));
    sign("rsa.csr").ends_with(4).says("RSA-2048");
    assert_ne!(sign("k1.csr").code, 0);
    assert_ne!(sign("p521.csr").code, 0);
    assert!(!dir.path().join("certs/node-d").exists());
    // What OpenSSL makes is taken too, also with a digest that is not the usual one of its curve.
    assert!(made(
        "good.csr",
        &["-newkey", "ec", "-pkeyopt", &curve("P-256"), "-sha384", "-addext", "basicConstraints=critical,CA:TRUE"]
    ));
    sign("good.csr").ends_with(0);
    let facts = inspected(dir.path(), "certs/node-d/node.pem");
    assert_eq!(
        (&facts["is_ca"], &facts["key"], &facts["subject"]),
        (&false.into(), &"P-256".into(), &"O=canary, CN=node-d".into())
    );
    assert!(made("op.csr", &["-newkey", "ec", "-pkeyopt", &curve("P-384")]));
    pki(dir.path(), &["sign", "op.csr", "--id", "eve", "--role", "operator"]).ends_with(0);
    openssl_agrees(
        &dir.path().join("certs"),
        &[&CHECKED[..], &["crl.pem", "-purpose", "sslclient", "operator-eve/client.pem"]].concat(),
    );
    pki(dir.path(), &["sign", "certs/ca.pem", "--id", "node-e", "--addr", "10.0.0.5"]).ends_with(78);
    pki(dir.path(), &["sign", "nothing.csr", "--id", "node-e", "--addr", "10.0.0.5"])
        .ends_with(78)
        .says("canary pki csr");
}

#[test]
fn one_authority_takes_over_from_another_without_a_gap() {
    let dir = super::folder();
    init(dir.path(), &[]);
    let certs = dir.path().join("certs");
    let old = fs::read(certs.join("node-a/node.pem")).expect("a certificate");
    pki(dir.path(), &["revoke", "operator-admin"]).ends_with(0);
    pki(dir.path(), &["operator", "bob"]).ends_with(0);
    pki(dir.path(), &["rotate-ca", "--stage", "activate"]).ends_with(4).says("--stage prepare` comes first");

    pki(dir.path(), &["rotate-ca", "--stage", "prepare", "--permit-cidr", "10.0.0.0/8"]).ends_with(0);
    pki(dir.path(), &["rotate-ca", "--stage", "retire"]).ends_with(4).says("--stage activate` comes first");
    pki(dir.path(), &["verify", "certs/node-a", "certs/ca.pem", "certs/crl.pem"]).ends_with(0);
    fs::copy(certs.join("node-b/ca.pem"), dir.path().join("both.pem")).expect("copied");
    fs::copy(certs.join("node-b/crl.pem"), dir.path().join("both-crl.pem")).expect("copied");

    let moved = pki(dir.path(), &["rotate-ca", "--stage", "activate"]).ends_with(0).says("operator-admin is revoked");
    assert!(moved.out.contains("node-a, node-b, node-c, operator-bob"), "{}", moved.out);
    // Whoever has both authorities takes the old certificate and the new one.
    fs::write(dir.path().join("old.pem"), &old).expect("written");
    let both = [
        "verify",
        "-x509_strict",
        "-crl_check",
        "-CAfile",
        "both.pem",
        "-CRLfile",
        "both-crl.pem",
        "-purpose",
        "sslserver",
    ];
    openssl_agrees(dir.path(), &[&both[..], &["old.pem"]].concat());
    openssl_agrees(dir.path(), &[&both[..], &["certs/node-a/node.pem"]].concat());
    let again = pki(dir.path(), &["rotate-ca", "--stage", "activate"]).ends_with(0);
    assert!(again.out.contains("nothing was changed"), "{}", again.out);
    pki(dir.path(), &["verify", "certs/node-a", "certs/operator-bob"]).ends_with(0);

    pki(dir.path(), &["rotate-ca", "--stage", "retire"]).ends_with(0);
    let refused = pki(dir.path(), &["verify", "old.pem"]).ends_with(1);
    assert!(refused.out.contains("UnknownIssuer"), "{}", refused.out);
    let keys: Vec<String> = fs::read_dir(certs.join("ca"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .filter(|name| name.ends_with(".key"))
        .collect();
    assert_eq!(keys, ["ca.key"]);
    pki(dir.path(), &["node", "node-d", "--addr", "10.0.0.4"]).ends_with(0);
    pki(dir.path(), &["verify", "certs/node-a", "certs/node-d", "certs/ca.pem", "certs/crl.pem"]).ends_with(0);
    openssl_agrees(&certs, &[&CHECKED[..], &["crl.pem", "-purpose", "sslclient", "operator-bob/client.pem"]].concat());
}

#[test]
fn an_authority_of_ones_own_issues_everything() {
    let dir = super::folder();
    let own = |kind: &[&str]| {
        let request = [
            "req",
            "-x509",
            "-nodes",
            "-subj",
            "/O=example/CN=example CA",
            "-days",
            "30",
            "-keyout",
            "own.key",
            "-out",
            "own.pem",
        ];
        let extensions = [
            "-addext",
            "basicConstraints=critical,CA:TRUE,pathlen:0",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ];
        openssl(dir.path(), &[&request[..], kind, &extensions].concat()).map(|run| run.ends_with(0)).is_some()
    };
    let given = ["--ca-cert", "own.pem", "--ca-key", "own.key"];
    for (kind, certs) in [
        (&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"][..], "one"),
        (&["-newkey", "rsa:2048"], "two"),
        (&["-newkey", "ed25519"], "three"),
    ] {
        if !own(kind) {
            return;
        }
        init(dir.path(), &[&given[..], &["--certs", certs]].concat()).says("certificates end with their authority");
        let folder = dir.path().join(certs);
        pki(dir.path(), &["verify", "--certs", certs]).ends_with(0);
        pki(dir.path(), &["revoke", "node-b", "--certs", certs]).ends_with(0);
        openssl_agrees(
            &folder,
            &[&CHECKED[..], &["crl.pem", "-purpose", "sslserver", "-verify_ip", "10.0.0.1", "node-a/node.pem"]]
                .concat(),
        );
        openssl_refuses(&folder, &[&CHECKED[..], &["crl.pem", "node-b/node.pem"]].concat(), "certificate revoked");
    }
    let refused = |more: &[&str], code: i32, text: &str| {
        pki(dir.path(), &[&["init", "--certs", "four"][..], &super::NODES, more].concat()).ends_with(code).says(text);
    };
    refused(&given[..2], 2, "--ca-key");
    refused(&[&given[..], &["--permit-cidr", "10.0.0.0/8"]].concat(), 2, "cannot be used with");
    refused(&["--ca-cert", "own.pem", "--ca-key", "one/ca/ca.key"], 78, "is not the key of own.pem");
    refused(&["--ca-cert", "one/node-a/node.pem", "--ca-key", "one/node-a/node.key"], 78, "is not an authority");
    refused(&["--ca-cert", "nothing.pem", "--ca-key", "own.key"], 78, "--ca-cert");
    assert!(!dir.path().join("four").exists());
}

#[test]
fn two_at_a_time_are_refused_and_modes_stay_exact() {
    let dir = super::folder();
    roomy(dir.path());
    let certs = dir.path().join("certs");
    let held = fs::File::open(&certs).expect("a directory");
    rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).expect("free");
    for arguments in [
        &["revoke", "node-a"][..],
        &["crl"],
        &["renew", "node-a"],
        &["operator", "alice"],
        &["rotate-ca", "--stage", "prepare"],
    ] {
        pki(dir.path(), arguments).ends_with(1).says("another `canary pki` is writing");
    }
    drop(held);
    for (umask, letter) in [("000", "d"), ("777", "e")] {
        let run = |arguments: &[&str]| super::shell(dir.path(), &format!("umask {umask}"), arguments).ends_with(0);
        let (node, host) =
            (format!("node-{letter}"), format!("10.0.0.{}", letter.len() + letter.as_bytes()[0] as usize));
        run(&["node", &node, "--addr", &host]);
        run(&["renew", "node-a"]);
        run(&["revoke", &node]);
        run(&["renew", &node]);
    }
    for (path, mode) in super::modes(&certs) {
        let name = path.rsplit('/').next().unwrap_or_default();
        let wanted = match name {
            "" => 0o755,
            "ca" => 0o700,
            "crlnumber" | "index.jsonl" => 0o600,
            _ if name.ends_with(".key") => 0o600,
            _ if name.contains('.') => 0o644,
            _ => 0o700,
        };
        assert_eq!(mode, wanted, "{path}");
    }
}

#[test]
fn killed_at_any_moment_the_same_command_completes_it() {
    let dir = super::folder();
    init(dir.path(), &[]);
    let mut killed = 0;
    let stages = ["prepare", "activate", "retire"].map(|stage| vec!["rotate-ca", "--stage", stage]);
    for arguments in
        stages.into_iter().chain([vec!["renew", "node-a"], vec!["revoke", "node-b"], vec!["renew", "node-b"]])
    {
        for delay_ms in [5, 15, 25, 35, 50, 80] {
            let mut command = super::clean(super::CANARY, dir.path());
            command.arg("pki").args(&arguments).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            let mut child = command.spawn().expect("started");
            std::thread::sleep(std::time::Duration::from_millis(delay_ms));
            let _ = child.kill();
            killed += i32::from(!child.wait().expect("ended").success());
        }
        pki(dir.path(), &arguments).ends_with(0);
        let expected = if arguments[0] == "revoke" { 1 } else { 0 };
        pki(dir.path(), &["verify"]).ends_with(expected);
        let left = super::modes(&dir.path().join("certs"));
        assert!(!left.keys().any(|name| name.contains("/.") || name.starts_with('.')), "{left:?}");
    }
    eprintln!("{killed} runs were killed");
}

#[test]
fn no_command_of_these_prints_a_private_key() {
    let dir = super::folder();
    roomy(dir.path());
    let mut said = String::new();
    for output in ["table", "json"] {
        for arguments in [
            &["operator", "alice", "--force"][..],
            &["node", "node-d", "--addr", "10.0.0.4", "--force"],
            &["renew", "node-a"],
            &["renew", "node-b", "--same-key"],
            &["csr", "node-e", "--addr", "10.0.0.5", "--certs", "there"],
            &["sign", "there/node-e/node.csr", "--id", "node-e", "--addr", "10.0.0.5"],
            &["export", "node-a", "--force"],
            &["list"],
            &["revoke", "node-b"],
            &["crl"],
            &["rotate-ca", "--stage", "prepare"],
        ] {
            let run = pki(dir.path(), &[arguments, &["--output", output]].concat()).ends_with(0);
            said += &(run.out + &run.err);
        }
    }
    let mut secrets = vec!["PRIVATE KEY".to_owned()];
    for (path, _) in super::modes(dir.path()).iter().filter(|(path, _)| path.ends_with(".key")) {
        let pem = fs::read_to_string(dir.path().join(path)).expect("a key");
        secrets.extend(pem.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned));
    }
    assert!(secrets.len() > 16, "{} lines of keys", secrets.len());
    let printed = secrets.iter().find(|secret| said.contains(secret.as_str()));
    assert_eq!(printed, None);
}
