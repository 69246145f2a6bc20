use super::*;
use agreement::{Base, Hearing, Heartbeat, Readiness, Reason, Stage, Vote, Votes};
use model::{
    Actor, Ballot, Counts, Evidence, Octets, Provoked, Recent, Report, Said, Signed, Source, Statement, Summary,
    Testimony, Time, Told, TxId, Weight,
};
use proptest::prelude::*;
use service::{Canary, Link, Model, Outcome, Phase, Plan, Proposal, Rollout, RoutingState, Span, Step, Then};
use std::sync::Arc;

fn node(letter: char) -> NodeId {
    NodeId::from_letter(letter).expect("a letter")
}

fn heartbeat(second: u64) -> Message {
    let sent = |offset: u64| Time::from_micros(86_400_000_000 + 2_000_137 * second + offset);
    Message::Heartbeat(Box::new(Heartbeat {
        sent: sent(0),
        echo: Some(sent(98_765)),
        wants_echo: false,
        stage: Stage::Member,
        incarnation: Incarnation(0x00c0_ffee_1234_5678),
        committed: (12, Digest([0xab; 32])),
        accepted: 12,
        promise: Ballot { round: 3, node: NodeId::A, incarnation: Incarnation(0x00c0_ffee_1234_5678) },
        readiness: Default::default(),
        hears: vec![
            Hearing(node('b'), u32::try_from(second * 37 % 2_000).expect("small"), Default::default()),
            Hearing(node('c'), u32::try_from(second * 91 % 2_000).expect("small"), Default::default()),
        ],
    }))
}

fn aborted(text: &str) -> Message {
    let vote = agreement::Vote::Abort(agreement::Reason::Unhealthy(text.to_owned()));
    let txid = "node-a.00c0ffee00c0ffee.1.7".parse().expect("a txid");
    Message::Vote { txid, vote, evidence: Evidence::default() }
}

fn encode(messages: &[Message]) -> Vec<Vec<u8>> {
    encode_in(WireVersion::NEWEST, messages)
}

fn encode_in(version: WireVersion, messages: &[Message]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(version);
    let frame = |message: &Message| {
        let mut out = Vec::new();
        encoder.encode(&Payload::new(message, version).expect("it fits"), &mut out);
        out
    };
    messages.iter().map(frame).collect()
}

#[test]
fn what_was_meant_for_a_connection_before_is_not_said_in_another_version() {
    let [older, newer] =
        [WireVersion::V5, WireVersion::V6].map(|wire| Payload::new(&heartbeat(1), wire).expect("small"));
    let (mut encoder, mut out) = (Encoder::new(WireVersion::V5), Vec::new());
    encoder.encode(&newer, &mut out);
    assert!(out.is_empty());
    encoder.encode(&older, &mut out);
    assert_eq!(out, encode_in(WireVersion::V5, &[heartbeat(1)]).concat());
}

fn decode(bytes: &[u8]) -> Result<Vec<Message>, FrameError> {
    let mut decoder = Decoder { buffer: bytes.into(), ..Decoder::default() };
    let mut messages = Vec::new();
    while let Some(message) = decoder.next_message()? {
        messages.push(message);
    }
    Ok(messages)
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    put_prefix(&mut frame, body.len());
    frame.extend_from_slice(body);
    frame
}

fn numbered(number: u64) -> Vec<u8> {
    let Payload(message, _) = Payload::new(&aborted("x"), WireVersion::NEWEST).expect("it fits");
    framed(&[&postcard::to_stdvec(&number).expect("it fits"), &message[..]].concat())
}

#[test]
fn messages_arrive_as_they_were_sent() {
    let mut sent: Vec<Message> = (0..20).map(heartbeat).collect();
    sent.insert(5, aborted("short"));
    sent.insert(9, aborted(&"\u{1f600}".repeat(10_000)));
    assert_eq!(decode(&encode(&sent).concat()), Ok(sent));
}

