//! Which addresses belong to which member: the third thing, beside certificate and claimed name, that must agree.
//!
//! Host names are looked up in the background, forward only. Nobody who connects ever waits for a resolver, and an
//! answer that is a little old is better than none, because the certificate remains the first factor.

use ipnet::IpNet;
use model::{Host, NodeId, Peers};
use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tls::{Reason, Refusal, WordError};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use trust::parse_network;

/// How long an answer is used before the name is looked up again.
const TIME_TO_LIVE: Duration = Duration::from_secs(30);
/// How soon a failed look-up is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// A resolver that takes longer is called slow in the log; its answer is used when it comes.
const SLOW: Duration = Duration::from_secs(1);
/// How long the last answer is used when the resolver fails: a resolver's outage must not become the cluster's.
const STALE: Duration = Duration::from_secs(600);
/// The most addresses of one name that are kept.
const MAX_ADDRESSES: usize = 16;

/// What it means when a peer connects from an address that is not configured for it: `CANARY_PEER_ADDR_CHECK`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressCheck {
    /// It is refused.
    #[default]
    Enforce,
    /// It is let in, with a warning.
    Warn,
    /// It is let in.
    Off,
}

impl FromStr for AddressCheck {
    type Err = WordError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "enforce" => Ok(Self::Enforce),
            "warn" => Ok(Self::Warn),
            "off" => Ok(Self::Off),
            _ => Err(WordError::new(word, "enforce, warn, off")),
        }
    }
}

/// Further addresses that members may connect from, behind NAT for example: `CANARY_PEERS_EXTRA_SOURCES`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtraSources(BTreeMap<NodeId, Vec<IpNet>>);

/// The text does not name further addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part:?} is not a member and a network such as node-b=10.0.0.0/24: {why}")]
pub struct ExtraSourcesError {
    part: String,
    why: String,
}

impl FromStr for ExtraSources {
    type Err = ExtraSourcesError;

    /// `node-b=10.0.0.0/24,node-b=10.1.0.7,node-c=2001:db8::/64`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut sources: BTreeMap<NodeId, Vec<IpNet>> = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let wrong = |why: String| ExtraSourcesError { part: part.chars().take(64).collect(), why };
            let (id, network) = part.split_once('=').ok_or_else(|| wrong("there is no '='".into()))?;
            let id = id.parse().map_err(|error: model::NodeIdError| wrong(error.to_string()))?;
            let network = match network.parse::<IpAddr>() {
                Ok(address) => IpNet::from(address),
                Err(_) => parse_network(network).map_err(wrong)?,
            };
            sources.entry(id).or_default().push(network);
        }
        Ok(Self(sources))
    }
}

/// The members' addresses as they are known now.
#[derive(Debug)]
pub(crate) struct AddressBook {
    hosts: BTreeMap<NodeId, Host>,
    extra: ExtraSources,
    check: AddressCheck,
    answers: Mutex<BTreeMap<NodeId, Answer>>,
}

#[derive(Debug)]
struct Answer {
    addresses: Vec<IpAddr>,
    at: Instant,
}

impl AddressBook {
    pub(crate) fn new(peers: &Peers, check: AddressCheck, extra: ExtraSources) -> Self {
        let hosts = peers.iter().map(|(id, host)| (id, host.clone())).collect();
        Self { hosts, extra, check, answers: Mutex::default() }
    }

    /// The configured host of a member.
    pub(crate) fn host(&self, id: NodeId) -> Option<&Host> {
        self.hosts.get(&id)
    }

    /// Where a member can be dialed now; empty while its name is not known.
    pub(crate) fn addresses(&self, id: NodeId, now: Instant) -> Vec<IpAddr> {
        match self.hosts.get(&id) {
            Some(Host::Ip(address)) => vec![*address],
            Some(Host::Name(_)) => {
                let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
                let answer = answers.get(&id).filter(|answer| now.duration_since(answer.at) < STALE);
                answer.map(|answer| answer.addresses.clone()).unwrap_or_default()
            }
            None => Vec::new(),
        }
    }

