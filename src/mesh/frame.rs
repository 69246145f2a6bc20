//! The bytes between members.
//!
//! A frame is a length (`u32`, big-endian) and that many bytes. The first frame each way is a [`Greeting`] in JSON, so
//! that versions that differ in everything else can still tell each other so. Every later one is a sequence number and
//! a message in [postcard](https://postcard.jamesmunns.com/wire-format)'s encoding: a tenth of JSON's work, on the way of
//! every commit, and a third of its bytes, in every heartbeat.
//!
//! Lengths are checked before anything is allocated, sequence numbers go up by exactly one, and whatever is wrong ends
//! the connection: nothing here tries to resynchronize.

use crate::commit::Message;
use crate::model::{Digest, Incarnation, NodeId, NodeSet, UnixMillis};
use crate::tls::Reason;
use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// The version of what is said after TLS. A member that speaks another is refused with a word that says so.
pub(crate) const WIRE_VERSION: u16 = 4;
/// The longest frame. A routing state with its chain and votes of 26 members is under 64 KiB; the rest is room to grow.
pub(crate) const MAX_FRAME: usize = 1 << 20;
/// The longest greeting, all that a peer may send before it is admitted. A real one is under 1 KiB.
pub(crate) const MAX_GREETING: usize = 4 << 10;
/// The longest explanation taken from a peer's refusal, which goes into a log line.
const MAX_DETAIL: usize = 256;

const PREFIX: usize = 4;
/// The most bytes that a sequence number takes.
const MAX_SEQUENCE: usize = 10;

/// What each side says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Greeting {
    /// The dialer introduces itself.
    Hello {
        /// The node that the dialer means to reach.
        to: NodeId,
        /// Who it is.
        #[serde(flatten)]
        from: Introduction,
    },
    /// The acceptor takes it in: the link is up.
    Welcome {
        /// The nonce of the hello that this answers.
        answers: Nonce,
        /// Who the acceptor is.
        #[serde(flatten)]
        from: Introduction,
    },
    /// The acceptor does not, or no longer, want this connection.
    Reject {
        /// One of the stable words.
        reason: String,
        /// For people.
        detail: String,
    },
}

/// Who a side is, beyond what its certificate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Introduction {
    /// The version of the protocol after TLS.
    pub(crate) version: u16,
    /// The trust domain.
    pub(crate) cluster: String,
    /// The configured members; they must be the same everywhere, or majorities would not meet.
    pub(crate) members: NodeSet,
    /// Over the members with their addresses, which may lawfully be written in different ways.
    pub(crate) peers_digest: Digest,
    /// The node; must be what its certificate says.
    pub(crate) node: NodeId,
    /// The life of its disk.
    pub(crate) incarnation: Incarnation,
    /// Random, new for each connection.
    pub(crate) nonce: Nonce,
    /// Its wall clock.
    pub(crate) clock: UnixMillis,
}

/// A random number that ties an answer to its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Nonce(Incarnation);

impl Nonce {
    pub(crate) const fn new(random: u64) -> Self {
        Self(Incarnation(random))
    }
}

impl Greeting {
    /// A refusal that fits a greeting, whatever the detail.
    pub(crate) fn reject(reason: Reason, detail: &str) -> Self {
        Self::Reject { reason: reason.to_string(), detail: printable(detail) }
    }
}

/// Text from elsewhere, cut to a length and without control characters.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(MAX_DETAIL).map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// Why bytes are not the frame that was due.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {length} bytes where at most {max} are allowed")]
    TooLarge { length: usize, max: usize },
    #[error("not a frame: {0}")]
    Malformed(String),
    #[error("frame {got} came where {due} was due")]
    Sequence { due: u64, got: u64 },
}

impl FrameError {
    pub(crate) const fn reason(&self) -> Reason {
        match self {
            Self::TooLarge { .. } => Reason::FrameTooLarge,
            Self::Malformed(_) => Reason::FrameMalformed,
            Self::Sequence { .. } => Reason::BadSequence,
        }
    }
}

/// A message as bytes, not yet numbered. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Payload(Bytes);

impl Payload {
    /// Writes a message down.
    ///
    /// # Errors
    /// When it would not fit into a frame.
    pub(crate) fn new(message: &Message) -> Result<Self, FrameError> {
        let bytes = postcard::to_stdvec(message).map_err(malformed)?;
        let length = MAX_SEQUENCE + bytes.len();
        if length > MAX_FRAME { Err(FrameError::TooLarge { length, max: MAX_FRAME }) } else { Ok(Self(bytes.into())) }
    }