fn rollout(canary: Model, stable: Model) -> Rollout {
    let weight = Weight::from_basis_points(2_000).expect("a fifth");
    let step = Step { then: Then::AwaitPromotion, ..Step::new(weight, Span(30_000)) };
    let whole = Step { approvals: 2, ..Step::new(Weight::FULL, Span(30_000)) };
    let mut plan = Plan::of(vec![step, whole]).expect("a plan");
    plan.smoke.path = Some("/ready".into());
    let (plan, phase, why) = (Arc::new(plan.without_news()), Phase::Ended(Outcome::RolledBack), "because".into());
    let approvals = [(1, ["operator/x", "operator/y"].map(String::from).into())].into_iter().collect();
    let (started_at, deadline) = (UnixMillis(7), None);
    Rollout { started: 5, started_at, plan, canary, stable, step: 1, epoch: 6, phase, why, approvals, deadline }
}

fn report() -> Report {
    let counts = Counts {
        requests: 299,
        errors: 2,
        client_errors: 1,
        open: 7,
        latencies: vec![(1_000, 250), (300, 40), (70_000, 10)],
        ..Counts::default()
    };
    let recent = vec![Recent { second: 300, begun: 20, errors: 1, answers: 18, slow: 2, ..Recent::default() }];
    let (stable, canary, ejected) = (counts.clone(), counts, Some("because".into()));
    Report { epoch: 6, window: 1, open_ms: 70_000, stable, canary, recent, ejected, ..Report::default() }
}

/// A report with all that version 5 has no words for.
pub(crate) fn full_report() -> Message {
    let address = "2001:db8::".parse().expect("an address");
    let counts = Counts {
        unknown: 9,
        redirects: 3,
        uncounted: 40,
        late: vec![(200_000, 2)],
        waits: vec![(150_000, 9)],
        sources: vec![Source { end: Provoked::Unknown, address, count: 7 }],
        ..report().canary
    };
    let recent = Recent { unknown: 1, redirects: 2, client_errors: 3, ..report().recent[0] };
    let told = Some(Box::new(Told { stable: counts.clone(), canary: counts.clone() }));
    Message::Report(Box::new(Report { canary: counts, told, recent: vec![recent], ..report() }))
}

fn testimony(txid: TxId, ballot: Ballot) -> Testimony {
    let digest = Digest([0xef; 32]);
    let said = [
        Said::Vote { txid, version: 7, digest, against: Some("because".into()) },
        Said::Accepted { ballot, txid, version: 7, digest, members: NodeSet::first(3) },
        Said::Decided { ballot, txid, version: 7, digest },
    ];
    let signed = said.map(|said| {
        let (cluster, at) = ("c-1.canary".into(), UnixMillis(1_800_000_000_000));
        let statement = Statement { cluster, node: node('a'), at, said };
        Signed { statement, serial: "0a".into(), scheme: 0x0403, signature: Octets(vec![1, 2, 3]) }
    });
    Testimony { certificate: Some(Octets(vec![0x30, 0x00])), signed: signed.into() }
}

/// One message of each kind, with everything in it that there can be.
pub(crate) fn all_kinds() -> Vec<Message> {
    let txid = "node-c.00c0ffee00c0ffee.3.300".parse().expect("a txid");
    let ballot = Ballot { round: 300, node: node('c'), incarnation: Incarnation(u64::MAX) };
    let model = |id: &str| Model { id: id.parse().expect("a model id"), upstream: Some(format!("http://{id}:1/")) };
    let weight = Weight::from_basis_points(2_000).expect("a fifth");
    let state = Arc::new(RoutingState {
        version: 7,
        txid: Some(txid),
        coordinator: node('c'),
        timestamp: UnixMillis(1_800_000_000_000),
        stable: model("v1"),
        canary: Some(Canary { model: model("v2"), weight, salt: "rollout-1".into() }),
        drained: NodeSet::EMPTY.with(node('z')),
        earlier: vec![model("v0")],
        rollout: Some(Arc::new(rollout(model("v2"), model("v1")))),
        chain: vec![Link { version: 6, txid, digest: Digest([0xab; 32]) }],
        wire: None,
    });
    let by = Actor { id: "operator/x".into(), serial: "0a".into(), remote: "127.0.0.1:1".into() };
    let votes: Votes = [(node('a'), Vote::Commit), (node('b'), Vote::Abort(Reason::BaseDiffers { has: 6 }))].into();
    let summary = Summary { requests: 300, errors: 1, p95_us: 70_000 };
    let evidence = [(node('a'), Evidence { stable: summary, canary: summary })].into();
    let proposal =
        Arc::new(Proposal { ballot, state: Arc::clone(&state), by: Some(by.clone()), votes: votes.clone(), evidence });
    let base = Base { version: 6, digest: Digest([0xcd; 32]) };
    vec![
        heartbeat(1),
        Message::Prepare { base, next: state, by: by.clone() },
        aborted("because"),
        Message::Abort { txid, version: 7, by, votes },
        Message::Campaign { ballot },
        Message::Promise { ballot, accepted: Some(Arc::clone(&proposal)) },
        Message::Accept { proposal: Arc::clone(&proposal) },
        Message::Accepted { ballot, version: 7 },
        Message::Reject { ballot, promised: Ballot::ZERO },
        Message::Decision { proposal },
        Message::Applied { version: 7 },
        Message::Report(Box::new(report())),
        Message::Testimony(Box::new(testimony(txid, ballot))),
    ]
}

