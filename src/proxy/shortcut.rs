//! The short way for plain requests: an HTTP/1.1 connection whose `POST /predict` need no more than a decision is served
//! here, with prepared answers, for as long as nothing else comes.
//!
//! At the first byte that is not such a request (or when the client pauses, or the node stops) the connection goes on to
//! the real HTTP server, with what was read of it, and never comes back. So limits, timeouts, errors, other routes and a
//! graceful stop are the server's; this only must not answer anything that the server would answer otherwise.

use super::date::write_date;
use super::plain::{Plain, Seen, look};
use super::predict::Proxy;
use super::rewound::Rewound;
use http::{HeaderName, HeaderValue};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// A client without a request for this long, or that leaves one unfinished, goes on to the server and its timeouts. It
/// also is how late a stop may be noticed, of which the drain has about two seconds.
const PAUSE: Duration = Duration::from_millis(500);
/// A client that does not take an answer of 300 bytes for this long is not there any more.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers collected for one write when a client sends many requests at once; it bounds the memory.
const MOST_OUTPUT: usize = 16 * 1024;
/// First size of the read buffer: most requests fit, and a connection at rest is not here.
const FIRST_READ: usize = 1024;

/// Serves plain requests on connections, one call of [`serve`](Self::serve) each.
#[derive(Clone)]
pub struct Shortcut {
    proxy: Proxy,
    /// Headers that go on every answer, as lines.
    common: Arc<[u8]>,
    stopping: CancellationToken,
}

/// Why a connection leaves the short way.
enum Leave {
    /// The server goes on with it.
    HandOver,
    /// An answer could not be written: nothing more may be.
    Broken,
}

impl Shortcut {
    /// The short way to `proxy`'s decisions, with `common` headers on every answer, until `stopping` is cancelled.
    #[must_use]
    pub fn new(proxy: Proxy, common: &[(HeaderName, HeaderValue)], stopping: CancellationToken) -> Self {
        let mut lines = Vec::new();
        for (name, value) in common {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(value.as_bytes());
            lines.extend_from_slice(b"\r\n");
        }
        Self { proxy, common: lines.into(), stopping }
    }

    /// Answers the plain requests of a connection that speaks HTTP/1.1, and gives back the connection as the server is
    /// to see it, when something else comes. Spawn it as a task of its own, so that a request wakes nothing else.
    pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) -> Rewound<S> {
        let mut input = Vec::with_capacity(FIRST_READ);
        match self.run(&mut stream, &mut input).await {
            Leave::HandOver => Rewound::new(stream, input),
            Leave::Broken => Rewound::broken(stream),
        }
    }

    async fn run<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S, input: &mut Vec<u8>) -> Leave {
        let mut pause = pin!(sleep(PAUSE));
        let mut output = Vec::new();
        let mut idle = Idle::Yes;
        loop {
            let (seen, answered) = self.answer_all(input, &mut output);
            if answered > 0 {
                idle = Idle::No;
                input.drain(..answered);
                if write(stream, &output).await.is_err() {
                    return Leave::Broken;
                }
                output.clear();
            }
            match seen {
                Next::Again => continue,
                Next::Read => {}
                Next::HandOver => return Leave::HandOver,
            }
            match read(stream, input, pause.as_mut()).await {
                Read::Some => {}
                Read::Ended => return Leave::HandOver,
                Read::Paused if matches!(idle, Idle::Yes) || self.stopping.is_cancelled() => return Leave::HandOver,
                Read::Paused => {
                    idle = Idle::Yes;
                    pause.as_mut().reset(Instant::now() + PAUSE);
                }
            }
        }
    }

    /// Answers the plain requests that `input` begins with into `output`; says what to do next, and how many bytes they
    /// were.
    fn answer_all(&self, input: &[u8], output: &mut Vec<u8>) -> (Next, usize) {
        let mut answered = 0;
        while output.len() < MOST_OUTPUT {
            match look(&input[answered..]) {
                Seen::Plain(Plain { key, body, length }) => {
                    let decided = self.proxy.decide_plain(key, body, |answer, now| {
                        output.extend_from_slice(&answer.head);
                        output.extend_from_slice(&self.common);
                        write_date(now, output);
                        output.extend_from_slice(&answer.body);
                    });
                    if decided.is_none() {
                        return (Next::HandOver, answered);
                    }
                    answered += length;
                }
                Seen::Unfinished => return (Next::Read, answered),
                Seen::Other => return (Next::HandOver, answered),
            }
        }
        (Next::Again, answered)
    }
}

/// What to do after the plain requests at hand were answered.
enum Next {
    Again,
    Read,
    HandOver,
}

/// Whether there was no request since the last look.
enum Idle {
    Yes,
    No,
}

enum Read {
    Some,
    Ended,
    Paused,
}

/// Waits for more bytes or the end of the pause. What fails to be read is the server's to find out again.
async fn read<S: AsyncRead + Unpin>(stream: &mut S, input: &mut Vec<u8>, mut pause: Pin<&mut Sleep>) -> Read {
    let mut reading = pin!(stream.read_buf(input));
    poll_fn(|context| match reading.as_mut().poll(context) {
        Poll::Ready(Ok(length)) if length > 0 => Poll::Ready(Read::Some),
        Poll::Ready(_) => Poll::Ready(Read::Ended),
        Poll::Pending => pause.as_mut().poll(context).map(|()| Read::Paused),
    })
    .await
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, output: &[u8]) -> std::io::Result<()> {
    let mut writing = pin!(async {
        stream.write_all(output).await?;
        stream.flush().await
    });
    // Nearly every answer fits into the socket's buffer; those need no timer.
    match poll_fn(|context| Poll::Ready(writing.as_mut().poll(context))).await {
        Poll::Ready(written) => written,
        Poll::Pending => timeout(WRITE_TIMEOUT, writing).await?,
    }
}
