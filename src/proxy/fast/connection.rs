//! The fast way for plain requests: an HTTP/1.1 connection with nothing but plain `POST /predict` is served here, with
//! prepared answers or those of upstreams that answer plainly, for as long as nothing else comes.
//!
//! At the first byte that is not such a request (or when the client leaves one unfinished or rests for long, an upstream
//! fails or answers in another way, or the node stops) the connection goes on to the real HTTP server, with what was read
//! of it and what is under way, and never comes back. So limits, timeouts, errors, other routes and a graceful stop are
//! the server's; this only must not answer anything that the server would answer otherwise.

use crate::fast::date::write_date;
use crate::fast::relay::{Buffers, Relayed, Side, Underway};
use crate::fast::reply::write_request_id;
use crate::fast::request::{Parsed, no_headers, parse};
use crate::fast::write::write;
use crate::headers::Remote;
use crate::predict::{Chosen, Decided, Proxy};
use edge::{Prefixed, Until};
use http::{HeaderName, HeaderValue};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep};

/// A client without a first request for this long, or that leaves one unfinished, goes on to the server and its timeouts.
/// It also is how late a stop may be noticed while requests come, of which the drain has about two seconds.
const PAUSE: Duration = Duration::from_millis(500);
/// Answers collected for one write when a client sends many requests at once; it bounds the memory.
const MOST_OUTPUT: usize = 16 * 1024;
/// First size of the read buffer: most requests fit, and a connection at rest is not here.
const FIRST_READ: usize = 1024;

/// The fast way to the decisions and upstreams of a proxy: serves plain requests, one call of [`serve`](Self::serve) for
/// each connection.
#[derive(Clone)]
pub struct FastPath(Arc<Shared>);

struct Shared {
    proxy: Proxy,
    /// Headers that go on every answer, as lines.
    common: Vec<u8>,
}

struct Connection<'a> {
    path: &'a Shared,
    remote: Option<Remote>,
    until: Until,
}

/// Why a connection leaves the fast way.
enum Leave {
    /// The server goes on with it.
    HandOver,
    /// The server goes on with it, and with a request that it is not to begin again.
    Underway(Box<Underway>),
    /// An answer could not be written: nothing more may be.
    Broken,
}

impl FastPath {
    /// The fast way to `proxy`, with `common` headers on every answer.
    pub fn new(proxy: Proxy, common: &[(HeaderName, HeaderValue)]) -> Self {
        let mut lines = Vec::new();
        for (name, value) in common {
            lines.extend_from_slice(name.as_str().as_bytes());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(value.as_bytes());
            lines.extend_from_slice(b"\r\n");
        }
        Self(Arc::new(Shared { proxy, common: lines }))
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.0.proxy
    }

    /// Answers the plain requests of a connection from `remote` that speaks HTTP/1.1, and gives back the connection as the
    /// server is to see it, when something else comes; with what is under way of the first request that the server will
    /// see, if that has begun. Spawn it as a task of its own, so that a request wakes nothing else.
    pub async fn serve<S>(&self, mut stream: S, remote: Option<Remote>, until: Until) -> (Prefixed<S>, Option<Underway>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut input = Vec::with_capacity(FIRST_READ);
        match (Connection { path: &self.0, remote, until }).run(&mut stream, &mut input).await {
            Leave::HandOver => (Prefixed::new(stream, input), None),
            Leave::Underway(underway) => (Prefixed::new(stream, input), Some(*underway)),
            Leave::Broken => (Prefixed::broken(stream), None),
        }
    }
}