#[test]
fn every_kind_of_message_arrives_as_it_was_sent() {
    let sent = all_kinds();
    assert_eq!(decode(&encode(&sent).concat()), Ok(sent));
}

/// A member that stops.
fn stopping() -> Vec<Message> {
    let Message::Heartbeat(mut leaving) = heartbeat(2) else { unreachable!("it is a heartbeat") };
    leaving.readiness = Readiness::Leaves;
    leaving.hears[0].2 = Readiness::Leaves;
    let txid = "node-a.00c0ffee00c0ffee.1.7".parse().expect("a txid");
    let by = Actor { id: "operator/x".into(), serial: "0a".into(), remote: "127.0.0.1:1".into() };
    let votes = [(node('a'), Vote::Abort(Reason::CoordinatorStops)), (node('b'), Vote::Commit)].into();
    vec![Message::Heartbeat(leaving), Message::Abort { txid, version: 7, by, votes }]
}

fn print(bytes: &[u8]) -> (usize, String) {
    (bytes.len(), format!("{:08x}", crc32fast::hash(bytes)))
}

/// When this fails, members of two versions no longer understand each other: make another version.
#[test]
fn the_bytes_of_a_version_stay_as_they_are() {
    let pinned = |length, print: &str| (length, print.to_owned());
    assert_eq!(print(&encode_in(WireVersion::V5, &all_kinds()).concat()), pinned(1869, "c1a33f90"));
    let all = [all_kinds(), stopping()].concat();
    assert_eq!(print(&encode_in(WireVersion::V5, &all).concat()), pinned(2001, "ee75627f"));
    let all = [all, vec![full_report()]].concat();
    assert_eq!(print(&encode_in(WireVersion::V6, &all).concat()), pinned(2301, "45dc1730"));
}

/// Whoever speaks one version only names no newest.
#[test]
fn a_greeting_names_its_newest_version_where_there_are_two() {
    let greeting = |newest| Greeting::Welcome {
        answers: Nonce::new(1),
        from: Introduction {
            version: 5,
            newest,
            cluster: "c-1.canary".into(),
            members: NodeSet::first(3),
            peers_digest: Digest([0; 32]),
            node: NodeId::A,
            incarnation: Incarnation(1),
            nonce: Nonce::new(2),
            clock: UnixMillis(3),
        },
    };
    let said = |newest| {
        let frame = encode_greeting(&greeting(newest));
        let mut decoder = Decoder { buffer: frame[..].into(), ..Decoder::default() };
        assert_eq!(decoder.next_greeting(), Ok(Some(greeting(newest))));
        String::from_utf8(frame[PREFIX..].to_vec()).expect("JSON")
    };
    let (one, two) = (said(None), said(Some(6)));
    assert!(!one.contains("newest") && two.replacen("\"newest\":6,", "", 1) == one, "{two} {one}");
}

#[test]
fn a_heartbeat_is_small() {
    let frames = encode(&(0..1_000).map(heartbeat).collect::<Vec<_>>());
    let longest = frames.iter().map(Vec::len).max().unwrap_or_default();
    // Two such frames in 2 s, with the headers of TCP, IP and TLS, and two acknowledgements: under 330 bytes/s.
    assert!(longest <= 120, "{longest} bytes");
}

