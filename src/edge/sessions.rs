//! Connections that rest on a client certificate, and their end when it no longer counts.
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
use tls::{Claim, Direction, HttpsPlane, PeerIdentity, Plane, Refusal, Rejection, Rejections, time_left};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Everybody who is in with a certificate.
#[derive(Default)]
pub struct Guests(Mutex<Live>);

#[derive(Default)]
struct Live {
    entered: u64,
    guests: HashMap<u64, Guest>,
}

#[derive(Clone)]
struct Guest {
    remote: SocketAddr,
    claim: Claim,
    chain: Arc<[CertificateDer<'static>]>,
    over: CancellationToken,
}

/// One connection's place among the guests, until it is dropped.
pub struct Stay {
    guests: Arc<Guests>,
    number: u64,
    remote: SocketAddr,
    over: CancellationToken,
    left: Duration,
}

impl Guests {
    pub fn enter(
        self: &Arc<Self>,
        remote: SocketAddr,
        chain: &[CertificateDer<'static>],
        identity: &PeerIdentity,
    ) -> Stay {
        let over = CancellationToken::new();
        let guest = Guest { remote, claim: Claim::from(identity), chain: chain.into(), over: over.clone() };
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        live.entered += 1;
        let number = live.entered;
        live.guests.insert(number, guest);
        Stay { guests: Arc::clone(self), number, remote, over, left: time_left(identity.not_after) }
    }

    /// Ends the connections that what comes from `tls` no longer admits.
    pub async fn keep_judging(&self, mut tls: watch::Receiver<Arc<HttpsPlane>>, rejections: &Rejections) -> Infallible {
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
        let guests: Vec<Guest> = live.guests.values().cloned().collect();
        drop(live);
        let mut judged: HashMap<&[CertificateDer<'static>], Result<(), Refusal>> = HashMap::new();
        for guest in &guests {
            let Err(refusal) = judged.entry(&guest.chain).or_insert_with(|| admits(&guest.chain)) else { continue };
            rejections.report(&Rejection {
                plane: Plane::Https,
                direction: Direction::In,
                remote: guest.remote,
                claim: &guest.claim,
                reason: refusal.reason,
                detail: &refusal.detail,
            });
            guest.over.cancel();
        }
    }
}

impl Stay {
    /// Until the certificate no longer counts: what was loaded does not admit it, or its time is over.
    async fn over(self) {
        tokio::select! {
            () = self.over.cancelled() => {}
            () = sleep(self.left) => tracing::debug!(remote = %self.remote, "A client's certificate has expired"),
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut live = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        live.guests.remove(&self.number);
    }
}

/// A stream that breaks when its guest has to leave. Whoever waits for it is woken then.
pub struct Guarded<S> {
    stream: S,
    guard: Guard,
}

enum Guard {
    /// There is no certificate that could end.
    Free,
    /// Ready when it is over.
    Waiting(Pin<Box<dyn Future<Output = ()> + Send>>),
    Over,
}

impl<S> Guarded<S> {
    /// The stream of somebody who showed no certificate.
    pub const fn free(stream: S) -> Self {
        Self { stream, guard: Guard::Free }
    }

    pub fn by(stay: Stay, stream: S) -> Self {
        Self { stream, guard: Guard::Waiting(Box::pin(stay.over())) }
    }

    pub const fn inner(&self) -> &S {
        &self.stream
    }

    /// Fails when it is over, and has the caller woken when it will be. Writing and flushing ask, too: a server that
    /// waits for an answer, with the next request in hand, does not read.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match &mut self.guard {
            Guard::Free => return Ok(()),
            Guard::Waiting(over) => {
                if over.as_mut().poll(context).is_pending() {
                    return Ok(());
                }
                self.guard = Guard::Over;
            }
            Guard::Over => {}
        }
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the client's certificate no longer counts"))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

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
    use tokio::io::AsyncReadExt;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn tomorrow() -> SystemTime {
        SystemTime::now() + DAY
    }

    fn chain(byte: u8) -> [CertificateDer<'static>; 1] {
        [CertificateDer::from(vec![byte])]
    }

    fn enter(guests: &Arc<Guests>, byte: u8, not_after: SystemTime) -> Stay {
        let spiffe = "spiffe://c-1.canary/operator/admin".parse().expect("a SPIFFE id");
        let identity = PeerIdentity { spiffe, serial: "0a".into(), not_after };
        guests.enter("127.0.0.1:1".parse().expect("an address"), &chain(byte), &identity)
    }

    #[tokio::test]
    async fn a_sleeping_reader_is_woken_when_its_guest_has_to_leave_and_others_sleep_on() {
        let (guests, rejections) = (Arc::new(Guests::default()), Rejections::default());
        let (_client, server) = tokio::io::duplex(64);
        let (mut other_client, other_server) = tokio::io::duplex(64);
        let mut revoked = Guarded::by(enter(&guests, 1, tomorrow()), server);
        let mut good = Guarded::by(enter(&guests, 2, tomorrow()), other_server);
        let _second_of_one_chain = enter(&guests, 2, tomorrow());
        let asked = Cell::new(0);
        let judge = async {
            guests.judge(
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
        assert!(guests.0.lock().expect("no panic").guests.is_empty(), "who is gone is forgotten");
    }

    #[tokio::test]
    async fn a_connection_ends_a_minute_after_its_certificate() {
        let guests = Arc::new(Guests::default());
        let ((_client, server), (_other_client, other_server)) = (tokio::io::duplex(64), tokio::io::duplex(64));
        let soon = SystemTime::now() - Duration::from_millis(59_900);
        let mut ending = Guarded::by(enter(&guests, 1, soon), server);
        let mut lasting = Guarded::by(enter(&guests, 2, tomorrow()), other_server);
        tokio::select! {
            biased;
            _ = lasting.read_u8() => panic!("its certificate is good until tomorrow"),
            ended = ending.read_u8() => assert!(ended.is_err()),
            () = sleep(Duration::from_secs(20)) => panic!("its certificate is over"),
        }
    }
}
