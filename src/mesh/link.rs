//! A connection after its greetings: the dialer writes messages, the acceptor reads them.

use super::event::Event;
use super::frame::{Decoder, Encoder, Greeting, MAX_GREETING, Payload, printable};
use super::registry::Admitted;
use super::rules::check_sender;
use crash::{Step, When, point};
use model::NodeId;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};
use tls::{Reason, Refusal, time_left};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// A write that does not finish in this time ends the connection: the peer has stopped reading.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take to end politely.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(250);
/// Frames that wait are written together up to this length, four TLS records.
const MAX_BATCH: usize = 64 << 10;
/// How much is read at once.
const READ_SIZE: usize = 16 << 10;
/// Bytes that may wait for one peer: a few of the largest frames. Beyond it messages are dropped, which the protocol
/// bears; it repeats what matters.
const MAX_WAITING_BYTES: usize = 4 << 20;
/// Messages that may wait for one peer.
const MAX_WAITING: usize = 256;

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// This node is stopping.
    Stopped,
    /// The other side closed it.
    Closed,
    /// It broke.
    Broken(io::Error),
    /// The other side does not read.
    Stalled,
    /// The certificate it rests on has expired.
    Expired,
    /// The peer has opened a newer one.
    Replaced,
    /// This side has another certificate now, and makes its links anew with it, before the old one counts no more.
    Renewed,
    /// This side refuses to go on.
    Refused(Refusal),
    /// The other side does.
    RefusedByPeer(Refusal),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("this node is stopping"),
            Self::Closed => f.write_str("the other side closed it"),
            Self::Broken(error) => error.fmt(f),
            Self::Stalled => write!(f, "the other side has read nothing for {WRITE_TIMEOUT:?}"),
            Self::Expired => f.write_str("the certificate has expired"),
            Self::Replaced => f.write_str("the peer has opened a newer one"),
            Self::Renewed => f.write_str("this node has a new certificate"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::RefusedByPeer(refusal) => write!(f, "the other side refused: {refusal}"),
        }
    }
}

/// When a connection that rests on a certificate until `not_after` must end.
pub(crate) fn expiry(not_after: SystemTime) -> Instant {
    Instant::now() + time_left(not_after)
}

/// The sending end of the queue of one peer.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: mpsc::Sender<Payload>,
    waiting_bytes: Arc<AtomicUsize>,
}

/// The receiving end.
#[derive(Debug)]
pub(crate) struct Queue {
    queue: mpsc::Receiver<Payload>,
    waiting_bytes: Arc<AtomicUsize>,
}

/// A new queue.
pub(crate) fn outbox() -> (Outbox, Queue) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let waiting_bytes = Arc::new(AtomicUsize::new(0));
    (Outbox { queue: sender, waiting_bytes: Arc::clone(&waiting_bytes) }, Queue { queue: receiver, waiting_bytes })
}

impl Outbox {
    /// Queues a message, or drops it when there is no room.
    pub(crate) fn push(&self, payload: Payload) {
        let length = payload.len();
        if self.waiting_bytes.load(Ordering::Relaxed) + length > MAX_WAITING_BYTES {
            return;
        }
        self.waiting_bytes.fetch_add(length, Ordering::Relaxed);
        if self.queue.try_send(payload).is_err() {
            self.waiting_bytes.fetch_sub(length, Ordering::Relaxed);
        }
    }
}

impl Queue {
    async fn next(&mut self) -> Option<Payload> {
        let payload = self.queue.recv().await;
        self.taken(payload)
    }

    fn next_now(&mut self) -> Option<Payload> {
        let payload = self.queue.try_recv().ok();
        self.taken(payload)
    }

    fn taken(&self, payload: Option<Payload>) -> Option<Payload> {
        if let Some(payload) = &payload {
            self.waiting_bytes.fetch_sub(payload.len(), Ordering::Relaxed);
        }
        payload
    }

    /// Throws away what was meant for a connection that is gone.
    pub(crate) fn clear(&mut self) {
        while self.next_now().is_some() {}
    }
}

