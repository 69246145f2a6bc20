//! The thread that signs and writes.
//!
//! It is the least urgent thread of the node, and what the agreement does is handed over a moment later and together, so that
//! it takes nothing from the agreement in the moment that counts, and a busy cluster costs few writes.

use super::batch::{Batch, Inbox, Order, Outgoing, Word};
use super::file::{Head, Record, unix_millis};
use super::line::{Event, signed_bytes};
use model::{NodeId, Octets, Said, Signed, Statement, Testimony, UnixMillis};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};
use tls::{ControlPlane, Signer};
use tokio::sync::watch;

/// How many things are written at once, about.
const MOST: usize = 512;
/// Everything else of a node goes before the record: the least urgent that there is.
const NICENESS: i32 = 19;
/// How often the file is forced to disk while it grows, and its end named.
const SEAL_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked at whether something has become too old.
const AGE_EVERY: Duration = Duration::from_secs(600);
/// How many of its own statements a node hands to a peer that connects.
const RECALLED: usize = 16;
/// A certificate is a kilobyte, and a signature 72 bytes at most of P-256, 104 of P-384.
const MAX_CERTIFICATE: usize = 8 * 1024;
const MAX_SIGNATURE: usize = 128;
/// How many certificates of peers are remembered as filed: many renewals of many members.
const MAX_REMEMBERED: usize = 1024;

/// Signs and writes.
pub(super) struct Writer {
    record: Record,
    node: NodeId,
    tls: watch::Receiver<Arc<ControlPlane>>,
    signer: Option<Arc<Signer>>,
    /// Serial numbers of certificates that this run has filed.
    filed: BTreeSet<String>,
    /// Its own newest statements.
    mine: VecDeque<Signed>,
    /// Lines that could not be written.
    missing: u64,
    /// When what was written must be forced to disk.
    seal_at: Option<Instant>,
    /// When to look for what is too old.
    age_at: Instant,
}

impl Writer {
    pub(super) fn new(record: Record, node: NodeId, tls: watch::Receiver<Arc<ControlPlane>>) -> Self {
        let (filed, mine) = (BTreeSet::new(), VecDeque::new());
        let age_at = Instant::now() + AGE_EVERY;
        Self { record, node, tls, signer: None, filed, mine, missing: 0, seal_at: None, age_at }
    }

    /// Writes until it is told to stop, or nobody can say anything any more.
    pub(super) fn run(mut self, inbox: &Inbox) {
        let thread = rustix::thread::gettid();
        if let Err(error) = rustix::process::setpriority_process(Some(thread), NICENESS) {
            tracing::debug!(%error, "The audit is written as urgently as all else");
        }
        loop {
            let (orders, ended) = self.gather(inbox);
            let mut events = Vec::new();
            let mut said = Testimony::default();
            for (at, order) in orders {
                self.take(at, order, &mut events, &mut said, inbox);
                // A long turn of this thread would be felt where there are few processors.
                std::thread::yield_now();
            }
            self.missing += inbox.lost.swap(0, Ordering::Relaxed);
            self.write(events);
            if !said.signed.is_empty() {
                let _ = inbox.outgoing.try_send(Outgoing { to: None, testimony: said });
            }
            self.age();
            if ended || self.seal_at.is_some_and(|at| at <= Instant::now()) {
                self.seal();
            }
            if ended {
                return;
            }
        }
    }

    /// What has happened, and whether it is the last.
    fn gather(&self, inbox: &Inbox) -> (Vec<(UnixMillis, Order)>, bool) {
        let due = self.seal_at.map_or(self.age_at, |at| at.min(self.age_at));
        let first = inbox
            .orders
            .recv_timeout(due.saturating_duration_since(Instant::now()))
            .map_err(|error| error == RecvTimeoutError::Disconnected);
        let mut orders = match first {
            Ok(Batch(first)) => first,
            Err(ended) => return (Vec::new(), ended),
        };
        while orders.len() < MOST {
            let Ok(Batch(more)) = inbox.orders.try_recv() else { break };
            orders.extend(more);
        }
        let ended = orders.iter().any(|(_, order)| matches!(order, Order::Stop));
        (orders, ended)
    }

    fn take(
        &mut self,
        at: UnixMillis,
        order: Order,
        events: &mut Vec<(UnixMillis, Event)>,
        outgoing: &mut Testimony,
        inbox: &Inbox,
    ) {
        match order {
            Order::Event(event) => events.push((at, event)),
            Order::Say(word) => {
                let Some(said) = said_by(word) else { return };
                let Some(signed) = self.sign(at, said, events, outgoing) else { return };
                events.push((at, Event::Said { signed: signed.clone() }));
                outgoing.signed.push(signed.clone());
                if self.mine.len() == RECALLED {
                    self.mine.pop_front();
                }
                self.mine.push_back(signed);
            }
            Order::Decide { ballot, state, by, votes } => {
                let Some(txid) = state.txid else { return };
                let said = Said::Decided { ballot, txid, version: state.version, digest: state.digest() };
                let Some(signed) = self.sign(at, said, events, outgoing) else { return };
                let state = Box::new(Arc::unwrap_or_clone(state));
                events.push((at, Event::Decided { signed, by, state, votes }));
            }
            Order::Hear(from, testimony) => self.hear(at, from, *testimony, events),
            Order::Recall(peer) => {
                let signer = Arc::clone(&self.tls.borrow().signer);
                let certificate = Some(Octets(signer.certificate.to_vec()));
                let testimony = Testimony { certificate, signed: self.mine.iter().cloned().collect() };
                let _ = inbox.outgoing.try_send(Outgoing { to: Some(peer), testimony });
            }
            Order::Stop => {}
        }
    }

