//! The bytes between members.
//!
//! A frame is a length (`u32`, big-endian) and that many bytes. The first frame each way is a [`Greeting`] in JSON.
//! Every later one is an encoding byte and a body: JSON as it is, or the same JSON as an LZ4 block whose dictionary is
//! the body of the frame before. Heartbeats repeat nearly all of the one before, and that halves what the steady state
//! costs. Nothing secret travels in a frame, so its compressed length gives nothing away.
//!
//! Lengths are checked before anything is allocated, sequence numbers go up by exactly one, and whatever is wrong ends
//! the connection: nothing here tries to resynchronize.

use crate::commit::Message;
use crate::model::{Digest, Incarnation, NodeId, NodeSet, UnixMillis};
use crate::tls::Reason;
use bytes::{Buf, BytesMut};
use serde::{Deserialize, Serialize};

/// The version of what is said after TLS. A member that speaks another is refused with a word that says so.
pub(crate) const WIRE_VERSION: u16 = 1;
/// The longest frame. A routing state with its chain and votes of 26 members is under 64 KiB; the rest is room to grow.
pub(crate) const MAX_FRAME: usize = 1 << 20;
/// The longest greeting, all that a peer may send before it is admitted. A real one is under 1 KiB.
pub(crate) const MAX_GREETING: usize = 4 << 10;
/// Bodies up to this length are compressed and kept as the next dictionary: all heartbeats and nearly all proposals.
/// It bounds what a compressed body can expand to, and must fit the `u16` that announces it.
const MAX_DICTIONARY: usize = 16 << 10;
/// The longest explanation taken from a peer's refusal, which goes into a log line.
const MAX_DETAIL: usize = 256;

const PREFIX: usize = 4;
/// The encoding byte, the sequence number and the braces around a message take fewer bytes than this.
const ENVELOPE: usize = 40;
const PLAIN: u8 = 0;
const REPEATING: u8 = 1;

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

/// A message as JSON, not yet numbered.
#[derive(Clone, Debug)]
pub(crate) struct Payload(String);

impl Payload {
    /// Writes a message down.
    ///
    /// # Errors
    /// When it would not fit into a frame.
    pub(crate) fn new(message: &Message) -> Result<Self, FrameError> {
        let json = serde_json::to_string(message).map_err(|error| FrameError::Malformed(error.to_string()))?;
        let length = json.len() + ENVELOPE;
        if length > MAX_FRAME { Err(FrameError::TooLarge { length, max: MAX_FRAME }) } else { Ok(Self(json)) }
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
    dictionary: Vec<u8>,
}

impl Encoder {
    /// Appends the next frame to `out`.
    pub(crate) fn encode(&mut self, message: &Payload, out: &mut Vec<u8>) {
        self.sequence += 1;
        let body = format!("{{\"n\":{},\"m\":{}}}", self.sequence, message.0).into_bytes();
        if body.len() > MAX_DICTIONARY {
            put_prefix(out, 1 + body.len());
            out.push(PLAIN);
            out.extend_from_slice(&body);
            return;
        }
        let packed = lz4_flex::block::compress_with_dict(&body, &self.dictionary);
        if packed.len() + 2 < body.len() {
            put_prefix(out, 1 + 2 + packed.len());
            out.push(REPEATING);
            let length = u16::try_from(body.len()).expect("a body in reach of the dictionary fits u16");
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&packed);
        } else {
            put_prefix(out, 1 + body.len());
            out.push(PLAIN);
            out.extend_from_slice(&body);
        }
        self.dictionary = body;
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
    dictionary: Vec<u8>,
}

#[derive(Deserialize)]
struct Incoming {
    n: u64,
    m: Message,
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
        let Some(mut frame) = self.next_frame(MAX_FRAME)? else { return Ok(None) };
        if frame.is_empty() {
            return Err(FrameError::Malformed("it is empty".into()));
        }
        let body = match frame.get_u8() {
            PLAIN => frame.to_vec(),
            REPEATING => self.expand(&frame)?,
            other => return Err(FrameError::Malformed(format!("there is no encoding {other}"))),
        };
        let Incoming { n, m } =
            serde_json::from_slice(&body).map_err(|error| FrameError::Malformed(error.to_string()))?;
        let due = self.sequence + 1;
        if n != due {
            return Err(FrameError::Sequence { due, got: n });
        }
        self.sequence = due;
        if body.len() <= MAX_DICTIONARY {
            self.dictionary = body;
        }
        Ok(Some(m))
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

