//! The rules of `canary firewall`, as the kernel takes them, and who gets through.

mod needs;

use needs::Need;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::timeout;

/// Set for the process that has a network of its own.
const INSIDE: &str = "CANARY_TEST_INSIDE";

fn firewall(peers: [&str; 3], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_canary"))
        .arg("firewall")
        .args(arguments)
        .env_clear()
        .envs(["PEERS_NODE_A", "PEERS_NODE_B", "PEERS_NODE_C"].into_iter().zip(peers))
        .output()
        .expect("the program starts")
}

fn rules(peers: [&str; 3], arguments: &[&str]) -> String {
    let output = firewall(peers, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn nft(arguments: &[&str], rules: &str) -> std::io::Result<Output> {
    let mut child = Command::new("nft")
        .args(arguments)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().expect("it is piped").write_all(rules.as_bytes())?;
    child.wait_with_output()
}

#[test]
fn nft_accepts_every_kind_of_rules() {
    if !Need::Nft.is_met() {
        return;
    }
    for peers in [
        ["192.168.1.10", "192.168.1.20", "192.168.1.30"],
        ["10.0.0.1", "10.0.0.1", "10.0.0.1"],
        ["2001:db8::1", "[2001:db8::2]", "2001:db8::3"],
        ["10.0.0.1", "2001:db8::2", "localhost"],
    ] {
        for clients in [
            &[][..],
            &["--clients", "10.0.0.0/8", "--clients", "10.1.0.0/16", "--clients", "10.1.2.3"],
            &["--clients", "0.0.0.0/0", "--clients", "::/0"],
            &["--clients", "2001:db8::/32"],
        ] {
            let text = rules(peers, clients);
            let output = nft(&["-c"], &text).expect("nft starts");
            assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn what_is_no_block_is_refused_with_what_to_type() {
    let peers = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
    let output = firewall(peers, &["--clients", "10.0.0.5/8"]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("10.0.0.5/8 has bits set behind its prefix: use 10.0.0.0/8"), "{error}");
    let output = firewall(["10.0.0.1", "10.0.0.2", "nowhere.invalid"], &[]);
    assert_eq!(output.status.code(), Some(78));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("PEERS_NODE_C: cannot find the address of nowhere.invalid"), "{error}");
    assert!(error.contains("hint: "), "{error}");
    assert!(output.stdout.is_empty(), "no half a ruleset");
}

/// Not a test by itself: what [`only_peers_and_clients_get_through`] runs in a network of its own.
#[tokio::test]
async fn inside_a_network_of_its_own() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip is there");
    assert!(up.success());
    let peers = ["127.23.0.11", "127.23.0.12", "127.23.0.13"];
    let control = TcpListener::bind("127.23.0.11:60001").await.expect("the network is ours alone");
    let data = TcpListener::bind("127.23.0.11:50051").await.expect("the network is ours alone");
    let other = TcpListener::bind("127.23.0.11:8080").await.expect("the network is ours alone");
    let places = [&control, &data, &other].map(|listener| listener.local_addr().expect("it is bound"));
    let apply = |arguments: &[&str]| {
        let output = nft(&[], &rules(peers, arguments)).expect("nft starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    assert_eq!(reached(&places, "127.99.0.1:0").await, [true, true, true], "nothing is applied yet");
    apply(&[]);
    apply(&[]);
    assert_eq!(reached(&places, "127.23.0.12:0").await, [true, true, true], "a peer");
    assert_eq!(reached(&places, "127.99.0.1:0").await, [false, true, true], "not a peer");
    // Linux may give this machine's own connections one of the node's ports, and their answers must come in.
    assert_eq!(reached(&places[2..], "127.23.0.11:60002").await, [true], "an outgoing connection on a guarded port");
    apply(&["--clients", "127.99.0.0/16"]);
    assert_eq!(reached(&places, "127.99.0.1:0").await, [false, true, true], "a client");
    let listing = Command::new("nft").args(["list", "table", "inet", "canary"]).output().expect("nft starts");
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    assert_eq!(listing.matches("chain input").count(), 1, "applied again, rules replace themselves:\n{listing}");
}

/// Which of the places a connection from `source` gets to.
async fn reached(places: &[SocketAddr], source: &str) -> Vec<bool> {
    let mut reached = Vec::new();
    for place in places {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option");
        socket.bind(source.parse().expect("an address")).expect("the whole of 127/8 is ours");
        // What is dropped never answers; what is let through does so at once, even on a machine that is busy.
        reached.push(timeout(Duration::from_millis(700), socket.connect(*place)).await.is_ok_and(|made| made.is_ok()));
    }
    reached
}

#[test]
fn only_peers_and_clients_get_through() {
    if !Need::Nft.is_met() || !Need::Namespaces.is_met() {
        return;
    }
    let program = std::env::current_exe().expect("this program");
    let output = Command::new("unshare")
        .arg("--net")
        .arg(program)
        .args(["--exact", "inside_a_network_of_its_own", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare is there");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
