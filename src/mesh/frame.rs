//! The bytes between members.
//!
//! A frame is a length (`u32`, big-endian) and that many bytes. The first frame each way is a [`Greeting`] in JSON, so
//! that versions that differ in everything else can still tell each other so. Every later one is a sequence number and
//! a message in [postcard](https://postcard.jamesmunns.com/wire-format)'s encoding: a tenth of JSON's work, on the way of
//! every commit, and a third of its bytes, in every heartbeat.
//!
//! Lengths are checked before anything is allocated, sequence numbers go up by exactly one, and whatever is wrong ends
//! the connection: nothing here tries to resynchronize.

use bytes::{Buf, Bytes, BytesMut};
use format::Version as WireVersion;
use format::v5::greeting;
pub(crate) use format::v5::greeting::Nonce;
use format::{Invalid, messages};
use model::{Digest, Incarnation, NodeId, NodeSet, UnixMillis};
use service::Message;
use tls::Reason;

/// The longest frame. A routing state with its chain and votes of 26 members is under 64 KiB; the rest is room to grow.
pub(crate) const MAX_FRAME: usize = 1 << 20;
/// The longest greeting, all that a peer may send before it is admitted. A real one is under 1 KiB.
pub(crate) const MAX_GREETING: usize = 4 << 10;
/// The longest explanation taken from a peer's refusal, which goes into a log line.
const MAX_DETAIL: usize = 256;

const PREFIX: usize = 4;
/// The most bytes that a sequence number takes.
const MAX_SEQUENCE: usize = 10;

/// The first word of each side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// The dialer introduces itself to the node that it means to reach.
    Hello { to: NodeId, from: Introduction },
    /// The acceptor takes it in: the link is up.
    Welcome {
        /// The nonce of the hello that this answers.
        answers: Nonce,
        from: Introduction,
    },
    /// The acceptor does not, or no longer, want this connection.
    Reject {
        /// One of the stable words.
        reason: String,
        detail: String,
    },
}

/// Who a side is, beyond what its certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Introduction {
    /// The oldest version of the wire that it speaks.
    pub(crate) version: u16,
    /// The newest, where it is another.
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

impl<'a> From<&'a Greeting> for greeting::Greeting<'a> {
    fn from(said: &'a Greeting) -> Self {
        match said {
            Greeting::Hello { to, from } => Self::Hello { to: to.into(), from: from.into() },
            Greeting::Welcome { answers, from } => Self::Welcome { answers: *answers, from: from.into() },
            Greeting::Reject { reason, detail } => Self::Reject { reason: reason.into(), detail: detail.into() },
        }
    }
}

impl TryFrom<greeting::Greeting<'_>> for Greeting {
    type Error = Invalid;

    fn try_from(said: greeting::Greeting<'_>) -> Result<Self, Invalid> {
        Ok(match said {
            greeting::Greeting::Hello { to, from } => Self::Hello { to: to.try_into()?, from: from.try_into()? },
            greeting::Greeting::Welcome { answers, from } => Self::Welcome { answers, from: from.try_into()? },
            greeting::Greeting::Reject { reason, detail } => {
                Self::Reject { reason: reason.into(), detail: detail.into() }
            }
        })
    }
}

impl<'a> From<&'a Introduction> for greeting::Introduction<'a> {
    fn from(from: &'a Introduction) -> Self {
        let Introduction { version, newest, cluster, members, peers_digest, node, incarnation, nonce, clock } = from;
        Self {
            version: *version,
            newest: *newest,
            cluster: cluster.into(),
            members: (*members).into(),
            peers_digest: (*peers_digest).into(),
            node: node.into(),
            incarnation: incarnation.into(),
            nonce: *nonce,
            clock: clock.0,
        }
    }
}

impl TryFrom<greeting::Introduction<'_>> for Introduction {
    type Error = Invalid;

    fn try_from(from: greeting::Introduction<'_>) -> Result<Self, Invalid> {
        let greeting::Introduction { version, newest, cluster, members, peers_digest, node, incarnation, nonce, clock } =
            from;
        let (cluster, members, node) = (cluster.into(), members.try_into()?, node.try_into()?);
        let (peers_digest, incarnation, clock) = (peers_digest.into(), incarnation.into(), UnixMillis(clock));
        Ok(Self { version, newest, cluster, members, peers_digest, node, incarnation, nonce, clock })
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

/// A message as bytes of a version, not yet numbered. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Payload(Bytes, WireVersion);

impl Payload {
    /// Writes a message down, in the words of a version. Fails when the version has no words for it, or it would not
    /// fit into a frame.
    pub(crate) fn new(message: &Message, version: WireVersion) -> Result<Self, FrameError> {
        let bytes = messages::encode(message, version).map_err(|error| malformed(&error))?;
        let length = MAX_SEQUENCE + bytes.len();
        if length > MAX_FRAME {
            Err(FrameError::TooLarge { length, max: MAX_FRAME })
        } else {
            Ok(Self(bytes.into(), version))
        }
    }

    /// Its length in bytes.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }
}

/// A greeting as a frame.
pub(crate) fn encode_greeting(greeting: &Greeting) -> Vec<u8> {
    let json = serde_json::to_vec(&greeting::Greeting::from(greeting));
    let json = json.expect("a greeting has only string keys and cannot fail to serialize");
    let mut frame = Vec::with_capacity(PREFIX + json.len());
    put_prefix(&mut frame, json.len());
    frame.extend_from_slice(&json);
    frame
}

/// The sending end of a connection's frames.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    wire: WireVersion,
    sequence: u64,
}

impl Encoder {
    /// That of a connection on which this version is spoken.
    pub(crate) const fn new(wire: WireVersion) -> Self {
        Self { wire, sequence: 0 }
    }

    /// Appends the next frame to `out`; nothing for what was meant for an earlier connection, in another version.
    pub(crate) fn encode(&mut self, message: &Payload, out: &mut Vec<u8>) {
        if message.1 != self.wire {
            return;
        }
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
    /// The version of the messages, by the greetings.
    pub(crate) wire: WireVersion,
    sequence: u64,
}

impl Decoder {
    /// The greeting, once it is there in full. Fails when it is too long or is none.
    pub(crate) fn next_greeting(&mut self) -> Result<Option<Greeting>, FrameError> {
        let Some(length) = self.next_frame(MAX_GREETING)? else { return Ok(None) };
        let frame = &self.buffer[PREFIX..PREFIX + length];
        let form = serde_json::from_slice::<greeting::Greeting<'_>>(frame).map_err(|error| malformed(&error));
        let greeting = form.and_then(|form| form.try_into().map_err(|error: Invalid| malformed(&error)));
        self.buffer.advance(PREFIX + length);
        greeting.map(Some)
    }

    /// The next message, once it is there in full. Fails when the frame is too long, is none, or is not the one that
    /// was due.
    pub(crate) fn next_message(&mut self) -> Result<Option<Message>, FrameError> {
        let Some(length) = self.next_frame(MAX_FRAME)? else { return Ok(None) };
        let due = self.sequence + 1;
        let message = read(&self.buffer[PREFIX..PREFIX + length], due, self.wire);
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
fn read(frame: &[u8], due: u64, wire: WireVersion) -> Result<Message, FrameError> {
    let (got, rest) = postcard::take_from_bytes(frame).map_err(|error| malformed(&error))?;
    if got != due {
        return Err(FrameError::Sequence { due, got });
    }
    messages::decode(rest, wire).map_err(|error| malformed(&error))
}

fn malformed(error: &dyn ToString) -> FrameError {
    FrameError::Malformed(error.to_string())
}

#[cfg(test)]
pub(super) mod tests;
