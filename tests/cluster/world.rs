//! One cluster: its certificates, one folder for each machine, its nodes and its operator.

use super::process::{Running, eventually};
use super::shell::{Answer, Said};
use model::{Host, NodeId};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub(crate) const A: NodeId = NodeId::A;
pub(crate) const B: NodeId = node('b');
pub(crate) const C: NodeId = node('c');
pub(crate) const ALL: [NodeId; 3] = [A, B, C];

const fn node(letter: char) -> NodeId {
    match NodeId::from_letter(letter) {
        Some(id) => id,
        None => panic!("a letter"),
    }
}

/// Three machines, each with only what is copied to it, and the operator's, where the certificates were made.
pub(crate) struct Cluster {
    dir: TempDir,
    pub(crate) hosts: BTreeMap<NodeId, String>,
    nodes: BTreeMap<NodeId, Running>,
}

impl Cluster {
    /// Certificates for nodes at 127.31.`number`.11 to .13, copied; nothing runs yet.
    pub(crate) fn new(number: u8) -> Self {
        let hosts = ALL.map(|id| (id, format!("127.31.{number}.{}", 11 + id.index())));
        Self::at(hosts.into_iter().collect())
    }

    /// The same at other addresses.
    pub(crate) fn at(hosts: BTreeMap<NodeId, String>) -> Self {
        Self::of(hosts, &[])
    }

    /// As [`new`](Self::new), with an authority that may also issue for another network.
    pub(crate) fn permitting(number: u8, network: &str) -> Self {
        let hosts = ALL.map(|id| (id, format!("127.31.{number}.{}", 11 + id.index())));
        Self::of(hosts.into_iter().collect(), &["--permit-cidr", network])
    }

    fn of(hosts: BTreeMap<NodeId, String>, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let cluster = Self { dir, hosts, nodes: BTreeMap::new() };
        cluster.canary(&[&["pki", "init"], more].concat()).exits(0);
        for id in ALL {
            let certs = cluster.machine(id).join("certs");
            fs::create_dir_all(&certs).expect("a directory");
            copy(&cluster.path("certs/ca.pem"), &certs);
            copy(&cluster.path(&format!("certs/{id}")), &certs);
        }
        cluster
    }

