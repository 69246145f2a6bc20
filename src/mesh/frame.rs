//! The bytes between members.
//!
//! A frame is a length (`u32`, big-endian) and that many bytes. The first frame each way is a [`Greeting`] in JSON, so
//! that versions that differ in everything else can still tell each other so. Every later one is a sequence number and
//! a message in [postcard](https://postcard.jamesmunns.com/wire-format)'s encoding: a tenth of JSON's work, on the way of
//! every commit, and a third of its bytes, in every heartbeat.
//!
//! Lengths are checked before anything is allocated, sequence numbers go up by exactly one, and whatever is wrong ends
//! the connection: nothing here tries to resynchronize.

use super::version::WireVersion;
use bytes::{Buf, Bytes, BytesMut};
use model::{Digest, Incarnation, NodeId, NodeSet, UnixMillis};
use serde::{Deserialize, Serialize};
use service::Message;
use tls::Reason;

/// The longest frame. A routing state with its chain and votes of 26 members is under 64 KiB; the rest is room to grow.
pub(crate) const MAX_FRAME: usize = 1 << 20;
/// The longest greeting, all that a peer may send before it is admitted. A real one is under 1 KiB.
pub(crate) const MAX_GREETING: usize = 4 << 10;
/// The longest explanation taken from a peer's refusal, which goes into a log line.
const MAX_DETAIL: usize = 256;

const PREFIX: usize = 4;
/// Room for most messages, in bytes, so that few have to be moved while they are written down.
const USUAL: usize = 512;
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
    /// The oldest version of the wire that it speaks.
    pub(crate) version: u16,
    /// The newest, where it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) newest: Option<u16>,
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
    /// Writes a message down, in the words of a version.
    ///
    /// # Errors
    /// When it would not fit into a frame.
    pub(crate) fn new(message: &Message, version: WireVersion) -> Result<Self, FrameError> {
        let bytes = match version {
            WireVersion::V5 if is_marked(message) => {
                return Err(FrameError::Malformed("version 5 has no words for a marked state".into()));
            }
            WireVersion::V5 | WireVersion::V6 => written(message),
        };
        let bytes = bytes.map_err(malformed)?;
        let length = MAX_SEQUENCE + bytes.len();
        if length > MAX_FRAME { Err(FrameError::TooLarge { length, max: MAX_FRAME }) } else { Ok(Self(bytes.into())) }
    }

    /// Its length in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }
}

/// Whether a state in the message has the mark of a version of the wire.
fn is_marked(message: &Message) -> bool {
    let state = match message {
        Message::Prepare { next, .. } => Some(next),
        Message::Accept { proposal } | Message::Decision { proposal } => Some(&proposal.state),
        Message::Promise { accepted, .. } => accepted.as_ref().map(|proposal| &proposal.state),
        Message::Heartbeat(_)
        | Message::Vote { .. }
        | Message::Abort { .. }
        | Message::Campaign { .. }
        | Message::Accepted { .. }
        | Message::Reject { .. }
        | Message::Applied { .. }
        | Message::Report(_)
        | Message::Testimony(_) => None,
    };
    state.is_some_and(|state| state.wire.is_some())
}

fn written(message: &Message) -> postcard::Result<Vec<u8>> {
    postcard::serialize_with_flavor(message, Written(Vec::with_capacity(USUAL)))
}

/// Where a message is written down: postcard's own vector takes in byte after byte also where it is given many.
struct Written(Vec<u8>);

impl postcard::ser_flavors::Flavor for Written {
    type Output = Vec<u8>;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
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
        let Some(length) = self.next_frame(MAX_GREETING)? else { return Ok(None) };
        let greeting = serde_json::from_slice(&self.buffer[PREFIX..PREFIX + length]);
        self.buffer.advance(PREFIX + length);
        greeting.map(Some).map_err(|error| FrameError::Malformed(error.to_string()))
    }

    /// The next message, once it is there in full.
    ///
    /// # Errors
    /// When the frame is too long, is none, or is not the one that was due.
    pub(crate) fn next_message(&mut self) -> Result<Option<Message>, FrameError> {
        let Some(length) = self.next_frame(MAX_FRAME)? else { return Ok(None) };
        let due = self.sequence + 1;
        let message = read(&self.buffer[PREFIX..PREFIX + length], due);
        self.buffer.advance(PREFIX + length);
        let message = message?;
        self.sequence = due;
        Ok(Some(message))
    }

    /// The length of the next frame, whose bytes follow the prefix at the front of the buffer, once all of it is there.
    fn next_frame(&self, max: usize) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
        if length > max {
            return Err(FrameError::TooLarge { length, max });
        }
        Ok((self.buffer.len() >= PREFIX + length).then_some(length))
    }
}

/// The message in a frame, if it is the one that is due.
fn read(frame: &[u8], due: u64) -> Result<Message, FrameError> {
    let (got, rest) = postcard::take_from_bytes(frame).map_err(malformed)?;
    if got != due {
        return Err(FrameError::Sequence { due, got });
    }
    let (message, rest) = postcard::take_from_bytes(rest).map_err(malformed)?;
    if !rest.is_empty() {
        return Err(FrameError::Malformed(format!("{} bytes after the message", rest.len())));
    }
    Ok(message)
}

fn malformed(error: postcard::Error) -> FrameError {
    FrameError::Malformed(error.to_string())
}

#[cfg(test)]
pub(super) mod tests;
