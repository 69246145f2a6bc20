//! A plain request's way to its upstream and a plain answer's way back, without an HTTP library in between.
//!
//! One task reads the client, writes to the upstream, and the other way round. Whatever goes otherwise than a plain
//! answer does, is carried on by the server and the client for all of HTTP, from where it stands: see [`Underway`].

use crate::answer::Problem;
use crate::fast::date::write_date;
use crate::fast::hear::{Awaited, Said, hear, poll_gone, read_out};
use crate::fast::reply::{self, After, Dated, write_request_id};
use crate::fast::request::{Parsed, Plain, no_headers};
use crate::fast::template::Template;
use crate::fast::write::{at_once, write};
use crate::headers::Remote;
use crate::predict::{Chosen, Proxy};
use crate::recording::Recording;
use crate::table::Target;
use member::boottime;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, Sleep, sleep, timeout_at};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// What a connection needs to pass on requests; it is used from one to the next.
pub(crate) struct Buffers {
    /// The request as the upstream is to see it.
    request: Vec<u8>,
    /// What was read of its answer.
    pub(super) answer: Vec<u8>,
    /// When the upstream has had its time. It is moved for every request instead of being made anew.
    pub(super) limit: Pin<Box<Sleep>>,
    /// When the node stops.
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
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
    Answering {
        recording: Recording,
        upstream: TcpStream,
        /// What of the answer was read.
        heard: Vec<u8>,
        until: Instant,
    },
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
        recording.on_whole();
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
                let heard = std::mem::take(&mut buffers.answer);
                Relayed::underway(chosen, Begun::Answering { recording, upstream, heard, until })
            }
            Err(Failure::Upstream(problem)) => {
                recording.on_failure();
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
            recording.on_answer(chosen.table.verdict(reply.status));
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
        mut recording: Recording,
        buffers: &mut Buffers,
        mut client: Side<'_, S>,
    ) -> Relayed
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut left = head.body;
        let mut awaits_first = buffers.answer.is_empty();
        if !awaits_first && buffers.answer.len() < left {
            // What came with the head is where the answer begins, however long the rest takes.
            recording.on_first_byte();
        }
        loop {
            let piece = left.min(buffers.answer.len());
            client.output.extend_from_slice(&buffers.answer[..piece]);
            left -= piece;
            if left == 0 {
                // Counted before it is written: how fast a client reads says nothing about the model.
                recording.on_end();
            }
            if write(client.stream, client.output).await.is_err() {
                read_out(&upstream, left, &mut recording);
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
            recording.on_wait();
            match hear(&mut upstream, buffers, &mut client, Awaited::Body).await {
                Said::Something => {
                    recording.on_piece();
                    if std::mem::take(&mut awaits_first) {
                        recording.on_first_byte();
                    }
                }
                Said::ClientGone => return Relayed::Broken,
                Said::Failed(_) | Said::Nothing | Said::Stopping => {
                    recording.on_failure();
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
