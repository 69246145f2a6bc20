//! Messages as bytes without a connection: each is the first and only frame of its own, so that a simulation can lose,
//! repeat and reorder what the very encoding between nodes makes of them. The first byte says in which version of the wire.

use super::frame::{Decoder, Encoder, Payload};
use super::rules::check_sender;
use bytes::{Buf, Bytes, BytesMut};
use format::Version as WireVersion;
use model::NodeId;
use service::Message;

/// What a frame takes beside the message: its length, and the number 1.
const AROUND: usize = 6;

/// The bytes of a message in this version of the wire.
pub fn pack(message: &Message, wire: WireVersion) -> Result<Bytes, String> {
    let payload = Payload::new(message, wire).map_err(|error| error.to_string())?;
    let mut frame = Vec::with_capacity(payload.len() + AROUND);
    frame.push(u8::from(wire == WireVersion::V6));
    Encoder::new(wire).encode(&payload, &mut frame);
    Ok(frame.into())
}

/// The message in these bytes, if `from` may send it.
pub fn unpack(from: NodeId, frame: Bytes) -> Result<Message, String> {
    let mut decoder = Decoder::default();
    decoder.buffer = frame.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&*shared));
    decoder.wire = if decoder.buffer.first() == Some(&0) { WireVersion::V5 } else { WireVersion::V6 };
    decoder.buffer.advance(decoder.buffer.len().min(1));
    let message = decoder.next_message().map_err(|error| error.to_string())?.ok_or("a frame was cut short")?;
    check_sender(from, &message).map_err(|refusal| refusal.to_string())?;
    Ok(message)
}