    fn expand(&self, packed: &[u8]) -> Result<Vec<u8>, FrameError> {
        let wrong = |why: String| FrameError::Malformed(format!("it cannot be expanded: {why}"));
        let Some((length, block)) = packed.split_first_chunk::<2>() else {
            return Err(wrong("it is cut short".into()));
        };
        let length = usize::from(u16::from_be_bytes(*length));
        if length > MAX_DICTIONARY {
            return Err(FrameError::TooLarge { length, max: MAX_DICTIONARY });
        }
        let mut body = vec![0; length];
        let written = lz4_flex::block::decompress_into_with_dict(block, &mut body, &self.dictionary)
            .map_err(|error| wrong(error.to_string()))?;
        if written == length { Ok(body) } else { Err(wrong(format!("{written} bytes instead of {length}"))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::{Hearing, Heartbeat, Stage};
    use crate::model::{Ballot, Time};
    use proptest::prelude::*;

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
        Message::Vote { txid, vote, evidence: crate::commit::Evidence::default() }
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

    fn plain(json: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        put_prefix(&mut frame, 1 + json.len());
        frame.push(PLAIN);
        frame.extend_from_slice(json);
        frame
    }

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let mut sent: Vec<Message> = (0..20).map(heartbeat).collect();
        sent.insert(5, aborted("short"));
        sent.insert(9, aborted(&"\u{1f600}".repeat(MAX_DICTIONARY)));
        assert_eq!(decode(&encode(&sent).concat()), Ok(sent));
    }

    #[test]
    fn a_heartbeat_that_follows_another_is_small() {
        let frames = encode(&(0..100).map(heartbeat).collect::<Vec<_>>());
        let longest = frames.iter().skip(1).map(Vec::len).max().unwrap_or_default();
        // Two such frames in 2 s, with the headers of TCP, IP and TLS, and two acknowledgements: under 330 bytes/s.
        assert!(longest <= 120, "{longest} bytes; the first has {}", frames[0].len());
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
        let plain_frame = |n: u64| {
            plain(format!("{{\"n\":{n},\"m\":{}}}", serde_json::to_string(&aborted("x")).expect("JSON")).as_bytes())
        };
        assert_eq!(decode(&[plain_frame(1), plain_frame(3)].concat()), sequence(2, 3));
        assert_eq!(decode(&[plain_frame(1), plain_frame(1)].concat()), sequence(2, 1));
        assert_eq!(decode(&plain_frame(0)), sequence(1, 0));
        // Frames that lean on one that is missing are noticed in one way or another.
        assert!(decode(&[frames[0].as_slice(), &frames[2]].concat()).is_err());
    }

    #[test]
    fn what_expands_beyond_its_word_is_refused() {
        let block = lz4_flex::block::compress_with_dict(&[b' '; 60_000], b"");
        for length in [0_u16, 100, 16_384, 16_385, u16::MAX] {
            let mut frame = Vec::new();
            put_prefix(&mut frame, 3 + block.len());
            frame.push(REPEATING);
            frame.extend_from_slice(&length.to_be_bytes());
            frame.extend_from_slice(&block);
            assert!(decode(&frame).is_err(), "{length}");
        }
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let deep = format!("{{\"n\":1,\"m\":{}", "[".repeat(100_000));
        assert!(matches!(decode(&plain(deep.as_bytes())), Err(FrameError::Malformed(_))));
        let deep = format!("{{\"n\":1,\"x\":{}1{}}}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
        assert!(matches!(decode(&plain(deep.as_bytes())), Err(FrameError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn garbage_never_panics_and_is_never_a_message(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            prop_assert!(!matches!(decode(&bytes), Ok(messages) if !messages.is_empty()));
            let mut decoder = Decoder { buffer: bytes[..].into(), ..Decoder::default() };
            prop_assert!(!matches!(decoder.next_greeting(), Ok(Some(_))));
        }

        #[test]
        fn garbage_in_a_proper_frame_never_panics(
            encoding in 0_u8..3,
            body in proptest::collection::vec(any::<u8>(), 0..500),
        ) {
            let mut frame = encode(&[heartbeat(1)]).concat();
            put_prefix(&mut frame, 1 + body.len());
            frame.push(encoding);
            frame.extend_from_slice(&body);
            prop_assert!(decode(&frame).is_err());
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
