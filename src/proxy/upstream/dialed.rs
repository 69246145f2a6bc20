//! Connections that know since when they are there, so that a failure on one tells whether it had been kept.

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Error;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use member::boottime;
use model::Time;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::net::TcpStream;

/// A connection, and since when it is there.
pub(crate) struct Dialed {
    stream: TokioIo<TcpStream>,
    since: Since,
}

#[derive(Clone, Copy)]
struct Since(Time);

impl Dialed {
    /// One that was made just now.
    pub(crate) fn now(stream: TokioIo<TcpStream>) -> Self {
        Self { stream, since: Since(boottime()) }
    }
}

/// Whether the upstream closed a connection that had been kept from before `asked`, and gave no answer: it did so in the
/// moment in which the connection was used, which says nothing about it.
pub(crate) fn was_closed_when_used(error: &Error, asked: Time) -> bool {
    let mut known = http::Extensions::new();
    if let Some(connection) = error.connect_info() {
        connection.get_extras(&mut known);
    }
    let kept = known.get::<Since>().is_some_and(|since| since.0 < asked);
    kept && is_closed(error)
}

fn is_closed(error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|source| source.downcast_ref::<hyper::Error>());
    cause.is_some_and(|cause| {
        let io = std::error::Error::source(cause).and_then(|source| source.downcast_ref::<io::Error>());
        let gone = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe, io::ErrorKind::UnexpectedEof];
        cause.is_incomplete_message() || cause.is_closed() || io.is_some_and(|io| gone.contains(&io.kind()))
    })
}

impl Connection for Dialed {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.since)
    }
}

impl Read for Dialed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Dialed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }
}
