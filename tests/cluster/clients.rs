//! Clients of `/predict` as they are in earnest: each keeps its connection or makes a new one for every request, asks
//! another node when a connection cannot be made, and never asks twice for what it has sent.

use super::answer::Answer;
use super::process::DEADLINE;
use super::world::Cluster;
use model::NodeId;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How a client goes about its connections, and how long it rests between two requests.
#[derive(Clone, Copy, Debug)]
enum Habit {
    Keeps(Duration),
    MakesNew(Duration),
}

/// Busy ones, and ones whose connection is idle most of the time, so that a stop meets it so.
const HABITS: [Habit; 5] = [
    Habit::Keeps(Duration::from_millis(1)),
    Habit::Keeps(Duration::from_millis(70)),
    Habit::Keeps(Duration::from_millis(300)),
    Habit::MakesNew(Duration::from_millis(10)),
    Habit::MakesNew(Duration::from_millis(40)),
];

/// What became of their requests.
#[derive(Debug, Default)]
struct Tally {
    answered: AtomicUsize,
    /// Connections that could not be made, so that nothing was sent.
    unmade: AtomicUsize,
    /// Requests that were sent and not answered as they should be.
    lost: Mutex<Vec<String>>,
}

/// Clients that ask until they are stopped.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Starts one of each habit, for each of `nodes` to begin with.
    pub(crate) fn start(cluster: &Cluster, nodes: &[NodeId]) -> Self {
        let ca = trust::load_ca(&cluster.path("certs")).expect("the authority");
        let config = Arc::new(tls::api_client(&ca, None).expect("a configuration"));
        let address = |id: &NodeId| SocketAddr::new(cluster.hosts[id].parse().expect("an address"), id.data_port());
        let addresses: Vec<SocketAddr> = nodes.iter().map(address).collect();
        let (stop, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Tally::default()));
        let mut threads = Vec::new();
        for first in 0..addresses.len() {
            for habit in HABITS {
                let mut addresses = addresses.clone();
                addresses.rotate_left(first);
                let client = Client { config: Arc::clone(&config), addresses, habit, tally: Arc::clone(&tally) };
                let stop = Arc::clone(&stop);
                threads.push(thread::spawn(move || client.run(&stop)));
            }
        }
        Self { stop, tally, threads }
    }

    /// Requests that were answered.
    pub(crate) fn answered(&self) -> usize {
        self.tally.answered.load(Ordering::Relaxed)
    }

    /// Stops them, and asserts that every request that was sent was answered.
    #[track_caller]
    pub(crate) fn lost_nothing(mut self) {
        self.end();
        let lost = self.tally.lost.lock().expect("nobody panics with it");
        let (answered, unmade) = (self.answered(), self.tally.unmade.load(Ordering::Relaxed));
        eprintln!("{answered} requests answered, {} lost, {unmade} connections not made", lost.len());
        assert!(lost.is_empty(), "{answered} answered, {} lost: {:#?}", lost.len(), &lost[..lost.len().min(10)]);
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A test that failed has said so already.
            let _ = thread.join();
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.end();
    }
}

type Connection = StreamOwned<ClientConnection, TcpStream>;

struct Client {
    config: Arc<ClientConfig>,
    addresses: Vec<SocketAddr>,
    habit: Habit,
    tally: Arc<Tally>,
}

impl Client {
    fn run(mut self, stop: &AtomicBool) {
        let mut kept: Option<Connection> = None;
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            let Ok(connection) = kept.take().map_or_else(|| self.connect(), Ok) else {
                self.tally.unmade.fetch_add(1, Ordering::Relaxed);
                self.addresses.rotate_left(1);
                thread::sleep(Duration::from_millis(2));
                continue;
            };
            number += 1;
            match ask(connection, number) {
                Ok(left) => {
                    self.tally.answered.fetch_add(1, Ordering::Relaxed);
                    kept = left;
                }
                Err(why) => {
                    let what = format!("{:?}, request {number}, {}: {why}", self.habit, self.addresses[0]);
                    self.tally.lost.lock().expect("nobody panics with it").push(what);
                }
            }
            let rest = match self.habit {
                Habit::Keeps(rest) => rest,
                Habit::MakesNew(rest) => {
                    kept = None;
                    rest
                }
            };
            thread::sleep(rest);
        }
    }

    /// A connection after its handshake: nothing of a request was sent yet.
    fn connect(&self) -> io::Result<Connection> {
        let address = self.addresses[0];
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut client =
            ClientConnection::new(Arc::clone(&self.config), address.ip().into()).map_err(io::Error::other)?;
        while client.is_handshaking() {
            client.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(client, stream))
    }
}

/// Asks once; gives the connection back if the node keeps it.
fn ask(mut connection: Connection, number: usize) -> Result<Option<Connection>, String> {
    let request =
        format!("POST /predict HTTP/1.1\r\nhost: x\r\nx-canary-key: k{number}\r\ncontent-length: 2\r\n\r\n{{}}");
    connection.write_all(request.as_bytes()).map_err(|error| format!("not sent: {error}"))?;
    let (mut received, mut part) = (Vec::new(), [0; 4096]);
    let answer = loop {
        match connection.read(&mut part) {
            Ok(0) => return Err(format!("the connection ended after {} bytes", received.len())),
            Ok(length) => received.extend_from_slice(&part[..length]),
            Err(error) => return Err(format!("after {} bytes: {error}", received.len())),
        }
        if let Some(answer) = Answer::take(&mut received) {
            break answer;
        }
    };
    answer.header("content-length").ok_or("no length")?;
    if !answer.is_ok() || answer.header("x-canary-model").is_none() {
        return Err(format!("answered {:?}", answer.head));
    }
    Ok((answer.header("connection") != Some("close")).then_some(connection))
}
