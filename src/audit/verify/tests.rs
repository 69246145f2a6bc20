//! Three nodes with real certificates, two decisions, and every way to lie about them.

use super::*;
use issue::InitPlan;
use model::{Actor, Ballot, Host, Incarnation, NodeSet, Octets, Statement, TxId, Weight};
use service::{Canary, Change, Model, Plan, Step, WhenOpen};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tls::Signer;
use trust::NodeFiles;

struct World {
    directory: tempfile::TempDir,
    signers: BTreeMap<NodeId, Signer>,
    cluster: String,
    ca: Vec<CertificateDer<'static>>,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let host =
            |node: NodeId| -> Vec<Host> { vec![format!("127.0.0.{}", node.index() + 1).parse().expect("a host")] };
        let nodes = NodeSet::first(3).iter().map(|node| (node, host(node))).collect();
        let certs = directory.path().join("certs");
        issue::init(&InitPlan::new(certs.clone(), nodes)).expect("certificates");
        let files: Vec<NodeFiles> =
            NodeSet::first(3).iter().map(|node| NodeFiles::load(&certs, node).expect("files")).collect();
        let signers = NodeSet::first(3)
            .iter()
            .zip(&files)
            .map(|(node, files)| (node, Signer::new(files).expect("a key")))
            .collect();
        let (cluster, ca) = (files[0].bundle.trust_domain.clone(), files[0].ca.clone());
        Self { directory, signers, cluster, ca }
    }

    fn sign(&self, node: NodeId, said: Said) -> Signed {
        let statement = Statement { cluster: self.cluster.clone(), node, at: super::super::file::unix_millis(), said };
        let signer = &self.signers[&node];
        let (scheme, signature) = signer.sign(&signed_bytes(&statement)).expect("signed");
        Signed { statement, serial: signer.serial.clone(), scheme, signature: Octets(signature) }
    }

    /// The certificates of all, then two decisions: an advance that all voted for and two accepted, and a retreat.
    fn events(&self) -> Vec<Event> {
        let mut events: Vec<Event> = self
            .signers
            .iter()
            .map(|(node, signer)| {
                let der = Octets(signer.certificate.to_vec());
                Event::Certificate { of: *node, serial: signer.serial.clone(), der }
            })
            .collect();
        let base = RoutingState::initial("v1".parse().expect("a model"));
        let raised = state(&base, 1, 500);
        events.extend(NodeSet::first(3).iter().map(|node| self.vote(node, &raised, None)));
        events.extend([NodeId::A, node('b')].map(|node| self.accepted(node, &raised)));
        events.push(self.decided(NodeId::A, &raised, true));
        let lowered = state(&raised, 2, 0);
        events.extend([NodeId::A, node('c')].map(|node| self.accepted(node, &lowered)));
        events.push(self.decided(NodeId::A, &lowered, false));
        events
    }

    fn vote(&self, node: NodeId, state: &RoutingState, against: Option<&str>) -> Event {
        let (txid, version, digest) = (txid(state), state.version, state.digest());
        let against = against.map(str::to_owned);
        Event::Said { signed: self.sign(node, Said::Vote { txid, version, digest, against }) }
    }

    fn accepted(&self, node: NodeId, state: &RoutingState) -> Event {
        let (txid, version, digest) = (txid(state), state.version, state.digest());
        let members = NodeSet::first(3);
        Event::Said { signed: self.sign(node, Said::Accepted { ballot: BALLOT, txid, version, digest, members }) }
    }

    fn decided(&self, node: NodeId, state: &RoutingState, voted: bool) -> Event {
        let (txid, version, digest) = (txid(state), state.version, state.digest());
        let signed = self.sign(node, Said::Decided { ballot: BALLOT, txid, version, digest });
        let by = Actor { id: "operator/alice".into(), serial: "0a".into(), remote: "10.0.0.9:1".into() };
        let votes = if voted { [(NodeId::A, "commit".to_owned())].into() } else { BTreeMap::new() };
        Event::Decided { signed, by: Some(by), state: Box::new(state.clone()), votes }
    }

    fn verify(&self, text: &str, head: Option<Head>) -> Verification {
        verify(&[Source { name: "audit.jsonl".into(), text: text.into(), head }], &self.ca)
    }

    fn head(&self, text: &str) -> Head {
        let last = text.lines().last().expect("a line");
        let (seq, digest) = (Line::read(last).expect("a line").seq, hash(last).into());
        let signer = &self.signers[&NodeId::A];
        let (scheme, signature) = signer.sign(&Head::signed_bytes(NodeId::A.into(), seq, digest)).expect("signed");
        Head { seq, digest, serial: signer.serial.clone().into(), scheme, signature: signature.into() }
    }
}