    /// A cluster of which all nodes run and agree.
    pub(crate) fn running(number: u8) -> Self {
        let mut cluster = Self::new(number);
        cluster.start_all();
        cluster
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The working directory of a node's machine.
    pub(crate) fn machine(&self, id: NodeId) -> PathBuf {
        self.path(&format!("machine-{}", id.letter()))
    }

    /// The durable state of a node.
    pub(crate) fn data(&self, id: NodeId) -> PathBuf {
        self.machine(id).join(format!("data/{id}"))
    }

    fn log_file(&self, id: NodeId) -> PathBuf {
        self.machine(id).join("log")
    }

    /// Everything that a node has written to stderr, over all its lives.
    pub(crate) fn log(&self, id: NodeId) -> String {
        fs::read_to_string(self.log_file(id)).unwrap_or_default()
    }

    /// Waits for a line in a node's log that has all of `words`.
    #[track_caller]
    pub(crate) fn wait_log(&self, id: NodeId, words: &[&str]) -> String {
        eventually(&format!("{words:?} in the log of {id}"), || {
            let log = self.log(id);
            let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
            line.map(str::to_owned).ok_or_else(|| format!("\n{log}"))
        })
    }

    /// What an operator types.
    pub(crate) fn canary(&self, arguments: &[&str]) -> Said {
        self.operator().canary(arguments)
    }

    /// Runs a command until what it asks for is decided; a machine under load may be too slow for a vote.
    #[track_caller]
    pub(crate) fn decided(&self, arguments: &[&str]) {
        eventually(&format!("{arguments:?}"), || {
            let said = self.canary(arguments);
            if said.code == Some(0) { Ok(()) } else { Err(format!("{said:?}")) }
        });
    }

    /// `canary node` on the machine of `id`, not started.
    pub(crate) fn node_command(&self, id: NodeId, arguments: &[&str]) -> Command {
        let mut command = program(&self.machine(id), &self.hosts);
        command.args(["node", &id.role_word()]).args(arguments);
        command
    }

    /// Runs a node that is expected to end by itself.
    pub(crate) fn refused_node(&self, id: NodeId, arguments: &[&str]) -> Said {
        self.refused(self.node_command(id, arguments))
    }

    /// Runs a command for a node that is expected to end by itself.
    #[track_caller]
    pub(crate) fn refused(&self, command: Command) -> Said {
        let log = self.path("refused");
        let _ = fs::remove_file(&log);
        let status = Running::start(command, &log).wait();
        Said { code: status.code(), out: String::new(), err: fs::read_to_string(&log).unwrap_or_default() }
    }

    pub(crate) fn start(&mut self, id: NodeId) {
        self.start_with(id, &[]);
    }

    pub(crate) fn start_with(&mut self, id: NodeId, arguments: &[&str]) {
        self.start_command(id, self.node_command(id, arguments));
    }

    /// Runs `command` as the node `id`.
    pub(crate) fn start_command(&mut self, id: NodeId, command: Command) {
        let running = Running::start(command, &self.log_file(id));
        self.nodes.insert(id, running);
    }

    pub(crate) fn start_all(&mut self) {
        for id in ALL {
            self.start(id);
        }
        self.wait_synchronized();
    }

    /// The process of a node.
    #[track_caller]
    pub(crate) fn process(&mut self, id: NodeId) -> &mut Running {
        self.nodes.get_mut(&id).expect("the node was started")
    }

    #[track_caller]
    pub(crate) fn signal(&self, id: NodeId, signal: Signal) {
        self.nodes.get(&id).expect("the node was started").signal(signal);
    }

    /// Takes the process of a node, to see it end.
    #[track_caller]
    pub(crate) fn take(&mut self, id: NodeId) -> Running {
        self.nodes.remove(&id).expect("the node was started")
    }

    /// kill -9.
    #[track_caller]
    pub(crate) fn kill(&mut self, id: NodeId) {
        self.take(id).kill();
    }

    /// The place of a path on a node.
    pub(crate) fn url(&self, id: NodeId, path: &str) -> String {
        let host: Host = self.hosts[&id].parse().expect("tests use good addresses");
        let host = host.in_url();
        format!("https://{host}:{}{path}", id.data_port())
    }

    /// `curl --cacert certs/ca.pem` with more arguments.
    pub(crate) fn curl(&self, arguments: &[&str], input: &[u8]) -> Result<Answer, String> {
        let ca = self.path("certs/ca.pem");
        let mut all = vec!["--cacert", ca.to_str().expect("plain paths")];
        all.extend(arguments);
        Answer::to(&all, input)
    }

    /// A read without any client certificate.
    pub(crate) fn get(&self, id: NodeId, path: &str) -> Result<Answer, String> {
        self.curl(&[&self.url(id, path)], b"")
    }

    /// A change that is asked for with the certificate in a folder of the operator's machine.
    #[track_caller]
    pub(crate) fn post_as(&self, folder: &str, id: NodeId, path: &str, more: &[&str], body: &[u8]) -> Answer {
        let name = if folder.starts_with("operator") { "client" } else { "node" };
        let file = |end: &str| self.path(&format!("certs/{folder}/{name}.{end}")).display().to_string();
        let (certificate, key, url) = (file("pem"), file("key"), self.url(id, path));
        let mut arguments = vec!["--cert", &certificate, "--key", &key, "--data-binary", "@-", "--header", "Expect:"];
        arguments.extend(more);
        arguments.push(&url);
        self.curl(&arguments, body).expect("the node answers")
    }

    /// A change that the operator asks for.
    #[track_caller]
    pub(crate) fn post(&self, id: NodeId, path: &str, body: &[u8]) -> Answer {
        self.post_as("operator-admin", id, path, &[], body)
    }

    /// What a node shows.
    pub(crate) fn state(&self, id: NodeId) -> Result<Value, String> {
        let answer = self.get(id, "/routing/state")?;
        if answer.status == 200 { Ok(answer.json()) } else { Err(format!("{answer:?}")) }
    }

    /// Waits until what a node shows fulfils `wanted`.
    #[track_caller]
    pub(crate) fn wait_state(&self, id: NodeId, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("{id} shows {what}"), || {
            let state = self.state(id)?;
            if wanted(&state) { Ok(state) } else { Err(state.to_string()) }
        })
    }