    /// Its length in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }
}

/// A greeting as a frame.
pub(crate) fn encode_greeting(greeting: &Greeting) -> Vec<u8> {
    let json = serde_json::to_vec(greeting).expect("a greeting has only string keys and cannot fail to serialize");
    let mut frame = Vec::with_capacity(PREFIX + json.len());
    put_prefix(&mut frame, json.len());
    frame.extend_from_slice(&json);
    frame
}

/// The sending end of a connection's frames.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    sequence: u64,
}

impl Encoder {
    /// Appends the next frame to `out`.
    pub(crate) fn encode(&mut self, message: &Payload, out: &mut Vec<u8>) {
        self.sequence += 1;
        let mut room = [0; MAX_SEQUENCE];
        let number = postcard::to_slice(&self.sequence, &mut room).expect("it has room for every number");
        put_prefix(out, number.len() + message.len());
        out.extend_from_slice(number);
        out.extend_from_slice(&message.0);
    }
}

fn put_prefix(out: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("frames are far below 4 GiB");
    out.extend_from_slice(&length.to_be_bytes());
}

/// The receiving end of a connection's frames. Bytes come in through [`Decoder::buffer`].
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// What was received and not yet understood.
    pub(crate) buffer: BytesMut,
    sequence: u64,
}

impl Decoder {
    /// The greeting, once it is there in full.
    ///
    /// # Errors
    /// When it is too long or is none.
    pub(crate) fn next_greeting(&mut self) -> Result<Option<Greeting>, FrameError> {
        let Some(frame) = self.next_frame(MAX_GREETING)? else { return Ok(None) };
        serde_json::from_slice(&frame).map(Some).map_err(|error| FrameError::Malformed(error.to_string()))
    }

    /// The next message, once it is there in full.
    ///
    /// # Errors
    /// When the frame is too long, is none, or is not the one that was due.
    pub(crate) fn next_message(&mut self) -> Result<Option<Message>, FrameError> {
        let Some(frame) = self.next_frame(MAX_FRAME)? else { return Ok(None) };
        let (got, rest) = postcard::take_from_bytes(&frame).map_err(malformed)?;
        let due = self.sequence + 1;
        if got != due {
            return Err(FrameError::Sequence { due, got });
        }
        let (message, rest) = postcard::take_from_bytes(rest).map_err(malformed)?;
        if !rest.is_empty() {
            return Err(FrameError::Malformed(format!("{} bytes after the message", rest.len())));
        }
        self.sequence = due;
        Ok(Some(message))
    }

    fn next_frame(&mut self, max: usize) -> Result<Option<BytesMut>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
        if length > max {
            return Err(FrameError::TooLarge { length, max });
        }
        if self.buffer.len() < PREFIX + length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        Ok(Some(self.buffer.split_to(length)))
    }
}