#[test]
fn a_frame_is_understood_once_its_last_byte_is_there() {
    let frame = encode(&[heartbeat(1)]).concat();
    let mut decoder = Decoder::default();
    for (position, byte) in frame.iter().enumerate() {
        assert_eq!(decoder.next_message(), Ok(None), "after {position} bytes");
        decoder.buffer.extend_from_slice(&[*byte]);
    }
    assert_eq!(decoder.next_message(), Ok(Some(heartbeat(1))));
}

#[test]
fn lengths_are_refused_before_anything_is_allocated() {
    let wanted = |length: u32, max| Err(FrameError::TooLarge { length: usize::try_from(length).expect("64 bit"), max });
    let mut decoder = Decoder { buffer: u32::MAX.to_be_bytes()[..].into(), ..Decoder::default() };
    assert_eq!(decoder.next_message(), wanted(u32::MAX, MAX_FRAME).map(|()| None));
    let mut decoder = Decoder { buffer: 4097_u32.to_be_bytes()[..].into(), ..Decoder::default() };
    assert_eq!(decoder.next_greeting(), wanted(4097, MAX_GREETING).map(|()| None));
    assert!(matches!(
        Payload::new(&aborted(&"x".repeat(MAX_FRAME)), WireVersion::NEWEST),
        Err(FrameError::TooLarge { .. })
    ));
}

#[test]
fn frames_left_out_repeated_or_reordered_are_refused() {
    let frames = encode(&[aborted("a"), aborted("b"), aborted("c")]);
    let sequence = |due, got| Err(FrameError::Sequence { due, got });
    assert_eq!(decode(&[numbered(1), numbered(3)].concat()), sequence(2, 3));
    assert_eq!(decode(&[numbered(1), numbered(1)].concat()), sequence(2, 1));
    assert_eq!(decode(&numbered(0)), sequence(1, 0));
    assert_eq!(decode(&[frames[0].as_slice(), &frames[2]].concat()), sequence(2, 3));
}

#[test]
fn what_claims_more_than_it_brings_is_refused() {
    let malformed = |body: &[u8]| assert!(matches!(decode(&framed(body)), Err(FrameError::Malformed(_))), "{body:?}");
    malformed(b"");
    malformed(&[1]);
    malformed(&[1, 200]);
    malformed(&[0xff; 20]);
    // A vote whose reason is said to be four billion letters long, and one with a byte too many.
    let vote = numbered(1).split_off(PREFIX);
    // Behind the text come six empty numbers of evidence.
    let text = vote.len() - 2 - 6;
    malformed(&[&vote[..text], &[0xff, 0xff, 0xff, 0xff, 0x0f], b"x"].concat());
    malformed(&[&vote[..], &[0]].concat());
    malformed(&[&vote[..text], &[1, 0xff]].concat());
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = decode(&bytes);
        let mut decoder = Decoder { buffer: bytes[..].into(), ..Decoder::default() };
        prop_assert!(!matches!(decoder.next_greeting(), Ok(Some(_))));
    }

    #[test]
    fn garbage_in_a_proper_frame_never_panics(body in proptest::collection::vec(any::<u8>(), 0..500)) {
        let _ = decode(&framed(&[&[1], &body[..]].concat()));
    }

    #[test]
    fn a_flipped_bit_never_panics(second in 0_u64..1_000, position in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut frames = encode(&[heartbeat(second), heartbeat(second + 1)]).concat();
        let position = position.index(frames.len());
        frames[position] ^= 1_u8 << bit;
        let _ = decode(&frames);
    }

    #[test]
    fn a_frame_cut_short_is_not_a_message(second in 0_u64..1_000, cut in any::<prop::sample::Index>()) {
        let frames = encode(&[heartbeat(second), heartbeat(second + 1)]);
        let second_frame = &frames[1][..cut.index(frames[1].len())];
        prop_assert_eq!(decode(&[&frames[0], second_frame].concat()).map(|messages| messages.len()), Ok(1));
    }

    #[test]
    fn any_text_survives(texts in proptest::collection::vec(".{0,200}", 1..10)) {
        let sent: Vec<Message> = texts.iter().map(|text| aborted(text)).collect();
        prop_assert_eq!(decode(&encode(&sent).concat()), Ok(sent));
    }
}
