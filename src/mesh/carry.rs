//! Messages as bytes without a connection: each is the first and only frame of its own, so that a simulation can lose,
//! repeat and reorder what the very encoding between nodes makes of them.

use super::frame::{Decoder, Encoder, Payload};
use super::rules::check_sender;
use crate::commit::Message;
use crate::model::NodeId;

/// The bytes of a message.
pub(crate) fn pack(message: &Message) -> Result<Vec<u8>, String> {
    let payload = Payload::new(message).map_err(|error| error.to_string())?;
    let mut frame = Vec::with_capacity(payload.len() + 8);
    Encoder::default().encode(&payload, &mut frame);
    Ok(frame)
}

/// The message in these bytes, if `from` may send it.
pub(crate) fn unpack(from: NodeId, frame: &[u8]) -> Result<Message, String> {
    let mut decoder = Decoder::default();
    decoder.buffer.extend_from_slice(frame);
    let message = decoder.next_message().map_err(|error| error.to_string())?.ok_or("a frame was cut short")?;
    check_sender(from, &message).map_err(|refusal| refusal.to_string())?;
    Ok(message)
}