/// Writes what is queued until the connection ends. The other side has nothing more to say but why it refuses.
pub(crate) async fn write_messages<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    mut decoder: Decoder,
    queue: &mut Queue,
    expires: Instant,
    shutdown: &CancellationToken,
) -> End {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut encoder = Encoder::new(decoder.wire);
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            payload = queue.next() => {
                let Some(payload) = payload else { return close(&mut writer, End::Stopped).await };
                batch.clear();
                encoder.encode(&payload, &mut batch);
                while batch.len() < MAX_BATCH && let Some(payload) = queue.next_now() {
                    encoder.encode(&payload, &mut batch);
                }
                match timeout(WRITE_TIMEOUT, write(&mut writer, &batch)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return last_words(&mut reader, &mut decoder, error).await,
                    Err(_) => return End::Stalled,
                }
            }
            end = read_farewell(&mut reader, &mut decoder) => return end,
            () = sleep_until(expires) => return close(&mut writer, End::Expired).await,
            () = shutdown.cancelled() => {
                // The last that this node says is that it leaves.
                batch.clear();
                while let Some(payload) = queue.next_now() {
                    encoder.encode(&payload, &mut batch);
                }
                let _ = timeout(CLOSE_TIMEOUT, write(&mut writer, &batch)).await;
                return close(&mut writer, End::Stopped).await;
            }
        }
    }
}

/// Hands bytes to the system.
pub(crate) async fn write(writer: &mut (impl AsyncWrite + Unpin), batch: &[u8]) -> io::Result<()> {
    point(Step::LinkWrite, When::Before);
    writer.write_all(batch).await?;
    let flushed = writer.flush().await;
    point(Step::LinkWrite, When::After);
    flushed
}

/// Ends the connection in a way that the other side sees at once.
async fn close(writer: &mut (impl AsyncWrite + Unpin), end: End) -> End {
    let _ = timeout(CLOSE_TIMEOUT, writer.shutdown()).await;
    end
}

/// Waits for the end that the acceptor makes.
async fn read_farewell(reader: &mut (impl AsyncRead + Unpin), decoder: &mut Decoder) -> End {
    loop {
        match decoder.next_greeting() {
            Ok(Some(Greeting::Reject { reason, detail })) => {
                return End::RefusedByPeer(Refusal::new(Reason::from_word(&reason), printable(&detail)));
            }
            Ok(Some(Greeting::Hello { .. } | Greeting::Welcome { .. })) => {
                return End::Refused(Refusal::new(Reason::FrameMalformed, "a second greeting on one connection"));
            }
            Ok(None) => {}
            Err(error) => return End::Refused(Refusal::new(error.reason(), error.to_string())),
        }
        decoder.buffer.reserve(MAX_GREETING);
        match reader.read_buf(&mut decoder.buffer).await {
            Ok(0) => return End::Closed,
            Ok(_) => {}
            Err(error) => return broken(error, End::RefusedByPeer),
        }
    }
}

/// A write that fails often means that the other side has said why and left: what it said is still there to read.
async fn last_words(reader: &mut (impl AsyncRead + Unpin), decoder: &mut Decoder, error: io::Error) -> End {
    match timeout(CLOSE_TIMEOUT, read_farewell(reader, decoder)).await {
        Ok(end @ (End::RefusedByPeer(_) | End::Refused(_))) => end,
        Ok(_) | Err(_) => broken(error, End::RefusedByPeer),
    }
}

/// The end that an error makes, or the refusal in it.
fn broken(error: io::Error, refused: fn(Refusal) -> End) -> End {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return End::Closed;
    }
    Refusal::in_io(&error).map_or(End::Broken(error), refused)
}

/// Reads messages and hands them on until the connection ends. While nobody takes them, nothing is read.
pub(crate) async fn read_messages<S: AsyncRead + Unpin>(
    stream: &mut S,
    mut decoder: Decoder,
    peer: NodeId,
    admitted: &Admitted<'_>,
    events: &mpsc::Sender<Event>,
) -> End {
    loop {
        match decoder.next_message() {
            Ok(Some(message)) => {
                if let Err(refusal) = check_sender(peer, &message) {
                    return End::Refused(refusal);
                }
                admitted.heard(Instant::now());
                if events.send(Event::Message(peer, message)).await.is_err() {
                    return End::Stopped;
                }
                continue;
            }
            Ok(None) => {}
            Err(error) => return End::Refused(Refusal::new(error.reason(), error.to_string())),
        }
        decoder.buffer.reserve(READ_SIZE);
        match stream.read_buf(&mut decoder.buffer).await {
            Ok(0) => return End::Closed,
            Ok(_) => {}
            Err(error) => return broken(error, End::Refused),
        }
    }
}