const BALLOT: Ballot = Ballot { round: 1, node: NodeId::A, incarnation: Incarnation(1) };

fn node(letter: char) -> NodeId {
    NodeId::from_letter(letter).expect("a node")
}

fn txid(state: &RoutingState) -> TxId {
    state.txid.expect("a transaction")
}

fn state(base: &RoutingState, version: u64, basis_points: u16) -> RoutingState {
    let txid = TxId { node: NodeId::A, incarnation: Incarnation(1), epoch: 1, sequence: version };
    let model = Model { id: "v2".parse().expect("a model"), upstream: None };
    let weight = Weight::from_basis_points(basis_points).expect("a weight");
    let canary = Some(Canary { model, weight, salt: "s".into() });
    RoutingState { version, txid: Some(txid), canary, chain: base.extended_chain(), ..base.clone() }
}

/// The record of node-a with these events.
fn record(events: Vec<Event>) -> String {
    let (mut prev, mut text) = (Digest::default(), String::new());
    for (seq, event) in (1..).zip(events) {
        let line = Line { seq, prev, at: UnixMillis(seq), node: NodeId::A, event }.text();
        prev = hash(&line);
        text += &(line + "\n");
    }
    text
}

fn missing(verified: &Verification) -> Vec<&str> {
    verified.decisions.iter().flat_map(|decision| &decision.missing).map(String::as_str).collect()
}

#[test]
fn what_was_agreed_is_proved() {
    let world = World::new();
    let text = record(world.events());
    let verified = world.verify(&text, Some(world.head(&text)));
    assert_eq!((verified.findings.as_slice(), missing(&verified)), (&[][..], vec![]));
    assert!(verified.is_sound());
    let kinds: Vec<_> = verified.decisions.iter().map(|decision| decision.direction).collect();
    assert_eq!(kinds, [service::Direction::Advance, service::Direction::Retreat]);
}

#[test]
fn a_line_that_was_changed_dropped_or_moved_is_named() {
    let world = World::new();
    let text = record(world.events());
    let head = world.head(&text);
    let lines: Vec<&str> = text.lines().collect();
    let join = |lines: &[&str]| lines.join("\n") + "\n";
    for at in 0..lines.len() {
        let changed = lines[at].replace("\"at\":", "\"at\":1");
        let mut others = lines.clone();
        others[at] = &changed;
        let found = world.verify(&join(&others), Some(head.clone())).findings;
        assert!(
            found.iter().any(|finding| finding.what.starts_with(&format!("line {} was changed", at + 1))),
            "{found:?}"
        );

        let mut others = lines.clone();
        others.remove(at);
        let found = world.verify(&join(&others), Some(head.clone())).findings;
        let told = match at {
            0 => found.is_empty() || found.iter().any(|finding| finding.what.contains("is not on file")),
            at if at + 1 == lines.len() => found.iter().any(|finding| finding.what.contains("the end was dropped")),
            at => found.iter().any(|finding| finding.what == format!("line {} was dropped", at + 1)),
        };
        assert!(told, "{at}: {found:?}");

        if at > 0 {
            let mut others = lines.clone();
            others.swap(at - 1, at);
            let found = world.verify(&join(&others), Some(head.clone())).findings;
            assert!(found.iter().any(|finding| finding.what.contains("the order was changed")), "{at}: {found:?}");
        }
    }
    // The first line gone is told by where the record begins, as after a file that was put aside.
    let verified = world.verify(&join(&lines[1..]), Some(head));
    assert!(verified.notes[0].what.starts_with("the record begins with line 2"), "{:?}", verified.notes);
}

