//! A node that dies at a chosen step of a chosen situation, is started again, and what must hold then.

use super::process::{Running, eventually};
use super::shell::Said;
use super::trace::{self, Trace};
use super::world::{A, ALL, B, Cluster};
use crash::{Step, When};
use model::NodeId;
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;

/// In the middle of what the node dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Situation {
    /// More for the canary.
    Advance,
    /// Less.
    Retreat,
    /// node-a is dead, and another takes its place.
    Takeover,
    /// The node's own disk was lost.
    Rejoin,
    /// It stops because it was told to.
    Stop,
    /// It starts with what it had, and more history than it may keep.
    Start,
}

/// At what it dies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cause {
    /// At this passing of a step.
    Point(Step, When, u32),
    /// At this forced write, counted by strace.
    Force(u32),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Point(step, when, passing) => write!(f, "{}.{}:{passing}", step.name(), when.name()),
            Self::Force(number) => write!(f, "fdatasync {number}"),
        }
    }
}

/// Whether the node came as far as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Died,
    Survived,
}

/// A cluster whose nodes die, and all that its operator was told.
pub(crate) struct Mortals {
    pub(crate) cluster: Cluster,
    committed: BTreeMap<u64, String>,
    /// What any node ever showed as decided; disks that are lost take their histories with them.
    decided: BTreeMap<u64, String>,
    aborted: BTreeSet<String>,
    /// Those whose records were filled up with what no node writes.
    filled: BTreeSet<NodeId>,
    /// Those that were killed.
    dead: BTreeSet<NodeId>,
    count: usize,
}

impl Mortals {
    pub(crate) fn new(number: u8) -> Self {
        let cluster = Cluster::running(number);
        let (committed, decided) = (BTreeMap::new(), BTreeMap::new());
        let (aborted, filled, dead) = Default::default();
        let mut mortals = Self { cluster, committed, decided, aborted, filled, dead, count: 0 };
        mortals.settle("1");
        mortals
    }

    /// Lets `victim` die of `cause` in `situation`, starts it again, and checks everything.
    pub(crate) fn kill(&mut self, victim: NodeId, situation: Situation, cause: Cause) -> Fate {
        self.count += 1;
        self.dead.insert(victim);
        if situation == Situation::Takeover {
            self.dead.insert(A);
        }
        if situation == Situation::Retreat {
            self.settle("60");
        }
        let trace = self.arm(victim, situation, cause);
        match situation {
            Situation::Advance => self.change(victim, "50"),
            Situation::Retreat => self.change(victim, "1"),
            Situation::Takeover => self.take_over(victim),
            Situation::Rejoin | Situation::Start => self.until_it_takes_part(victim),
            Situation::Stop => {}
        }
        let fate = self.end(victim);
        drop(trace);
        let arguments: &[&str] = if situation == Situation::Rejoin { &["--rejoin"] } else { &[] };
        self.cluster.start_with(victim, arguments);
        if situation == Situation::Takeover {
            self.cluster.start(A);
        }
        self.cluster.wait_synchronized();
        // It goes on: one change that needs everybody or takes from everybody.
        self.settle(if situation == Situation::Retreat { "2" } else { "1" });
        self.check(&format!("{victim} at {cause} in {situation:?}"));
        fate
    }

    /// What must hold when all deaths are over: nothing in the nodes' records is wrong, and all that a decision may lack is
    /// the vote of a node that died before it had signed it.
    pub(crate) fn finish(self) {
        for id in ALL.into_iter().filter(|id| !self.filled.contains(id)) {
            eventually(&format!("the record of {id} is sound"), || {
                let data = self.cluster.data(id).display().to_string();
                let said = self.cluster.canary(&["audit", "verify", "--output", "json", &data]).json();
                let decisions = said["decisions"].as_array().into_iter().flatten();
                let missing = decisions.flat_map(|decision| decision["missing"].as_array().into_iter().flatten());
                let lost = self.dead.iter().map(|id| format!("the vote of {id}")).collect::<BTreeSet<_>>();
                let excused = missing.clone().all(|what| what.as_str().is_some_and(|what| lost.contains(what)));
                let is_sound =
                    said["findings"].as_array().is_some_and(Vec::is_empty) && said["lines"].as_u64() > Some(0);
                if is_sound && excused { Ok(()) } else { Err(said.to_string()) }
            });
        }
    }

    /// Starts the victim so that it will die in what comes next, and not before.
    fn arm(&mut self, victim: NodeId, situation: Situation, cause: Cause) -> Option<Trace> {
        let is_a_start = matches!(situation, Situation::Rejoin | Situation::Start);
        let trigger = self.cluster.path(&format!("trigger-{}", self.count));
        if let (Cause::Force(number), false) = (cause, is_a_start) {
            if situation == Situation::Takeover {
                self.cluster.kill(A);
            }
            let lines = self.cluster.path(&format!("trace-{}", self.count));
            let pid = self.cluster.process(victim).pid();
            let inject = format!("fdatasync:signal=KILL:when={number}");
            return Some(Trace::attach(pid, "fdatasync", &inject, &lines));
        }
        self.cluster.kill(victim);
        let arguments: &[&str] = match situation {
            Situation::Rejoin => {
                fs::remove_dir_all(self.cluster.data(victim)).expect("it was there");
                &["--rejoin"]
            }
            Situation::Start => {
                fill(&self.cluster, victim);
                self.filled.insert(victim);
                &["--history-keep", "256KiB", "--audit-keep", "256KiB"]
            }
            Situation::Advance | Situation::Retreat | Situation::Takeover | Situation::Stop => &[],
        };
        let mut command = self.cluster.node_command(victim, arguments);
        match cause {
            Cause::Point(..) if is_a_start => drop(command.env("CANARY_CRASH", cause.to_string())),
            Cause::Point(..) => drop(command.env("CANARY_CRASH", format!("{cause}@{}", trigger.display()))),
            Cause::Force(number) => {
                let inject = format!("fdatasync,fsync:signal=KILL:when={number}");
                command = trace::injected(&command, &inject, &self.cluster.data(victim));
            }
        }
        self.cluster.start_command(victim, command);
        if !is_a_start {
            self.cluster.wait_synchronized();
            if situation == Situation::Takeover {
                self.cluster.kill(A);
            }
            fs::write(trigger, "").expect("a file");
        }
        None
    }

