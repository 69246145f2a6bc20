//! Connections that know since when they are there, so that a failure on one tells whether it had been kept; and that
//! are read to their end, whatever becomes of what is written.

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Error;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use member::boottime;
use model::Time;
use rustix::net::{Shutdown, shutdown};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// A connection, as an HTTP client has it.
pub(crate) struct Dialed(TokioIo<Wire>);

/// The same, as those have it who wait for an answer.
#[derive(Clone)]
pub(crate) struct Line(Arc<Shared>);

struct Shared {
    stream: TcpStream,
    since: Time,
    is_cut: AtomicBool,
}

/// What is read and written.
///
/// A model may answer before it has all of a request, and close. The client of HTTP gives up at the first write that
/// fails, with the answer unread; so a write that fails is none, and how it stands with the connection is what is read.
pub(crate) struct Wire {
    line: Line,
    /// Why nothing can be written any more.
    deaf: Option<io::ErrorKind>,
}

impl Dialed {
    /// One that was made just now.
    pub(crate) fn now(stream: TokioIo<TcpStream>) -> Self {
        Self(TokioIo::new(Wire::new(stream.into_inner())))
    }
}

impl Line {
    /// That of a connection that is established.
    pub(crate) fn of(connected: &Connected) -> Option<Self> {
        let mut known = http::Extensions::new();
        connected.get_extras(&mut known);
        known.remove()
    }

    /// Ends the connection: nothing more of a request goes to a model that has answered.
    pub(crate) fn cut(&self) {
        self.0.is_cut.store(true, Ordering::Relaxed);
        // It fails where the model was first.
        let _ = shutdown(&self.0.stream, Shutdown::Both);
    }

    /// Whether the model has closed its side, or reset the connection: all that it will ever say is here.
    pub(crate) fn has_ended(&self) -> bool {
        let ready = pin!(self.0.stream.ready(Interest::READABLE));
        let ready = ready.poll(&mut Context::from_waker(Waker::noop()));
        matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed() || ready.is_error())
    }
}

/// Whether the upstream closed a connection that had been kept from before `asked`, and gave no answer: it did so in the
/// moment in which the connection was used, which says nothing about it.
pub(crate) fn was_closed_when_used(error: &Error, asked: Time) -> bool {
    let kept = error.connect_info().and_then(Line::of).is_some_and(|line| line.0.since < asked);
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

impl Wire {
    /// The connection of a stream that is here now.
    pub(crate) fn new(stream: TcpStream) -> Self {
        let shared = Shared { stream, since: boottime(), is_cut: AtomicBool::new(false) };
        Self { line: Line(Arc::new(shared)), deaf: None }
    }

    pub(crate) fn line(&self) -> Line {
        self.line.clone()
    }

    /// What is left of a write: bytes that nobody will read are as good as written, until the line is cut.
    fn written(&mut self, written: io::Result<usize>, length: usize) -> io::Result<usize> {
        let written = match self.deaf {
            Some(kind) => Err(kind.into()),
            None => written,
        };
        let Err(error) = written else { return written };
        if self.line.0.is_cut.load(Ordering::Relaxed) {
            return Err(error);
        }
        self.deaf = Some(error.kind());
        Ok(length)
    }

    fn poll_write_with(
        &mut self,
        context: &mut Context<'_>,
        length: usize,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if self.deaf.is_some() {
            return Poll::Ready(self.written(Ok(length), length));
        }
        let stream = &self.line.0.stream;
        let written = loop {
            ready!(stream.poll_write_ready(context))?;
            match write(stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => break written,
            }
        };
        Poll::Ready(self.written(written, length))
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = &self.line.0.stream;
        loop {
            ready!(stream.poll_read_ready(context))?;
            match stream.try_read_buf(buffer) {
                // The system tells of a reset once, and a write was told.
                Ok(0) if self.deaf == Some(io::ErrorKind::ConnectionReset) => {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, bytes.len(), |stream| stream.try_write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // It fails where the model was first.
        let _ = shutdown(&self.line.0.stream, Shutdown::Write);
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        self.poll_write_with(context, length, |stream| stream.try_write_vectored(pieces))
    }
}

impl Connection for Dialed {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.0.inner().line())
    }
}

impl Read for Dialed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Dialed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, pieces)
    }
}
