//! Sessions: connections that rest on a client certificate, and their end when it no longer counts.
//!
//! What is loaded anew is held against every one of them, each chain once, by the task that waits for it and not by the
//! threads that serve requests. A connection without a certificate is not here and carries nothing extra.

use rustls_pki_types::CertificateDer;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tls::{Claim, HttpsPlane, PeerIdentity, Refusal, Rejection, Rejections, time_left};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The sessions that are open.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<Live>);

#[derive(Default)]
struct Live {
    opened: u64,
    sessions: HashMap<u64, Session>,
}

#[derive(Clone)]
struct Session {
    remote: SocketAddr,
    claim: Claim,
    chain: Arc<[CertificateDer<'static>]>,
    over: CancellationToken,
}

/// A session that is open, until this is dropped.
pub(crate) struct OpenSession {
    sessions: Arc<Sessions>,
    number: u64,
    remote: SocketAddr,
    over: CancellationToken,
    left: Duration,
}

impl Sessions {
    /// Opens a session for a client that has shown this certificate.
    pub(crate) fn open(
        self: &Arc<Self>,
        remote: SocketAddr,
        chain: &[CertificateDer<'static>],
        identity: &PeerIdentity,
    ) -> OpenSession {
        let over = CancellationToken::new();
        let session = Session { remote, claim: Claim::from(identity), chain: chain.into(), over: over.clone() };
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        live.opened += 1;
        let number = live.opened;
        live.sessions.insert(number, session);
        OpenSession { sessions: Arc::clone(self), number, remote, over, left: time_left(identity.not_after) }
    }

    /// Ends the connections that what comes from `tls` no longer admits.
    pub(crate) async fn keep_judging(
        &self,
        mut tls: watch::Receiver<Arc<HttpsPlane>>,
        rejections: &Rejections,
    ) -> Infallible {
        tls.mark_unchanged();
        loop {
            if tls.changed().await.is_err() {
                // Nobody is left to load any.
                std::future::pending::<()>().await;
            }
            let plane = Arc::clone(&tls.borrow_and_update());
            self.judge(|chain| plane.judge(chain), rejections);
        }
    }

    fn judge(&self, admits: impl Fn(&[CertificateDer<'_>]) -> Result<(), Refusal>, rejections: &Rejections) {
        let live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sessions: Vec<Session> = live.sessions.values().cloned().collect();
        drop(live);
        let mut judged: HashMap<&[CertificateDer<'static>], Result<(), Refusal>> = HashMap::new();
        for session in &sessions {
            let Err(refusal) = judged.entry(&session.chain).or_insert_with(|| admits(&session.chain)) else { continue };
            rejections.report(&Rejection::of_client(session.remote, &session.claim, refusal));
            session.over.cancel();
        }
    }
}

impl OpenSession {
    /// Until the certificate no longer counts: what was loaded does not admit it, or its time is over.
    async fn over(self) {
        tokio::select! {
            () = self.over.cancelled() => {}
            () = sleep(self.left) => tracing::debug!(remote = %self.remote, "A client's certificate has expired"),
        }
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        let mut live = self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner);
        live.sessions.remove(&self.number);
    }
}

/// A stream that breaks when its session ends. Whoever waits for it is woken then.
pub(crate) struct SessionStream<S> {
    stream: S,
    validity: Validity,
}

enum Validity {
    /// There is no certificate that could end.
    Unlimited,
    /// Ready when it is over.
    Waiting(Pin<Box<dyn Future<Output = ()> + Send>>),
    Over,
}

impl<S> SessionStream<S> {
    /// The stream of somebody who showed no certificate.
    pub(crate) const fn anonymous(stream: S) -> Self {
        Self { stream, validity: Validity::Unlimited }
    }

    pub(crate) fn of(session: OpenSession, stream: S) -> Self {
        Self { stream, validity: Validity::Waiting(Box::pin(session.over())) }
    }

    pub(crate) const fn inner(&self) -> &S {
        &self.stream
    }

    /// Fails when it is over, and has the caller woken when it will be. Writing and flushing ask, too: a server that
    /// waits for an answer, with the next request in hand, does not read.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match &mut self.validity {
            Validity::Unlimited => return Ok(()),
            Validity::Waiting(over) => {
                if over.as_mut().poll(context).is_pending() {
                    return Ok(());
                }
                self.validity = Validity::Over;
            }
            Validity::Over => {}
        }
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the client's certificate no longer counts"))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SessionStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SessionStream<S> {
    writes_after_check!();

    /// A stream that broke may still be closed politely.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::time::SystemTime;
    use tls::Reason;
    use tls::{Direction, Plane};
    use tokio::io::AsyncReadExt;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn tomorrow() -> SystemTime {
        SystemTime::now() + DAY
    }

    fn chain(byte: u8) -> [CertificateDer<'static>; 1] {
        [CertificateDer::from(vec![byte])]
    }

    fn open(sessions: &Arc<Sessions>, byte: u8, not_after: SystemTime) -> OpenSession {
        let spiffe = "spiffe://c-1.canary/operator/admin".parse().expect("a SPIFFE id");
        let identity = PeerIdentity { spiffe, serial: "0a".into(), not_after };
        sessions.open("127.0.0.1:1".parse().expect("an address"), &chain(byte), &identity)
    }

    #[tokio::test]
    async fn a_sleeping_reader_is_woken_when_its_session_ends_and_others_sleep_on() {
        let (sessions, rejections) = (Arc::new(Sessions::default()), Rejections::default());
        let (_client, server) = tokio::io::duplex(64);
        let (mut other_client, other_server) = tokio::io::duplex(64);
        let mut revoked = SessionStream::of(open(&sessions, 1, tomorrow()), server);
        let mut good = SessionStream::of(open(&sessions, 2, tomorrow()), other_server);
        let _second_of_one_chain = open(&sessions, 2, tomorrow());
        let asked = Cell::new(0);
        let judge = async {
            sessions.judge(
                |shown| {
                    asked.set(asked.get() + 1);
                    if shown == chain(1) { Err(Refusal::new(Reason::Revoked, "gone")) } else { Ok(()) }
                },
                &rejections,
            );
        };
        let (read, ()) = tokio::join!(revoked.read_u8(), judge);
        assert_eq!(read.expect_err("it is over").kind(), io::ErrorKind::ConnectionAborted);
        assert!(revoked.read_u8().await.is_err(), "and stays over");
        assert_eq!(asked.get(), 2, "each chain is judged once");
        assert_eq!(rejections.count(Plane::Https, Direction::In, Reason::Revoked), 1);
        tokio::io::AsyncWriteExt::write_u8(&mut other_client, 7).await.expect("the pipe is open");
        assert_eq!(good.read_u8().await.expect("it goes on"), 7);
        drop((revoked, good, _second_of_one_chain));
        assert!(sessions.0.lock().expect("no panic").sessions.is_empty(), "who is gone is forgotten");
    }

    #[tokio::test]
    async fn a_connection_ends_a_minute_after_its_certificate() {
        let sessions = Arc::new(Sessions::default());
        let ((_client, server), (_other_client, other_server)) = (tokio::io::duplex(64), tokio::io::duplex(64));
        let soon = SystemTime::now() - Duration::from_millis(59_900);
        let mut ending = SessionStream::of(open(&sessions, 1, soon), server);
        let mut lasting = SessionStream::of(open(&sessions, 2, tomorrow()), other_server);
        tokio::select! {
            biased;
            _ = lasting.read_u8() => panic!("its certificate is good until tomorrow"),
            ended = ending.read_u8() => assert!(ended.is_err()),
            () = sleep(Duration::from_secs(20)) => panic!("its certificate is over"),
        }
    }
}