#[test]
fn a_record_that_was_made_up_proves_nothing() {
    let world = World::new();
    let events = world.events();
    let forge = |change: &dyn Fn(&mut Vec<Event>)| {
        let mut events = events.clone();
        change(&mut events);
        world.verify(&record(events), None)
    };
    // Places: 0–2 certificates, 3–5 votes, 6–7 acceptances, 8 decided, 9–10 acceptances, 11 decided.
    let without_vote = forge(&|events| drop(events.remove(5)));
    assert_eq!(missing(&without_vote), ["the vote of node-c"]);
    let minority = forge(&|events| drop(events.remove(7)));
    assert!(missing(&minority)[0].starts_with("acceptances of a majority: 2 of 3"), "{:?}", missing(&minority));
    let against = forge(&|events| {
        let Event::Decided { state, .. } = events[8].clone() else { panic!("a decision") };
        events.push(world.vote(node('c'), &state, Some("no")));
    });
    assert_eq!(missing(&against), ["the vote of node-c, which is ABORT: no"]);
    let anothers_word = forge(&|events| {
        if let Event::Said { signed } = &mut events[5] {
            signed.statement.node = node('b');
        }
    });
    assert!(anothers_word.findings[0].what.contains("not of node-b"), "{:?}", anothers_word.findings);
    let other_digest = forge(&|events| {
        if let Event::Said { signed } = &mut events[5]
            && let Said::Vote { digest, .. } = &mut signed.statement.said
        {
            *digest = Digest([1; 32]);
        }
    });
    assert_eq!(other_digest.findings[0].what, "the signature of node-c is wrong");
    assert_eq!(missing(&other_digest), ["the vote of node-c"]);
    let other_state = forge(&|events| {
        if let Event::Decided { state, .. } = &mut events[8] {
            state.canary.as_mut().expect("a canary").weight = Weight::FULL;
        }
    });
    assert_eq!(other_state.findings[0].what, "the state is not the one that node-a signed");
    // Taken for a retreat, it would need no votes; the state before it says what it is.
    let called_a_retreat = forge(&|events| {
        let Event::Decided { state, .. } = events[11].clone() else { panic!("a decision") };
        let again = self::state(&state, 3, 9_000);
        events.extend([NodeId::A, node('b')].map(|node| world.accepted(node, &again)));
        events.push(world.decided(NodeId::A, &again, false));
    });
    assert_eq!(missing(&called_a_retreat).len(), 3);
}

#[test]
fn certificates_of_others_and_contradictions_are_named() {
    let (world, other) = (World::new(), World::new());
    let text = record(other.events());
    let verified = world.verify(&text, None);
    assert!(!verified.findings.is_empty() && verified.decisions.is_empty());
    assert!(verified.findings.iter().all(|finding| finding.what.contains("is not good")), "{:?}", verified.findings);

    let mut events = world.events();
    let Event::Decided { state, .. } = events[11].clone() else { panic!("a decision") };
    let apart = RoutingState { timestamp: UnixMillis(9), ..*state };
    events.push(world.decided(NodeId::A, &apart, false));
    let verified = world.verify(&record(events), None);
    assert!(verified.findings.iter().any(|finding| finding.what.starts_with("version 2 has two states")));
}

#[test]
fn damage_is_told_and_nothing_panics() {
    let world = World::new();
    let text = record(world.events());
    assert!(world.verify("", None).is_sound());
    let torn = &text[..text.len() - 20];
    let verified = world.verify(torn, None);
    assert!(verified.findings.is_empty() && verified.notes[0].what.contains("cut short"), "{verified:?}");
    let nonsense = world.verify("{}\n\n[1]\n", None);
    assert_eq!(nonsense.findings.len(), 3);
    let path: PathBuf = world.directory.path().join("nothing.jsonl");
    assert!(Source::read(&path).is_err());
}

#[test]
fn a_line_of_a_later_version_is_named_as_one() {
    let world = World::new();
    let text = record(world.events());
    let newer = text.replacen("{\"seq\":2,", "{\"format\":3,\"unheard_of\":true,\"seq\":2,", 1);
    let verified = world.verify(&newer, None);
    let told = verified.findings.first().map(|finding| finding.what.as_str());
    assert_eq!(told, Some("it has format 3, this program reads up to 2: use a newer canary"));
}

#[test]
fn a_decision_of_a_state_with_approvals_is_read() {
    let world = World::new();
    let step = |percent: &str, approvals| Step {
        approvals,
        ..Step::new(Weight::from_percent(percent).expect("a weight"), Plan::HOLD)
    };
    let plan = Plan::of(vec![step("5", 0), step("20", 1)]).expect("a plan");
    let canary = Model { id: "v2".parse().expect("a model"), upstream: None };
    let start = Change::Start { canary, plan: Arc::new(plan), when_open: WhenOpen::Refuse };
    let mut state = RoutingState::initial("v1".parse().expect("a model"));
    for change in [start, Change::Approve { operator: "operator/alice".into() }] {
        let sequence = state.version + 1;
        let txid = TxId { node: NodeId::A, incarnation: Incarnation(1), epoch: 1, sequence };
        state = change.apply(&state, NodeSet::first(3), txid, UnixMillis(0)).expect("it follows");
    }
    assert!(state.rollout.as_ref().is_some_and(|rollout| !rollout.approvals.is_empty()));
    let text = record(vec![world.decided(NodeId::A, &state, true)]);
    let read = Line::read(&text).expect("a line that was written is read");
    assert_eq!(read.text(), text.trim_end());
}
