//! From a configuration to a node that serves, and to a node that has stopped.
//!
//! Open → bind → recover → ready → drain. The ports come before the disk, so that a node that has none touches no data.
//! Everything is made whole before anything of it runs, and what was started is joined before this returns.

use super::assembly::{Certified, Node, Parts, Ports, Recovered};
use super::certificates::Certificates;
use super::config::NodeConfig;
use super::error::NodeError;
use super::signals::{Signals, linger, obey_signals};
use super::stages::Stages;
use audit::{AUDIT_FILE, Opened};
use model::{NodeId, Peers};
use std::io;
use std::panic::resume_unwind;
use tokio::runtime;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

/// Runs the node until SIGTERM or SIGINT, or until it cannot go on. Fails when it cannot start, or has to stop for a
/// reason of its own.
pub fn run(config: NodeConfig) -> Result<(), NodeError> {
    let tasks = TaskTracker::new();
    let ended = run_in(config, &Stages::new(), &tasks);
    if !tasks.is_empty() {
        tracing::error!(tasks = tasks.len(), "Tasks were left when the node stopped");
    }
    ended
}

/// The same in these stages; the tasks that serve requests are counted in `tasks`.
fn run_in(config: NodeConfig, stages: &Stages, tasks: &TaskTracker) -> Result<(), NodeError> {
    let opened = Certified::open(&config)?;
    let ports = Ports::bind(&config, &opened.peers)?;
    let recovered = Recovered::from_disk(&config, &opened)?;
    let Opened { log, outgoing, closing } = open_audit(&config, &opened.certificates);
    let parts = Parts { config, opened, ports, recovered, log, outgoing };
    let ended = Node::new(parts, stages, tasks).and_then(|node| node.run(stages));
    closing.close();
    ended
}

impl Node {
    /// Runs it until it has stopped.
    fn run(self, stages: &Stages) -> Result<(), NodeError> {
        let Self { config, peers, mut certificates, agreement, entrance, entry, listener, at, version } = self;
        let me = config.me;
        let agreeing = agreement.start()?;
        let role = if me == NodeId::A { "Coordinator started" } else { "Participant started" };
        let [control, data] = at;
        tracing::info!(node = %me, %control, %data, version, "{role}");
        let serving = entrance.serve(listener, entry);
        let served = serve(serving, &config, &peers, &mut certificates, stages);
        stages.served.cancel();
        let agreed = agreeing.join().unwrap_or_else(|panic| resume_unwind(panic)).map_err(NodeError::from);
        tracing::info!(node = %me, "Stopped");
        agreed.and(served)
    }
}

/// Serves HTTPS until the node stops.
fn serve(
    serving: impl Future<Output = io::Result<()>> + Send + 'static,
    config: &NodeConfig,
    peers: &Peers,
    certificates: &mut Certificates,
    stages: &Stages,
) -> Result<(), NodeError> {
    // The server has threads of its own; this one only waits for signals.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(NodeError::system("cannot start the runtime of the HTTPS port"))?;
    runtime.block_on(async {
        let serving = tokio::spawn(serving);
        let mut signals = Signals::listen()?;
        let kind = obey_signals(config, peers, certificates, &mut signals, stages).await;
        let mut impatient = JoinSet::new();
        impatient.spawn(signals.end_at_the_next(kind, config.me));
        linger(config, stages).await;
        let served = serving.await;
        impatient.shutdown().await;
        let served = served.unwrap_or_else(|error| Err(io::Error::other(error)));
        served.map_err(NodeError::system("cannot serve HTTPS"))
    })
}

/// The record of this node; without one the node runs, and says so.
fn open_audit(config: &NodeConfig, certificates: &Certificates) -> Opened {
    let directory = config.data.join(config.me.to_string());
    Opened::open(&directory, config.me, config.audit_keep, certificates.control.subscribe()).unwrap_or_else(|error| {
        let path = directory.join(AUDIT_FILE).display().to_string();
        tracing::error!(%path, %error, "The audit record cannot be opened: nothing is recorded until the next start");
        Opened::none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::tests::World;
    use std::fs;
    use std::net::TcpStream;
    use std::thread;
    use std::time::{Duration, Instant};

    /// Threads of a node that are running in this process, by their names.
    fn threads() -> Vec<String> {
        let names = fs::read_dir("/proc/self/task").expect("Linux shows threads").flatten();
        let names = names.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
        let own = ["https-", "agreement", "audit", "history"];
        names.filter(|name| own.iter().any(|own| name.starts_with(own))).collect()
    }

    #[test]
    fn nothing_of_a_node_is_left_when_it_has_run() {
        let (world, _) = World::on(["127.27.91.1", "127.27.91.2", "127.27.91.3"]);
        let (stages, tasks) = (Stages::new(), TaskTracker::new());
        let port = ("127.27.91.1", world.config.me.data_port());
        let config = world.config.clone();
        let node = {
            let (stages, tasks) = (stages.clone(), tasks.clone());
            thread::spawn(move || run_in(config, &stages, &tasks))
        };
        let give_up = Instant::now() + Duration::from_secs(60);
        let _client = loop {
            match TcpStream::connect(port) {
                Ok(client) if !threads().is_empty() => break client,
                Ok(_) | Err(_) if Instant::now() < give_up && !node.is_finished() => {
                    thread::sleep(Duration::from_millis(5));
                }
                Ok(_) | Err(_) => panic!("the node does not serve: {:?}", node.join()),
            }
        };
        stages.leaving.cancel();
        node.join().expect("it does not panic").expect("it stops cleanly");
        assert_eq!(threads(), Vec::<String>::new());
        assert!(tasks.is_empty(), "{} tasks are left", tasks.len());
        assert!(stages.served.is_cancelled() && stages.ended.is_cancelled());
    }
}