fn malformed(error: postcard::Error) -> FrameError {
    FrameError::Malformed(error.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::commit::{Base, Hearing, Heartbeat, Proposal, Reason, Stage, Vote, Votes};
    use crate::model::{
        Actor, Ballot, Canary, Counts, Evidence, Link, Model, Octets, Outcome, Phase, Plan, Recent, Report, Rollout,
        RoutingState, Said, Signed, Span, Statement, Step, Summary, Testimony, Then, Time, TxId, Weight,
    };
    use proptest::prelude::*;
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
            standing: Default::default(),
            hears: vec![
                Hearing(node('b'), u32::try_from(second * 37 % 2_000).expect("small"), Default::default()),
                Hearing(node('c'), u32::try_from(second * 91 % 2_000).expect("small"), Default::default()),
            ],
        }))
    }

    fn aborted(text: &str) -> Message {
        let vote = crate::commit::Vote::Abort(crate::commit::Reason::Unhealthy(text.to_owned()));
        let txid = "node-a.00c0ffee00c0ffee.1.7".parse().expect("a txid");
        Message::Vote { txid, vote, evidence: Evidence::default() }
    }

    fn encode(messages: &[Message]) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::default();
        let frame = |message: &Message| {
            let mut out = Vec::new();
            encoder.encode(&Payload::new(message).expect("it fits"), &mut out);
            out
        };
        messages.iter().map(frame).collect()
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
        framed(&postcard::to_stdvec(&(number, aborted("x"))).expect("it fits"))
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
        let (plan, phase, why) = (Arc::new(plan), Phase::Ended(Outcome::RolledBack), "because".into());
        let approvals = serde_json::from_str(r#"{"1": ["operator/x", "operator/y"]}"#).expect("approvals");
        Rollout {
            started: 5,
            started_at: UnixMillis(7),
            plan,
            canary,
            stable,
            step: 1,
            epoch: 6,
            phase,
            why,
            approvals,
        }
    }

    fn report() -> Report {
        let counts = Counts {
            requests: 300,
            errors: 2,
            client_errors: 1,
            open: 7,
            latencies: vec![(1_000, 250), (300, 40), (70_000, 10)],
        };
        let ejected = Some("because".into());
        let recent = vec![Recent { second: 300, begun: 20, errors: 1, answers: 18, slow: 2 }];
        Report { epoch: 6, window: 1, open_ms: 70_000, stable: counts.clone(), canary: counts, recent, ejected }
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
        });
        let by = Actor { id: "operator/x".into(), serial: "0a".into(), remote: "127.0.0.1:1".into() };
        let votes: Votes = [(node('a'), Vote::Commit), (node('b'), Vote::Abort(Reason::BaseDiffers { has: 6 }))].into();
        let summary = Summary { requests: 300, errors: 1, p95_us: 70_000 };
        let evidence = [(node('a'), Evidence { stable: summary, canary: summary })].into();
        let proposal = Arc::new(Proposal {
            ballot,
            state: Arc::clone(&state),
            by: Some(by.clone()),
            votes: votes.clone(),
            evidence,
        });
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

    /// When this fails, members of two versions no longer understand each other: count [`WIRE_VERSION`] up.
    #[test]
    fn the_bytes_of_a_version_stay_as_they_are() {
        let bytes = encode(&all_kinds()).concat();
        let print = format!("{:08x}", crc32fast::hash(&bytes));
        assert_eq!((WIRE_VERSION, bytes.len(), print.as_str()), (4, 1869, "c1a33f90"));
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
        let wanted =
            |length: u32, max| Err(FrameError::TooLarge { length: usize::try_from(length).expect("64 bit"), max });
        let mut decoder = Decoder { buffer: u32::MAX.to_be_bytes()[..].into(), ..Decoder::default() };
        assert_eq!(decoder.next_message(), wanted(u32::MAX, MAX_FRAME).map(|()| None));
        let mut decoder = Decoder { buffer: 4097_u32.to_be_bytes()[..].into(), ..Decoder::default() };
        assert_eq!(decoder.next_greeting(), wanted(4097, MAX_GREETING).map(|()| None));
        assert!(matches!(Payload::new(&aborted(&"x".repeat(MAX_FRAME))), Err(FrameError::TooLarge { .. })));
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
        let malformed =
            |body: &[u8]| assert!(matches!(decode(&framed(body)), Err(FrameError::Malformed(_))), "{body:?}");
        malformed(b"");
        malformed(&[1]);
        malformed(&[1, 200]);
        malformed(&[0xff; 20]);
        // A vote whose reason is said to be four billion letters long, and one with a byte too many.
        let vote = postcard::to_stdvec(&(1_u64, aborted("x"))).expect("it fits");
        // Behind the text come six empty numbers of evidence.
        let text = vote.len() - 2 - 6;
        malformed(&[&vote[..text], &[0xff, 0xff, 0xff, 0xff, 0x0f], b"x"].concat());
        malformed(&[&vote[..], &[0]].concat());
        malformed(&[&vote[..text], &[1, 0xff]].concat());
    }

    #[test]
    fn members_that_cannot_be_are_refused() {
        let second = |json: &str| serde_json::from_str::<NodeId>(json).expect("a node");
        assert_eq!(postcard::from_bytes::<NodeId>(&[1]), Ok(second("\"node-b\"")));
        assert!(postcard::from_bytes::<NodeId>(&[26]).is_err());
        let set = |bits: u32| postcard::from_bytes::<NodeSet>(&postcard::to_stdvec(&bits).expect("a number"));
        assert_eq!(set(0b111), Ok(NodeSet::first(3)));
        assert!(set(1 << 26).is_err());
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
}
