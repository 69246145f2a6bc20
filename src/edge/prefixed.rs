//! A connection of which something was read already.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that first gives what was read of it before.
#[derive(Debug)]
pub struct Prefixed<S> {
    stream: S,
    read: Vec<u8>,
    given: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sound,
    Broken,
}

impl<S> Prefixed<S> {
    /// `stream`, of which `read` was read already.
    pub const fn new(stream: S, read: Vec<u8>) -> Self {
        Self { stream, read, given: 0, state: State::Sound }
    }

    /// A stream on which an answer was begun that cannot be ended. It reads as ended and cannot be written to.
    pub const fn broken(stream: S) -> Self {
        Self { stream, read: Vec::new(), given: 0, state: State::Broken }
    }

    fn check(&self, _: &mut Context<'_>) -> io::Result<()> {
        match self.state {
            State::Sound => Ok(()),
            State::Broken => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client did not take an answer")),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        let left = &self.read[self.given..];
        if left.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..length]);
        self.given += length;
        if self.given == self.read.len() {
            (self.read, self.given) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    writes_after_check!();

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_was_read_comes_first() {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(b"llo").await.expect("the pipe is open");
        client.shutdown().await.expect("the pipe is open");
        let mut prefixed = Prefixed::new(server, b"he".to_vec());
        let mut one = [0];
        prefixed.read_exact(&mut one).await.expect("there is a byte");
        let mut rest = String::new();
        prefixed.read_to_string(&mut rest).await.expect("the rest is text");
        assert_eq!((&one, rest.as_str()), (b"h", "ello"));
        prefixed.write_all(b"back").await.expect("the pipe is open");
    }

    #[tokio::test]
    async fn a_broken_one_takes_and_gives_nothing() {
        let (_client, server) = tokio::io::duplex(64);
        let mut broken = Prefixed::broken(server);
        assert!(broken.write_all(b"x").await.is_err());
        assert!(broken.read_u8().await.is_err());
    }
}
