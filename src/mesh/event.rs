//! The events that the mesh hands to its owner.

use format::Version as WireVersion;
use model::NodeId;
use service::Message;

/// What happens on the mesh.
#[derive(Debug)]
pub enum Event {
    /// Messages to this peer are being delivered from now on, in this version of the wire, the newest that both speak.
    Up(NodeId, WireVersion),
    /// They no longer are.
    Down(NodeId),
    /// This peer, by its certificate, says something.
    Message(NodeId, Message),
}