    /// Asks for a change and waits until the victim serves it or is dead.
    fn change(&mut self, victim: NodeId, per_cent: &str) {
        let said = self.cluster.try_weight(per_cent);
        self.note(&said);
        let Some(version) = said.code.filter(|code| *code == 0).and_then(|_| said.json()["state"]["version"].as_u64())
        else {
            return;
        };
        self.until(victim, "the victim serves the change", |cluster| {
            Ok(cluster.state(victim)?["version"].as_u64().is_some_and(|served| served >= version))
        });
    }

    /// Waits until node-b decides in node-a's place, or the victim is dead.
    fn take_over(&mut self, victim: NodeId) {
        self.until(victim, "node-b has taken over", |cluster| {
            Ok(cluster.state(B)?["acting_coordinator"] == "node-b" && cluster.state(B)?["isolated"] == false)
        });
        if self.cluster.process(victim).is_running() {
            let said = self.cluster.try_weight("0");
            self.note(&said);
        }
    }

    fn until_it_takes_part(&mut self, victim: NodeId) {
        self.until(victim, "the victim takes part", |cluster| Ok(cluster.state(victim)?["isolated"] == false));
    }

    fn until(&mut self, victim: NodeId, what: &str, done: impl Fn(&Cluster) -> Result<bool, String>) {
        let cluster = &mut self.cluster;
        eventually(what, || {
            if !cluster.process(victim).is_running() {
                return Ok(());
            }
            match done(cluster) {
                Ok(true) => Ok(()),
                seen => Err(format!("{seen:?}")),
            }
        });
    }

    /// Stops the victim, if it is not dead yet: what it still has to do, it does then.
    fn end(&mut self, victim: NodeId) -> Fate {
        let mut running: Running = self.cluster.take(victim);
        if running.is_running() {
            running.signal(Signal::TERM);
        }
        let status = running.wait();
        match (status.signal(), status.code()) {
            (Some(signal), _) if signal == Signal::KILL.as_raw() => Fate::Died,
            (None, Some(0)) => Fate::Survived,
            _ => panic!("{victim} ended with {status}: {}", self.cluster.log(victim)),
        }
    }

    /// A change that must be decided.
    fn settle(&mut self, per_cent: &str) {
        eventually(&format!("{per_cent} % is decided"), || {
            let said = self.cluster.try_weight(per_cent);
            self.note(&said);
            if said.code == Some(0) { Ok(()) } else { Err(format!("{said:?}")) }
        });
    }

    /// Keeps what the operator was told for good.
    fn note(&mut self, said: &Said) {
        if said.code != Some(0) && said.code != Some(4) {
            return;
        }
        let told = said.json();
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        if said.code == Some(4) {
            self.aborted.extend(text(&told["txid"]));
            return;
        }
        let version = told["state"]["version"].as_u64().expect("a number");
        let txid = text(&told["state"]["txid"]).expect("a transaction");
        let before = self.committed.insert(version, txid.clone());
        assert!(before.is_none_or(|before| before == txid), "version {version} was confirmed for two changes");
    }

    /// Agreement, and that what was told is so: all nodes are at one version already.
    fn check(&mut self, after: &str) {
        for id in ALL {
            let history = self.cluster.get(id, "/history?limit=1000").expect("it answers").json();
            for line in history.as_array().expect("a list").iter().filter(|line| line["decision"] == "COMMIT") {
                let version = line["version"].as_u64().expect("a number");
                let txid = line["txid"].as_str().expect("a transaction").to_owned();
                assert!(!self.aborted.contains(&txid), "{after}: {txid} was answered with ABORT and {id} holds it");
                let before = self.decided.insert(version, txid.clone());
                assert!(before.is_none_or(|before| before == txid), "{after}: version {version} is two things");
            }
        }
        for (version, txid) in &self.committed {
            assert_eq!(self.decided.get(version), Some(txid), "{after}: version {version} was answered with COMMIT");
        }
        let newest = self.committed.keys().next_back().copied();
        let states = ALL.map(|id| self.cluster.state(id).expect("it answers")["version"].as_u64());
        assert!(states.iter().all(|version| *version >= newest), "{after}: {states:?} and {newest:?} was told");
    }
}

/// More of both records than 256 KiB.
fn fill(cluster: &Cluster, id: NodeId) {
    let lines = "{\"learned_at\":1}\n".repeat(3_000);
    for number in 1..10 {
        for record in ["history", "audit"] {
            fs::write(cluster.data(id).join(format!("{record}.{number}.jsonl")), &lines).expect("it is ours");
        }
    }
    fs::write(cluster.data(id).join("history.jsonl"), &lines).expect("it is ours");
}
