//! Canaries that are bad in ways that a careless judge takes for good, on real nodes, with clients at many addresses and at one.

use super::shell::{Said, curl};
use super::world::{A, ALL, C, Cluster};
use model::NodeId;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Addresses that clients have, as many as there are told apart by the judge and more.
const ADDRESSES: u8 = 8;
/// Requests of one curl process, many at a time.
const BATCH: usize = 60;

/// How a model answers a prediction. Whoever only looks whether it is there gets 200 at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Manner {
    Good,
    /// It never answers.
    Hangs,
    /// The request is wrong, whatever it is.
    Refuses,
    /// What was asked for is elsewhere.
    SendsElsewhere,
    /// Head and some of the body, and the end of the connection.
    BreaksOff,
    /// The head at once, and the first byte of the body much later.
    ThinksAfterTheHead,
}

const MANNERS: [Manner; 6] = [
    Manner::Good,
    Manner::Hangs,
    Manner::Refuses,
    Manner::SendsElsewhere,
    Manner::BreaksOff,
    Manner::ThinksAfterTheHead,
];

/// A model server that changes its manner when it is told to.
struct Model {
    address: SocketAddr,
    manner: Arc<AtomicU8>,
}

impl Model {
    fn start(host: &str) -> Self {
        let listener = TcpListener::bind((host, 0)).expect("this test's own address");
        let address = listener.local_addr().expect("bound");
        let manner = Arc::new(AtomicU8::new(Manner::Good as u8));
        let shared = Arc::clone(&manner);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let manner = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &manner));
            }
        });
        Self { address, manner }
    }

    fn url(&self) -> String {
        format!("http://{}/model", self.address)
    }

    fn be(&self, manner: Manner) {
        self.manner.store(manner as u8, Ordering::Relaxed);
    }
}

/// Answers the requests of one connection until it ends.
fn serve(mut stream: TcpStream, manner: &AtomicU8) -> Option<()> {
    let mut received = Vec::new();
    let mut piece = [0; 4_096];
    loop {
        while !received.ends_with(b"}") && !received.starts_with(b"GET") {
            let length = stream.read(&mut piece).ok().filter(|length| *length > 0)?;
            received.extend_from_slice(&piece[..length]);
        }
        let is_prediction = received.starts_with(b"POST");
        received.clear();
        let manner = MANNERS[usize::from(manner.load(Ordering::Relaxed))];
        match manner {
            Manner::Hangs if is_prediction => {
                // Until the node gives up.
                let _ = stream.read(&mut piece);
                return None;
            }
            Manner::Refuses if is_prediction => say(&mut stream, "422 Unprocessable Content", 2, b"{}")?,
            Manner::SendsElsewhere if is_prediction => say(&mut stream, "302 Found\r\nlocation: /other", 2, b"{}")?,
            Manner::BreaksOff if is_prediction => {
                say(&mut stream, "200 OK", 1_000, b"{")?;
                return None;
            }
            Manner::ThinksAfterTheHead if is_prediction => {
                say(&mut stream, "200 OK", 2, b"")?;
                std::thread::sleep(Duration::from_secs(6));
                stream.write_all(b"{}").ok()?;
            }
            Manner::Good
            | Manner::Hangs
            | Manner::Refuses
            | Manner::SendsElsewhere
            | Manner::BreaksOff
            | Manner::ThinksAfterTheHead => say(&mut stream, "200 OK", 2, b"{}")?,
        }
    }
}

fn say(stream: &mut TcpStream, status: &str, length: usize, body: &[u8]) -> Option<()> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).ok()
}

