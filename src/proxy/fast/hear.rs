//! Listening to an upstream, and meanwhile to its client and to the node.

use crate::fast::relay::{Buffers, Side};
use crate::fast::request::LONGEST;
use crate::recording::Recording;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;

/// Room for an answer before it is read: most fit, and what fits is read by one call.
const FIRST_READ: usize = 4 * 1024;
/// Most of an answer's body that is read before it is written.
const PIECE: usize = 16 * 1024;

/// What of an answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// Its head. Until it is there, the server can take over.
    Head,
    /// More of its body.
    Body,
}

/// What was heard while waiting for an upstream.
pub(super) enum Said {
    /// More of the answer.
    Something,
    /// The end of the connection.
    Failed(io::Error),
    /// It has had its time.
    Nothing,
    /// The client went away.
    ClientGone,
    /// Nothing yet, and the node stops; only while the head is awaited.
    Stopping,
}

/// Waits for more of the answer.
pub(super) async fn hear<S: AsyncRead + Unpin>(
    upstream: &mut TcpStream,
    buffers: &mut Buffers,
    client: &mut Side<'_, S>,
    awaited: Awaited,
) -> Said {
    buffers.answer.reserve(if buffers.answer.is_empty() { FIRST_READ } else { PIECE });
    poll_fn(|context| {
        match poll_read(upstream, &mut buffers.answer, context) {
            Poll::Ready(Ok(0)) => {
                let early = io::Error::new(io::ErrorKind::UnexpectedEof, "connection closed before message completed");
                return Poll::Ready(Said::Failed(early));
            }
            Poll::Ready(Ok(_)) => return Poll::Ready(Said::Something),
            Poll::Ready(Err(error)) => return Poll::Ready(Said::Failed(error)),
            Poll::Pending => {}
        }
        if poll_gone(client, context).is_ready() {
            return Poll::Ready(Said::ClientGone);
        }
        if awaited == Awaited::Head && buffers.poll_stopping(context).is_ready() {
            return Poll::Ready(Said::Stopping);
        }
        buffers.limit.as_mut().poll(context).map(|()| Said::Nothing)
    })
    .await
}

/// Ready when the client has gone away. What it sends meanwhile is kept, as far as it is looked at.
pub(super) fn poll_gone<S: AsyncRead + Unpin>(client: &mut Side<'_, S>, context: &mut Context<'_>) -> Poll<()> {
    while client.input.len() < LONGEST {
        match poll_read(client.stream, client.input, context) {
            Poll::Ready(Ok(length)) if length > 0 => {}
            Poll::Ready(_) => return Poll::Ready(()),
            Poll::Pending => break,
        }
    }
    Poll::Pending
}

fn poll_read<S>(stream: &mut S, buffer: &mut Vec<u8>, context: &mut Context<'_>) -> Poll<io::Result<usize>>
where
    S: AsyncRead + Unpin,
{
    pin!(stream.read_buf(buffer)).poll(context)
}

/// Reads what is there of an answer whose client left, of which `left` bytes are to come: it may have been whole, or have
/// broken off, before that.
pub(super) fn read_out(upstream: &TcpStream, mut left: usize, recording: &mut Recording) {
    let mut piece = [0_u8; FIRST_READ];
    while left > 0 {
        match recv(upstream, &mut piece, RecvFlags::DONTWAIT) {
            Ok((length, _)) if length > 0 => left = left.saturating_sub(length),
            Err(Errno::WOULDBLOCK | Errno::INTR) => return,
            Ok(_) | Err(_) => return recording.on_failure(),
        }
    }
    recording.on_end();
}
