//! A replay: a connection on which a request was sent already, for an HTTP client that is still to send it.

use crate::upstream::dialed::Wire;
use edge::Prefixed;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Takes a request and forgets it; gives the answer, but not before it was asked for: clients end a connection that
/// answers unasked.
pub(crate) struct Replay {
    stream: Prefixed<Wire>,
    asked: Asked,
}

enum Asked {
    /// Not yet; whoever reads is woken then.
    NotYet(Option<Waker>),
    Already,
}

impl Replay {
    /// A connection that is to answer what was sent on `stream`.
    pub(crate) const fn new(stream: Prefixed<Wire>) -> Self {
        Self { stream, asked: Asked::NotYet(None) }
    }
}

impl AsyncRead for Replay {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.asked {
            Asked::NotYet(reader) => {
                *reader = Some(context.waker().clone());
                Poll::Pending
            }
            Asked::Already => Pin::new(&mut self.stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Replay {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Asked::NotYet(Some(reader)) = std::mem::replace(&mut self.asked, Asked::Already) {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