    /// Whether `id` may connect from `remote`. Fails when the address is not the member's, and that matters.
    pub(crate) fn judge(&self, id: NodeId, remote: IpAddr, now: Instant) -> Result<(), Refusal> {
        if self.check == AddressCheck::Off {
            return Ok(());
        }
        let remote = remote.to_canonical();
        let known = self.addresses(id, now);
        let extra = self.extra.0.get(&id).map(Vec::as_slice).unwrap_or_default();
        if known.contains(&remote) || extra.iter().any(|network| network.contains(&remote)) {
            return Ok(());
        }
        let refusal = match self.hosts.get(&id) {
            Some(host) if known.is_empty() => {
                Refusal::new(Reason::AddressUnresolvable, format!("no address is known for {host}, the host of {id}"))
            }
            Some(_) | None => Refusal::new(
                Reason::AddressMismatch,
                format!(
                    "{id} came from {remote}, configured={known:?}; see {} and CANARY_PEERS_EXTRA_SOURCES",
                    id.variable()
                ),
            ),
        };
        if self.check == AddressCheck::Enforce {
            return Err(refusal);
        }
        tracing::warn!(
            target: "canary::security",
            event = "peer_address",
            peer = %id,
            remote = %remote,
            reason = %refusal.reason,
            detail = refusal.detail,
            "A peer came from an address that is not configured for it; CANARY_PEER_ADDR_CHECK=warn lets it in"
        );
        Ok(())
    }

    /// The members that have a name instead of an address.
    pub(crate) fn named(&self) -> Vec<(NodeId, String)> {
        let name = |(id, host): (&NodeId, &Host)| match host {
            Host::Name(name) => Some((*id, name.clone())),
            Host::Ip(_) => None,
        };
        self.hosts.iter().filter_map(name).collect()
    }

    /// Keeps the addresses of one name up to date, for ever.
    pub(crate) async fn keep_resolving(self: Arc<Self>, id: NodeId, name: String) {
        let mut failing = false;
        loop {
            let mut lookup = look_up(name.clone());
            let result = match timeout(SLOW, &mut lookup).await {
                Ok(result) => result,
                Err(_) => {
                    tracing::warn!(peer = %id, host = name, "The resolver is slow");
                    lookup.await
                }
            };
            match result.unwrap_or_else(|_| Err("the look-up could not be made".to_owned())) {
                Ok(addresses) => {
                    failing = false;
                    let answer = Answer { addresses, at: Instant::now() };
                    self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(id, answer);
                    sleep(TIME_TO_LIVE).await;
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(peer = %id, host = name, reason = %Reason::AddressUnresolvable, error, "Cannot resolve a peer's host name");
                    }
                    sleep(RETRY).await;
                }
            }
        }
    }
}

type Lookup = Result<Vec<IpAddr>, String>;