    /// Signs with the certificate in use, which is filed and handed on when it is new.
    fn sign(
        &mut self,
        at: UnixMillis,
        said: Said,
        events: &mut Vec<(UnixMillis, Event)>,
        outgoing: &mut Testimony,
    ) -> Option<Signed> {
        let (signer, cluster) = {
            let tls = self.tls.borrow();
            (Arc::clone(&tls.signer), tls.trust_domain.clone())
        };
        if self.signer.as_ref().is_none_or(|before| before.serial != signer.serial) {
            let der = Octets(signer.certificate.to_vec());
            outgoing.certificate = Some(der.clone());
            self.filed.insert(signer.serial.clone());
            events.push((at, Event::Certificate { of: self.node, serial: signer.serial.clone(), der }));
            self.signer = Some(Arc::clone(&signer));
        }
        let statement = Statement { cluster, node: self.node, at, said };
        match signer.sign(&signed_bytes(&statement)) {
            Ok((scheme, signature)) => {
                let serial = signer.serial.clone();
                Some(Signed { statement, serial, scheme, signature: Octets(signature) })
            }
            Err(error) => {
                tracing::error!(%error, "A statement for the audit could not be signed");
                None
            }
        }
    }

    /// Files what a peer hands over. Whether the signature is right is for [`verify`](super::verify()) to say: the connection
    /// has proved who hands it over, and a wrong one is evidence, too.
    fn hear(&mut self, at: UnixMillis, from: NodeId, testimony: Testimony, events: &mut Vec<(UnixMillis, Event)>) {
        let Testimony { certificate, signed } = testimony;
        if let Some(der) = certificate.filter(|der| der.0.len() <= MAX_CERTIFICATE) {
            let facts = trust::CertificateFacts::of(&der.0.as_slice().into());
            let serial = facts.map_or_else(|| "-".to_owned(), |facts| facts.serial);
            if self.filed.len() < MAX_REMEMBERED && self.filed.insert(serial.clone()) {
                events.push((at, Event::Certificate { of: from, serial, der }));
            }
        }
        for signed in signed {
            let Statement { cluster, node, said, .. } = &signed.statement;
            let sizes = [(cluster.len(), 256), (signed.serial.len(), 64), (signed.signature.0.len(), MAX_SIGNATURE)];
            let reason = match said {
                Said::Vote { against, .. } => against.as_ref().map_or(0, String::len),
                Said::Accepted { .. } | Said::Decided { .. } => 0,
            };
            let why = if *node != from {
                format!("a statement of {node}")
            } else if sizes.iter().any(|(found, most)| found > most) || reason > 4 * model::MAX_REASON {
                "a statement that is too long".to_owned()
            } else {
                events.push((at, Event::Said { signed }));
                continue;
            };
            events.push((at, Event::Disbelieved { peer: from, why }));
            break;
        }
    }

    fn write(&mut self, mut events: Vec<(UnixMillis, Event)>) {
        if self.missing > 0 {
            events.insert(0, (unix_millis(), Event::Lost { lines: self.missing }));
        }
        if events.is_empty() {
            return;
        }
        match self.record.append(&events) {
            Ok(()) => {
                self.missing = 0;
                self.seal_at.get_or_insert_with(|| Instant::now() + SEAL_EVERY);
            }
            Err(error) => {
                if self.missing == 0 {
                    tracing::error!(%error, "The audit record cannot be written: the node goes on, and the record will say how much is missing");
                }
                let lost = if self.missing > 0 { events.len() - 1 } else { events.len() };
                self.missing += lost as u64;
            }
        }
    }

    fn age(&mut self) {
        if Instant::now() < self.age_at {
            return;
        }
        self.age_at = Instant::now() + AGE_EVERY;
        if let Err(error) = self.record.age(unix_millis()) {
            tracing::error!(%error, "What is too old in the audit record cannot be removed");
        }
    }

    fn seal(&mut self) {
        self.seal_at = None;
        let (seq, digest) = self.record.head();
        let signer = Arc::clone(&self.tls.borrow().signer);
        let bytes = Head::signed_bytes(self.node.into(), seq, digest.into());
        let Ok((scheme, signature)) = signer.sign(&bytes) else { return };
        let (serial, signature) = (signer.serial.clone().into(), signature.into());
        let head = Head { seq, digest: digest.into(), serial, scheme, signature };
        if let Err(error) = self.record.seal(&head) {
            tracing::error!(%error, "The audit record cannot be forced to disk");
        }
    }
}

/// The word as it is signed; none for the state before any transaction.
fn said_by(word: Word) -> Option<Said> {
    Some(match word {
        Word::Vote(state, against) => {
            Said::Vote { txid: state.txid?, version: state.version, digest: state.digest(), against }
        }
        Word::Accepted(ballot, state, members) => {
            let (txid, version, digest) = (state.txid?, state.version, state.digest());
            Said::Accepted { ballot, txid, version, digest, members }
        }
    })
}
