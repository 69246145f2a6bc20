//! A plain request's way to its upstream and a plain answer's way back, without an HTTP library in between.
//!
//! One task reads the client, writes to the upstream, and the other way round. Whatever goes otherwise than a plain
//! answer does, is carried on by the server and the client for all of HTTP, from where it stands: see [`Underway`].

use crate::answer::Problem;
use crate::fast::date::write_date;
use crate::fast::reply::{self, After, Dated, write_request_id};
use crate::fast::request::{LONGEST, Parsed, Plain, no_headers};
use crate::fast::template::Template;
use crate::fast::write::{at_once, write};
use crate::headers::Remote;
use crate::observe::Recording;
use crate::predict::{Chosen, Proxy};
use crate::table::Target;
use edge::Prefixed;
use member::boottime;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, Sleep, sleep, timeout_at};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Room for an answer before it is read: most fit, and what fits is read by one call.
const FIRST_READ: usize = 4 * 1024;
/// Most of an answer's body that is read before it is written.
const PIECE: usize = 16 * 1024;

/// What a connection needs to pass on requests; it is used from one to the next.
pub(crate) struct Buffers {
    /// The request as the upstream is to see it.
    request: Vec<u8>,
    /// What was read of its answer.
    answer: Vec<u8>,
    /// When the upstream has had its time. It is moved for every request instead of being made anew.
    limit: Pin<Box<Sleep>>,
    /// When the node stops.
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// What of an answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// Its head. Until it is there, the server can take over.
    Head,
    /// More of its body.
    Body,
}

impl Buffers {
    pub(crate) fn new(stopping: CancellationToken) -> Self {
        Self {
            request: Vec::new(),
            answer: Vec::new(),
            limit: Box::pin(sleep(Duration::ZERO)),
            stopping: Box::pin(stopping.cancelled_owned()),
        }
    }

    /// Writes a request as the upstream of `template` is to see it.
    pub(crate) fn write_request(&mut self, template: &Template, plain: &Plain<'_, '_>, remote: Option<Remote>) {
        self.request.clear();
        template.write(plain, remote, &mut self.request);
    }

    pub(crate) fn poll_stopping(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.stopping.as_mut().poll(context)
    }
}

/// The client's side of a connection.
pub(crate) struct Side<'a, S> {
    pub(crate) stream: &'a mut S,
    /// What was read of it: the request that is passed on, and what came after it.
    pub(crate) input: &'a mut Vec<u8>,
    /// What is to be written to it; empty.
    pub(crate) output: &'a mut Vec<u8>,
    /// Headers for every answer, as lines.
    pub(crate) common: &'a [u8],
}

/// What became of a request.
pub(crate) enum Relayed {
    Answered,
    /// Nothing of it was sent yet, and the node stops.
    Stopping,
    /// Its answer cannot be ended, or nobody is there to read it.
    Broken,
    Underway(Box<Underway>),
}

impl Relayed {
    fn underway(chosen: Chosen, begun: Begun) -> Self {
        Self::Underway(Box::new(Underway { chosen, begun }))
    }
}

/// A request that was sent to its upstream, or failed to be, and whose client is still to be answered.
pub struct Underway {
    pub(crate) chosen: Chosen,
    pub(crate) begun: Begun,
}

/// How far it has got.
pub(crate) enum Begun {
    /// The upstream has failed.
    Failed(Problem),
    /// The upstream answers, in a way that takes more than is understood here.
    Answering { recording: Recording, upstream: Prefixed<TcpStream>, until: Instant },
}

/// Why there is no answer that is understood.
enum Failure {
    Upstream(Problem),
    ClientGone,
    /// The node stops before anything was sent.
    Stopping,
}

/// A plain answer whose head is in the output.
struct Head {
    body: usize,
    after: After,
}

impl Proxy {
    /// Passes on the request that `buffers` hold, and its answer to the client.
    pub(crate) async fn relay<S>(&self, chosen: Chosen, buffers: &mut Buffers, mut client: Side<'_, S>) -> Relayed
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // One that is not sent, as the node stops, is a repeat to the server that begins it anew: it is late for evidence.
        let chosen = self.begun(chosen);
        let target = chosen.target();
        let Some(template) = &target.template else {
            let begun = Begun::Failed(Problem::NoUpstream { model: target.model.to_string() });
            return Relayed::underway(chosen, begun);
        };
        let mut recording = self.recording(&chosen);
        let until = Instant::now() + self.0.forwarder.timeouts.answer;
        buffers.answer.clear();
        let asked = async {
            buffers.limit.as_mut().reset(until);
            if let Some(mut kept) = self.0.pool.take(&template.name) {
                send(&mut kept, buffers, until).await.map_err(|_| self.slow(target))?;
                match self.head(&mut kept, &chosen, &mut recording, buffers, &mut client).await {
                    // It was closed in the moment in which it was used: that says nothing about the model, and what is
                    // plain may be asked twice.
                    Err(Failure::Upstream(Problem::UpstreamBroken { .. })) if buffers.answer.is_empty() => {}
                    head => return head.map(|head| (kept, head)),
                }
            }
            let mut upstream = self.connect(template, target, buffers, &mut client).await?;
            send(&mut upstream, buffers, until).await.map_err(|_| self.slow(target))?;
            let head = self.head(&mut upstream, &chosen, &mut recording, buffers, &mut client).await?;
            Ok((upstream, head))
        };
        match asked.await {
            Ok((upstream, Some(head))) => self.body(upstream, head, template, recording, buffers, client).await,
            Ok((upstream, None)) => {
                let upstream = Prefixed::new(upstream, std::mem::take(&mut buffers.answer));
                Relayed::underway(chosen, Begun::Answering { recording, upstream, until })
            }
            Err(Failure::Upstream(problem)) => {
                recording.on_failure();
                drop(recording);
                Relayed::underway(chosen, Begun::Failed(problem))
            }
            // The model is charged with the time that the client waited.
            Err(Failure::ClientGone) => Relayed::Broken,
            // The server begins it anew.
            Err(Failure::Stopping) => {
                recording.on_client_failure();
                Relayed::Stopping
            }
        }
    }