/// Asks the system's resolver on a thread of its own. The call cannot be cancelled, and a pool's thread that hangs in
/// it would keep the process from ending. There is one at a time for a name.
fn look_up(name: String) -> oneshot::Receiver<Lookup> {
    let (answer, lookup) = oneshot::channel();
    let ask = move || {
        let result = (name.as_str(), 0).to_socket_addrs().map_err(|error| error.to_string()).and_then(|found| {
            let mut addresses: Vec<IpAddr> = found.map(|address| address.ip().to_canonical()).collect();
            addresses.dedup();
            addresses.truncate(MAX_ADDRESSES);
            if addresses.is_empty() { Err("it has no address".to_owned()) } else { Ok(addresses) }
        });
        let _ = answer.send(result);
    };
    if let Err(error) = std::thread::Builder::new().name("resolver".into()).spawn(ask) {
        tracing::error!(%error, "Cannot start a thread for the resolver");
    }
    lookup
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(hosts: [&str; 3], check: AddressCheck, extra: &str) -> AddressBook {
        let host = |(index, text): (usize, &str)| {
            let id = NodeId::from_index(u8::try_from(index).expect("three")).expect("a letter");
            (id, text.parse().expect("a host"))
        };
        let peers = Peers::new(hosts.into_iter().enumerate().map(host)).expect("three members");
        AddressBook::new(&peers, check, extra.parse().expect("sources"))
    }

    fn reason(book: &AddressBook, remote: &str) -> Option<Reason> {
        reason_at(book, remote, Instant::now())
    }

    fn reason_at(book: &AddressBook, remote: &str, now: Instant) -> Option<Reason> {
        let b = NodeId::from_index(1).expect("a letter");
        book.judge(b, remote.parse().expect("an address"), now).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn a_peer_comes_from_its_own_address_or_is_refused() {
        let book = book(["10.0.0.1", "10.0.0.2", "10.0.0.3"], AddressCheck::Enforce, "");
        assert_eq!(reason(&book, "10.0.0.2"), None);
        assert_eq!(reason(&book, "::ffff:10.0.0.2"), None);
        assert_eq!(reason(&book, "10.0.0.3"), Some(Reason::AddressMismatch));
        assert_eq!(reason(&book, "::1"), Some(Reason::AddressMismatch));
    }

    #[test]
    fn further_sources_are_networks_of_one_peer() {
        let hosts = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];
        let book = book(hosts, AddressCheck::Enforce, "node-b=10.1.0.0/16, node-b=2001:db8::/64,node-c=10.2.0.1");
        for (remote, wanted) in [
            ("10.1.255.255", None),
            ("10.2.0.1", Some(Reason::AddressMismatch)),
            ("2001:db8::7", None),
            ("2001:db8:0:1::7", Some(Reason::AddressMismatch)),
        ] {
            assert_eq!(reason(&book, remote), wanted, "{remote}");
        }
        for wrong in ["node-b", "node-b=", "x=10.0.0.1", "node-b=10.0.0.0/33"] {
            assert!(wrong.parse::<ExtraSources>().is_err(), "{wrong:?} must be refused");
        }
    }

    #[test]
    fn warn_and_off_let_everyone_in() {
        for check in [AddressCheck::Warn, AddressCheck::Off] {
            assert_eq!(reason(&book(["10.0.0.1", "10.0.0.2", "10.0.0.3"], check, ""), "10.0.0.9"), None);
        }
    }

    #[test]
    fn a_network_of_everything_contains_everything_of_its_kind() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let all = parse_network("0.0.0.0/0").expect("a network");
        assert!(all.contains(&address("10.0.0.1")));
        assert!(!all.contains(&address("::1")));
    }

    #[tokio::test]
    async fn names_are_resolved_in_the_background() {
        let book = Arc::new(book(["10.0.0.1", "localhost", "10.0.0.3"], AddressCheck::Enforce, ""));
        assert_eq!(reason(&book, "127.0.0.1"), Some(Reason::AddressUnresolvable));
        let (id, name) = book.named().remove(0);
        let resolving = Arc::clone(&book).keep_resolving(id, name);
        let known = async {
            while book.addresses(id, Instant::now()).is_empty() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = resolving => {}
            () = known => {}
            () = sleep(Duration::from_secs(10)) => {}
        }
        assert_eq!(reason(&book, "127.0.0.1"), None);
        assert_eq!(reason(&book, "127.0.0.2"), Some(Reason::AddressMismatch));
    }

    #[test]
    fn the_last_answer_is_kept_for_a_while() {
        let book = book(["10.0.0.1", "b.example", "10.0.0.3"], AddressCheck::Enforce, "");
        let (id, _) = book.named().remove(0);
        let at = Instant::now();
        let addresses = vec!["10.0.0.2".parse().expect("an address")];
        book.answers.lock().expect("no panic").insert(id, Answer { addresses, at });
        assert_eq!(reason_at(&book, "10.0.0.2", at + STALE - SLOW), None);
        assert_eq!(reason_at(&book, "10.0.0.2", at + STALE), Some(Reason::AddressUnresolvable));
    }
}
