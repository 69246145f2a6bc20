//! The three nodes: processes of this program that end with it, however it ends.

use super::error::DemoError;
use super::stage::Stage;
use model::NodeId;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A node stops within 2 s of being told; one that takes longer is killed.
const STOP_TIME: Duration = Duration::from_secs(3);
/// How often a node that stops is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Lines of each node's log that are shown when something fails.
const LAST_LINES: usize = 12;
/// What these begin with must not reach the nodes from the caller's environment.
const OUR_VARIABLES: [&str; 2] = ["PEERS_NODE_", "CANARY_"];

/// The running nodes. Dropped, they are killed.
pub(super) struct Nodes {
    program: PathBuf,
    certs: PathBuf,
    data: PathBuf,
    logs: PathBuf,
    upstreams: Vec<String>,
    running: BTreeMap<NodeId, Child>,
    /// Killed, and perhaps not gone yet.
    dying: Vec<Child>,
}

impl Nodes {
    /// None yet.
    pub(super) fn new(stage: &Stage) -> Result<Self, DemoError> {
        let program = std::env::current_exe()
            .map_err(|error| DemoError::Wrong(format!("cannot find this very program, to start nodes: {error}")))?;
        let (certs, data, logs) = (stage.certs(), stage.data(), stage.logs());
        Ok(Self { program, certs, data, logs, upstreams: Vec::new(), running: BTreeMap::new(), dying: Vec::new() })
    }

    /// Gives every node that is started from now on these model servers.
    pub(super) fn use_upstreams(&mut self, upstreams: Vec<String>) {
        self.upstreams = upstreams;
    }

    /// Starts `node`, with the disk that it had.
    pub(super) fn start(&mut self, node: NodeId) -> Result<(), DemoError> {
        let failed = |error: io::Error| DemoError::Wrong(format!("cannot start {node}: {error}"));
        for mut child in self.dying.drain(..) {
            child.wait().map_err(failed)?;
        }
        let log =
            File::options().create(true).append(true).open(self.logs.join(format!("{node}.log"))).map_err(failed)?;
        let mut command = Command::new(&self.program);
        command.arg("node").arg(node.role_word()).args(["--until-stdin-ends", "--log", "info", "--log-format", "text"]);
        command.arg("--certs").arg(&self.certs).arg("--data").arg(&self.data);
        command.args(self.upstreams.iter().flat_map(|upstream| ["--upstream", upstream.as_str()]));
        for (name, _) in std::env::vars_os() {
            if OUR_VARIABLES.iter().any(|ours| name.to_string_lossy().starts_with(ours)) {
                command.env_remove(name);
            }
        }
        // The pipe is never written to: it closes with this process. A Ctrl-C on the terminal is not for the nodes.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).process_group(0);
        self.running.insert(node, command.spawn().map_err(failed)?);
        Ok(())
    }

    /// Kills `node` with kill -9, and does not wait until it is gone.
    pub(super) fn kill(&mut self, node: NodeId) -> Result<(), DemoError> {
        let Some(mut child) = self.running.remove(&node) else { return Ok(()) };
        let killed = child.kill();
        self.dying.push(child);
        killed.map_err(|error| DemoError::Wrong(format!("cannot kill {node}: {error}")))
    }

    /// Fails when a node has ended that nobody ended.
    pub(super) fn must_run(&mut self) -> Result<(), DemoError> {
        let ended = |(node, child): (&NodeId, &mut Child)| Some((*node, child.try_wait().ok()??));
        let ended: Option<(NodeId, ExitStatus)> = self.running.iter_mut().find_map(ended);
        ended.map_or(Ok(()), |(node, status)| Err(DemoError::Wrong(format!("{node} has ended by itself: {status}"))))
    }

    /// Stops all nodes, in order if they obey.
    pub(super) async fn stop(&mut self) {
        self.running.values_mut().for_each(|child| drop(child.stdin.take()));
        let give_up = Instant::now() + STOP_TIME;
        while Instant::now() < give_up {
            self.running.retain(|_, child| matches!(child.try_wait(), Ok(None)));
            if self.running.is_empty() {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What each node logged last.
    pub(super) fn last_lines(&self) -> Vec<(String, Vec<String>)> {
        let Ok(logs) = fs::read_dir(&self.logs) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = logs.filter_map(|log| Some(log.ok()?.path())).collect();
        paths.sort();
        let last = |path: PathBuf| {
            let text = fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let shown = lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|line| (*line).to_owned());
            (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), shown.collect())
        };
        paths.into_iter().map(last).collect()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in self.running.values_mut().chain(&mut self.dying) {
            // One that has ended already cannot be killed, which is as well.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