    fn slow(&self, target: &Target) -> Failure {
        let (model, after) = (target.model.to_string(), self.0.forwarder.timeouts.answer);
        Failure::Upstream(Problem::UpstreamSlow { model, after })
    }

    /// A new connection, for which the upstream has no more time than for its answer.
    async fn connect<S>(
        &self,
        template: &Template,
        target: &Target,
        buffers: &mut Buffers,
        client: &mut Side<'_, S>,
    ) -> Result<TcpStream, Failure>
    where
        S: AsyncRead + Unpin,
    {
        let mut connecting = pin!(self.0.forwarder.connect(&target.model, &template.place));
        poll_fn(|context| {
            if let Poll::Ready(connected) = connecting.as_mut().poll(context) {
                return Poll::Ready(connected.map_err(Failure::Upstream));
            }
            if poll_gone(client, context).is_ready() {
                return Poll::Ready(Err(Failure::ClientGone));
            }
            if buffers.poll_stopping(context).is_ready() {
                return Poll::Ready(Err(Failure::Stopping));
            }
            buffers.limit.as_mut().poll(context).map(|()| Err(self.slow(target)))
        })
        .await
    }

    /// Reads the answer's head and writes it to the client's output; none when the answer is not plain.
    async fn head<S>(
        &self,
        upstream: &mut TcpStream,
        chosen: &Chosen,
        recording: &mut Recording,
        buffers: &mut Buffers,
        client: &mut Side<'_, S>,
    ) -> Result<Option<Head>, Failure>
    where
        S: AsyncRead + Unpin,
    {
        let target = chosen.target();
        loop {
            match hear(upstream, buffers, client, Awaited::Head).await {
                Said::Something => {}
                // The server tells the client to go elsewhere.
                Said::Stopping => return Ok(None),
                Said::Failed(error) => {
                    let model = target.model.to_string();
                    return Err(Failure::Upstream(Problem::UpstreamBroken { model, error: error.to_string() }));
                }
                Said::Nothing => return Err(self.slow(target)),
                Said::ClientGone => return Err(Failure::ClientGone),
            }
            let mut headers = no_headers();
            let reply = match reply::parse(&buffers.answer, &mut headers) {
                Parsed::Plain(reply) => reply,
                Parsed::Unfinished => continue,
                Parsed::Other => return Ok(None),
            };
            recording.on_answer(reply.status);
            let dated = reply.write(client.output);
            client.output.extend_from_slice(&target.signature);
            write_request_id(chosen.request, client.output);
            client.output.extend_from_slice(client.common);
            match dated {
                Dated::Yes => client.output.extend_from_slice(b"\r\n"),
                Dated::No => write_date(boottime(), client.output),
            }
            let (head, body, after) = (reply.head, reply.body, reply.after);
            buffers.answer.drain(..head);
            return Ok(Some(Head { body, after }));
        }
    }

    /// Passes the body on as it comes.
    async fn body<S>(
        &self,
        mut upstream: TcpStream,
        head: Head,
        template: &Template,
        recording: Recording,
        buffers: &mut Buffers,
        mut client: Side<'_, S>,
    ) -> Relayed
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut recording = Some(recording);
        let mut left = head.body;
        let mut awaits_first = buffers.answer.is_empty();
        loop {
            let piece = left.min(buffers.answer.len());
            client.output.extend_from_slice(&buffers.answer[..piece]);
            left -= piece;
            if left == 0 {
                // Counted before it is written: how fast a client reads says nothing about the model.
                recording = None;
            }
            if write(client.stream, client.output).await.is_err() {
                return Relayed::Broken;
            }
            client.output.clear();
            if left == 0 {
                if head.after == After::Keep && buffers.answer.len() == piece {
                    self.0.pool.put(&template.name, upstream);
                }
                return Relayed::Answered;
            }
            buffers.answer.clear();
            buffers.limit.as_mut().reset(Instant::now() + self.0.forwarder.timeouts.idle);
            match hear(&mut upstream, buffers, &mut client, Awaited::Body).await {
                Said::Something => {
                    if std::mem::take(&mut awaits_first) {
                        recording.iter_mut().for_each(Recording::on_first_byte);
                    }
                }
                Said::ClientGone => return Relayed::Broken,
                Said::Failed(_) | Said::Nothing | Said::Stopping => {
                    if let Some(recording) = &mut recording {
                        recording.on_failure();
                    }
                    return Relayed::Broken;
                }
            }
        }
    }
}

/// Sends the request to the upstream, until `until` at the longest.
async fn send(upstream: &mut TcpStream, buffers: &Buffers, until: Instant) -> Result<(), Elapsed> {
    let mut sending = pin!(upstream.write_all(&buffers.request));
    let sent = match at_once(sending.as_mut()).await {
        Some(sent) => Ok(sent),
        None => timeout_at(until, sending).await,
    };
    // Why it was not taken is known when the answer is read, which may be there already.
    sent.map(|_| ())
}

/// What was heard while waiting for an upstream.
enum Said {
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
async fn hear<S: AsyncRead + Unpin>(
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
fn poll_gone<S: AsyncRead + Unpin>(client: &mut Side<'_, S>, context: &mut Context<'_>) -> Poll<()> {
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