impl Connection<'_> {
    async fn run<S>(&self, stream: &mut S, input: &mut Vec<u8>) -> Leave
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut pause = pin!(sleep(PAUSE));
        let (mut output, mut buffers) = (Vec::new(), Buffers::new(self.until.stopping.clone()));
        let mut client = Client::New;
        loop {
            let (next, answered) = self.answer_all(input, &mut output, &mut buffers);
            if answered > 0 {
                client = Client::Busy;
                input.drain(..answered);
                if write(stream, &output).await.is_err() {
                    return Leave::Broken;
                }
                output.clear();
            }
            match next {
                Next::Again => continue,
                // Writing may have taken its time: it is chosen again, by the state of now.
                Next::Relay { .. } if answered > 0 => continue,
                Next::Read => {}
                Next::HandOver => return Leave::HandOver,
                Next::Relay { chosen, length } => {
                    client = Client::Busy;
                    let side = Side {
                        stream: &mut *stream,
                        input: &mut *input,
                        output: &mut output,
                        common: &self.path.common,
                    };
                    match self.path.proxy.relay(chosen, &mut buffers, side).await {
                        Relayed::Answered => {
                            input.drain(..length);
                            continue;
                        }
                        Relayed::Stopping => return Leave::HandOver,
                        Relayed::Broken => return Leave::Broken,
                        Relayed::Underway(underway) => return Leave::Underway(underway),
                    }
                }
            }
            let stop = matches!(client, Client::Rests).then_some(&mut buffers);
            let next = match (read(stream, input, pause.as_mut(), stop).await, client) {
                (Read::Ended | Read::Stopping, _) => return Leave::HandOver,
                (Read::Paused, _) if self.until.stopping.is_cancelled() => return Leave::HandOver,
                (Read::Some, Client::Rests) => Some((Client::Pauses, PAUSE)),
                (Read::Some, Client::New | Client::Busy | Client::Pauses) => None,
                (Read::Paused, Client::Busy) => Some((Client::Pauses, PAUSE)),
                (Read::Paused, Client::Pauses) if input.is_empty() => Some((Client::Rests, self.until.rest)),
                (Read::Paused, Client::New | Client::Pauses | Client::Rests) => return Leave::HandOver,
            };
            if let Some((next, span)) = next {
                client = next;
                pause.as_mut().reset(Instant::now() + span);
            }
        }
    }

    /// Answers the plain requests that `input` begins with into `output`; says what to do next, and how many bytes they
    /// were. A request that an upstream is to answer is written to `buffers`.
    fn answer_all(&self, input: &[u8], output: &mut Vec<u8>, buffers: &mut Buffers) -> (Next, usize) {
        let mut answered = 0;
        while output.len() < MOST_OUTPUT {
            let mut headers = no_headers();
            let plain = match parse(&input[answered..], &mut headers) {
                Parsed::Plain(plain) => plain,
                Parsed::Unfinished => return (Next::Read, answered),
                Parsed::Other => return (Next::HandOver, answered),
            };
            let decided = self.path.proxy.decide_plain(&plain, self.remote, |answer, chosen| {
                output.extend_from_slice(&answer.head);
                write_request_id(chosen.request, output);
                output.extend_from_slice(&self.path.common);
                write_date(chosen.at, output);
                output.extend_from_slice(&answer.body);
            });
            match decided {
                Decided::Answered => answered += plain.length,
                Decided::NotPlain => return (Next::HandOver, answered),
                Decided::Upstream(chosen) => {
                    // When the node stops, the server says so to the client.
                    let next = match &chosen.target().template {
                        Some(template) if !self.until.stopping.is_cancelled() => {
                            buffers.write_request(template, &plain, self.remote);
                            Next::Relay { chosen: chosen.held(), length: plain.length }
                        }
                        _ => Next::HandOver,
                    };
                    return (next, answered);
                }
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
    /// To ask an upstream, with the request of this length that is first now.
    Relay {
        chosen: Chosen,
        length: usize,
    },
}

/// What a client does, as of the last time that this was looked at.
#[derive(Clone, Copy)]
enum Client {
    /// It has not asked for anything yet.
    New,
    /// It has asked for something since.
    Busy,
    /// It has not.
    Pauses,
    /// It has not for a while, and nothing of another request is there.
    Rests,
}

enum Read {
    Some,
    Ended,
    Paused,
    Stopping,
}

/// Waits for more bytes, the end of the pause or, if `buffers` are given, a stop: a client that rests does so for long,
/// and for all others it would cost more than it is worth. What fails to be read is the server's to find out again.
async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    input: &mut Vec<u8>,
    mut pause: Pin<&mut Sleep>,
    mut buffers: Option<&mut Buffers>,
) -> Read {
    let mut reading = pin!(stream.read_buf(input));
    poll_fn(|context| {
        match reading.as_mut().poll(context) {
            Poll::Ready(Ok(length)) if length > 0 => return Poll::Ready(Read::Some),
            Poll::Ready(_) => return Poll::Ready(Read::Ended),
            Poll::Pending => {}
        }
        if buffers.as_mut().is_some_and(|buffers| buffers.poll_stopping(context).is_ready()) {
            return Poll::Ready(Read::Stopping);
        }
        pause.as_mut().poll(context).map(|()| Read::Paused)
    })
    .await
}