    /// Waits until all nodes take part, are at one version, and `canary query` says so; gives that version.
    #[track_caller]
    pub(crate) fn wait_synchronized(&self) -> u64 {
        eventually("all nodes agree", || {
            let said = self.canary(&["query", "--output", "json"]);
            let shown: Value = serde_json::from_str(&said.out).map_err(|_| format!("{said:?}"))?;
            let nodes = shown["nodes"].as_array().ok_or("no nodes")?;
            let settled = |node: &Value| node["isolated"] == false && node["pending"].is_null();
            let coordinated = |node: &Value| node["acting_coordinator"] == "node-a";
            if said.code == Some(0) && nodes.iter().all(|node| settled(node) && coordinated(node)) {
                assert_eq!(shown["verdict"], "SYNCHRONIZED");
                return nodes[0]["version"].as_u64().ok_or_else(|| "no version".into());
            }
            Err(said.out)
        })
    }

    /// The operator, who can ask while nodes are stopped and started.
    pub(crate) fn operator(&self) -> Operator {
        Operator { directory: self.dir.path().to_owned(), hosts: self.hosts.clone() }
    }

    /// Asks for a weight in per cent, once.
    pub(crate) fn try_weight(&self, per_cent: &str) -> Said {
        self.operator().try_weight(per_cent)
    }

    /// Asks for a weight in per cent until it is decided for; gives the answer.
    ///
    /// A machine under load may be too slow for a vote, so that an advance is voted down for that.
    #[track_caller]
    pub(crate) fn set_weight(&self, per_cent: &str) -> Value {
        eventually(&format!("{per_cent} % is decided"), || {
            let said = self.try_weight(per_cent);
            if said.code == Some(0) { Ok(said.json()) } else { Err(format!("{said:?}")) }
        })
    }

    /// Every file below this cluster's directory but the certificates.
    pub(crate) fn written(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("readable")) {
                let path = entry.path();
                match entry.file_type().expect("known") {
                    kind if kind.is_dir() && path.file_name().is_some_and(|name| name != "certs") => folders.push(path),
                    kind if kind.is_file() => found.push(path),
                    _ => {}
                }
            }
        }
        found
    }
}

/// Who holds operator-admin's certificate, on the machine where it was made.
pub(crate) struct Operator {
    directory: PathBuf,
    hosts: BTreeMap<NodeId, String>,
}

impl Operator {
    /// What an operator types.
    pub(crate) fn canary(&self, arguments: &[&str]) -> Said {
        let mut command = program(&self.directory, &self.hosts);
        command.args(arguments);
        Said::by(command, b"")
    }

    /// Asks for a weight in per cent, once.
    pub(crate) fn try_weight(&self, per_cent: &str) -> Said {
        self.canary(&["rollout", "set-weight", per_cent, "--canary", "v2", "--output", "json"])
    }
}

/// The program in `directory`, with a cluster's addresses and nothing else of this test's environment.
fn program(directory: &Path, hosts: &BTreeMap<NodeId, String>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_canary"));
    command.current_dir(directory).env_clear().env("PATH", "/usr/bin:/bin");
    command.envs(hosts.iter().map(|(id, host)| (id.variable(), host)));
    command
}

/// `cp -a`: modes stay what they are.
pub(crate) fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp is there");
    assert!(status.success(), "{} could not be copied", from.display());
}