/// Clients who keep asking all nodes, and give up after a while.
struct Clients {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// At so many addresses of test number `number`.
    fn at(cluster: &Cluster, number: u8, addresses: u8, patience: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let ca = cluster.path("certs/ca.pem").display().to_string();
        let ask = |(id, address): (NodeId, u8)| {
            let (url, ca, stop) = (cluster.url(id, "/predict"), ca.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut first = 0;
                while !stop.load(Ordering::Relaxed) {
                    let mut config = String::from("parallel\nparallel-max = 30\n");
                    for key in first..first + BATCH {
                        let next = if key > first { "next\n" } else { "" };
                        let _ = write!(
                            config,
                            "{next}url = \"{url}\"\ncacert = \"{ca}\"\nheader = \"x-canary-key: {id}-{address}-{key}\"\n\
                             data = \"{{}}\"\nsilent\nmax-time = {patience}\ninterface = \"127.31.{number}.{}\"\n",
                            100 + address
                        );
                    }
                    first += BATCH;
                    let mut curl = curl();
                    curl.args(["--config", "-"]);
                    let _ = Said::by(curl, config.as_bytes());
                }
            })
        };
        let all = (0..addresses).map(|address| (ALL[usize::from(address) % ALL.len()], address));
        Self { threads: all.map(ask).collect(), stop }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A test that failed has said so already.
            let _ = thread.join();
        }
    }
}

/// Three nodes with a good stable model and a canary.
struct World {
    cluster: Cluster,
    canary: Model,
    _stable: Model,
}

impl World {
    fn new(number: u8) -> Self {
        let cluster = Cluster::running(number);
        let (stable, canary) =
            (Model::start(&format!("127.31.{number}.21")), Model::start(&format!("127.31.{number}.22")));
        cluster.decided(&["model", "set", "v1", "--upstream", &stable.url()]);
        Self { cluster, canary, _stable: stable }
    }

    /// Starts a rollout whose first step would be passed soon, with this limit of the p95. That latencies jitter on a busy machine
    /// is not what is tried.
    fn start(&self, max_p95_ms: u64) {
        let gates = json!({"max_p95_ms": max_p95_ms, "p95_ratio": {"mode": "observe"}});
        let plan = json!({"steps": [{"setWeight": 50}], "hold": "2s", "gates": gates});
        let path = self.cluster.path("plan.json");
        std::fs::write(&path, plan.to_string()).expect("a file");
        let (url, path) = (self.canary.url(), path.display().to_string());
        self.cluster.decided(&["rollout", "start", "v2", "--upstream", &url, "--plan", &path]);
    }

    /// The rollout when it has come to this phase. On the way there it may be paused: who asked first are few.
    fn wait(&self, manner: Manner, phase: &str) -> Value {
        let state = self.cluster.wait_state(C, &format!("{manner:?}"), |state| state["rollout"]["phase"] == phase);
        state["rollout"].clone()
    }
}

#[test]
fn canaries_that_are_bad_in_their_own_way_are_rolled_back() {
    let world = World::new(133);
    let _clients = Clients::at(&world.cluster, 133, ADDRESSES, "4");
    for (manner, why) in [
        (Manner::BreaksOff, "error rate"),
        (Manner::Refuses, "share of 4xx"),
        (Manner::SendsElsewhere, "share of 3xx"),
        (Manner::ThinksAfterTheHead, "p95"),
        (Manner::Hangs, "p95"),
    ] {
        world.canary.be(manner);
        world.start(2_000);
        let rollout = world.wait(manner, "Degraded");
        assert_eq!(rollout["outcome"], "RolledBack", "{manner:?}: {rollout}");
        assert!(rollout["why"].as_str().is_some_and(|said| said.contains(why)), "{manner:?}: {rollout}");
        world.canary.be(Manner::Good);
    }
}

#[test]
fn a_canary_that_its_impatient_users_leave_is_rolled_back_and_one_user_only_has_it_looked_at() {
    let world = World::new(134);
    // Clients leave long before the limit of the p95 says anything.
    for (addresses, phase) in [(ADDRESSES, "Degraded"), (1, "Paused")] {
        world.canary.be(Manner::Hangs);
        let clients = Clients::at(&world.cluster, 134, addresses, "1.3");
        world.start(25_000);
        let rollout = world.wait(Manner::Hangs, phase);
        drop(clients);
        let why = rollout["why"].as_str().unwrap_or_default();
        assert!(why.contains("share of unknown ends"), "{rollout}");
        assert_eq!(why.contains("127.31.134.100 alone gave 100 % of them"), addresses == 1, "{why}");
        if rollout["phase"] == "Paused" {
            // What was decided and not heard of is refused the second time.
            let _ = world.cluster.canary(&["rollout", "abort"]);
            world.cluster.wait_state(A, "the abort", |state| state["rollout"]["outcome"] == "Aborted");
        }
    }
}
