//! The certificates that a node holds: in use, loaded anew, and near their end.
//!
//! New ones are read, checked and built as a whole before anything is exchanged; whatever is wrong with them leaves
//! those in use where they are.

use super::config::NodeConfig;
use super::expiry::{Kind, Lifetime, Reminders, Word};
use api::CertificateInfo;
use arc_swap::ArcSwap;
use audit::{Event, Log};
use jiff::Timestamp;
use model::{Peers, UnixMillis};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tls::{ConfigError, ControlPlane, CrlPolicy, HttpsPlane, Reason};
use tokio::sync::watch;
use trust::{CaProblem, CertificateFacts, CrlFacts, CrlProblem, FileError, FileWatch, NodeFiles, TrustError};

/// The certificates of a node in the forms that its two ports use. Each form is exchanged as a whole, and live
/// connections that the new one no longer admits end.
pub struct Certificates {
    pub(super) control: watch::Sender<Arc<ControlPlane>>,
    pub(super) https: watch::Sender<Arc<HttpsPlane>>,
    pub(super) shown: Arc<ArcSwap<Vec<CertificateInfo>>>,
    pub(super) reloads: Arc<Reloads>,
    /// Where reloads are filed.
    audit: Log,
    files: FileWatch,
    lives: Vec<Lifetime>,
    reminders: Reminders,
}

/// What became of the attempts to load certificates anew.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    pub(super) done: AtomicU64,
    pub(super) failed: AtomicU64,
    /// When certificates were last loaded, in seconds of Unix time.
    pub(super) last_done: AtomicU64,
    /// Whether the authority's key is on this machine.
    pub(super) ca_key_present: AtomicBool,
    /// Since when those in use are in use, by kind, in seconds of Unix time.
    pub(super) rotated: Mutex<BTreeMap<Kind, u64>>,
}

impl Reloads {
    /// Notes for which kinds `new` holds others than `old`.
    fn note_rotation(&self, old: &[Lifetime], new: &[Lifetime], now: Timestamp) {
        let of = |lives: &[Lifetime], kind: Kind| -> Vec<String> {
            lives.iter().filter(|life| life.kind == kind).map(|life| life.serial.clone()).collect()
        };
        let mut rotated = self.rotated.lock().unwrap_or_else(PoisonError::into_inner);
        for kind in Kind::ALL {
            if of(old, kind) != of(new, kind) {
                rotated.insert(kind, seconds(now));
            }
        }
    }
}

/// Both ports' configurations, built together so that they are exchanged together or not at all.
struct Built {
    control: ControlPlane,
    https: HttpsPlane,
    shown: Vec<CertificateInfo>,
    lives: Vec<Lifetime>,
    ca_key_present: bool,
    /// The serial numbers on the revocation lists.
    revoked: Vec<String>,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Files(#[from] TrustError),
    #[error(transparent)]
    Tls(#[from] ConfigError),
}

impl Built {
    fn new(files: &NodeFiles, config: &NodeConfig, peers: &Peers) -> Result<Self, ConfigError> {
        let lives = lives(files);
        Ok(Self {
            control: ControlPlane::new(files, config.me, peers.members(), config.crl_policy)?,
            https: HttpsPlane::new(files, config.client_auth, config.crl_policy)?,
            shown: lives.iter().map(shown).collect(),
            lives,
            ca_key_present: files.ca_key.is_some(),
            revoked: files.crl_facts.iter().flat_map(|facts| &facts.revoked).cloned().collect(),
        })
    }

    fn load(config: &NodeConfig, peers: &Peers) -> Result<Self, LoadError> {
        let files = open_files(config, Some(peers))?;
        Ok(Self::new(&files, config, peers)?)
    }
}

impl Certificates {
    /// The certificates of `files`, which were read after `watch` looked at them. Fails when rustls cannot use them.
    pub fn new(files: &NodeFiles, watch: FileWatch, config: &NodeConfig, peers: &Peers) -> Result<Self, ConfigError> {
        let Built { control, https, shown, lives, ca_key_present, .. } = Built::new(files, config, peers)?;
        let last_done = AtomicU64::new(seconds(files.loaded_at));
        let reloads = Reloads { ca_key_present: ca_key_present.into(), last_done, ..Reloads::default() };
        reloads.note_rotation(&[], &lives, files.loaded_at);
        Ok(Self {
            control: watch::Sender::new(Arc::new(control)),
            https: watch::Sender::new(Arc::new(https)),
            shown: Arc::new(ArcSwap::from_pointee(shown)),
            reloads: Arc::new(reloads),
            audit: Log::none(),
            files: watch,
            lives,
            reminders: Reminders::default(),
        })
    }

    /// The same, whose reloads are filed in `audit`: the record is signed with them, so they come first.
    pub(super) fn filed_in(self, audit: Log) -> Self {
        Self { audit, ..self }
    }

    /// Loads them anew; any error keeps what there is.
    pub(super) fn reload(&mut self, config: &NodeConfig, peers: &Peers) {
        // What is there by now needs no second load. What changes from here on does.
        self.files.changed();
        self.load(config, peers);
    }

    /// Loads them anew if their files have changed since the last look. So files that cannot be used are tried and
    /// mentioned once, and again when they change again.
    pub(super) fn reload_if_changed(&mut self, config: &NodeConfig, peers: &Peers) {
        if self.files.changed() {
            tracing::info!("The certificates' files have changed");
            self.load(config, peers);
        }
    }

    fn load(&mut self, config: &NodeConfig, peers: &Peers) {
        match Built::load(config, peers) {
            Ok(Built { control, https, shown, lives, ca_key_present, revoked }) => {
                self.control.send_replace(Arc::new(control));
                self.https.send_replace(Arc::new(https));
                self.shown.store(Arc::new(shown));
                let lists = lives.iter().filter(|life| life.kind == Kind::RevocationList);
                let lists = lists.map(|life| life.serial.clone()).collect();
                self.audit.file(Event::Reloaded { outcome: "ok".to_owned(), lists, revoked });
                self.reloads.note_rotation(&self.lives, &lives, Timestamp::now());
                self.lives = lives;
                self.reloads.ca_key_present.store(ca_key_present, Ordering::Relaxed);
                self.reloads.last_done.store(seconds(Timestamp::now()), Ordering::Relaxed);
                self.reloads.done.fetch_add(1, Ordering::Relaxed);
                tracing::info!("Certificates reloaded: peers and clients that they no longer admit are cut off");
            }
            Err(error) => {
                self.reloads.failed.fetch_add(1, Ordering::Relaxed);
                let detail = in_full(&error);
                let outcome = format!("{}: {detail}", word(&error));
                self.audit.file(Event::Reloaded { outcome, lists: Vec::new(), revoked: Vec::new() });
                tracing::error!(
                    event = "reload_failed",
                    reason = word(&error),
                    detail,
                    "Certificates not reloaded: those in use stay"
                );
            }
        }
    }

    /// Says which of them end soon or have ended, as often as that is worth a line.
    pub(super) fn remind(&mut self, policy: CrlPolicy) {
        let now = Timestamp::now();
        for (life, word) in self.reminders.due(now, &self.lives) {
            say(now, life, word, policy);
        }
    }
}

/// Reads the node's certificates, and checks that they are for the address that it is configured with.
pub(super) fn open_files(config: &NodeConfig, peers: Option<&Peers>) -> Result<NodeFiles, TrustError> {
    let files = NodeFiles::load(&config.certs, config.me)?;
    if let Some(own) = peers.and_then(|peers| peers.host(config.me)) {
        files.check_address(own)?;
    }
    files.check_server()?;
    Ok(files)
}

fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_second()).unwrap_or_default()
}

fn lives(files: &NodeFiles) -> Vec<Lifetime> {
    let certificate = |kind, facts: &CertificateFacts| Lifetime {
        kind,
        subject: facts.spiffe_id.clone().unwrap_or_else(|| facts.subject.clone()),
        serial: facts.serial.clone(),
        from: facts.not_before,
        until: facts.not_after,
    };
    let list = |facts: &CrlFacts| Lifetime {
        kind: Kind::RevocationList,
        subject: facts.issuer.clone(),
        serial: facts.number.clone().unwrap_or_default(),
        from: facts.this_update,
        until: facts.next_update.unwrap_or(Timestamp::MAX),
    };
    let authorities = files.ca_facts.iter().map(|facts| certificate(Kind::Authority, facts));
    std::iter::once(certificate(Kind::Node, &files.leaf))
        .chain(authorities)
        .chain(files.crl_facts.iter().map(list))
        .collect()
}

fn shown(life: &Lifetime) -> CertificateInfo {
    let millis = |at: Timestamp| UnixMillis(u64::try_from(at.as_millisecond()).unwrap_or(0));
    // The API knows the largest number as the date of what does not end.
    let not_after = if life.until == Timestamp::MAX { UnixMillis(u64::MAX) } else { millis(life.until) };
    CertificateInfo { kind: life.kind.word(), subject: life.subject.clone(), serial: life.serial.clone(), not_after }
}

fn say(now: Timestamp, life: &Lifetime, word: Word, policy: CrlPolicy) {
    let Lifetime { kind, subject, serial, until, .. } = life;
    let hours_left = until.duration_since(now).as_hours();
    let consequence = match policy {
        CrlPolicy::Warn => "it still counts",
        CrlPolicy::Enforce => "no peer is let in while it is out of date",
    };
    match (kind, word) {
        (Kind::Node | Kind::Authority, Word::Renew) => {
            let kind = kind.word();
            tracing::info!(kind, subject, serial, not_after = %until, "Two thirds of a certificate's time are over: time for a new one");
        }
        (Kind::Node | Kind::Authority, Word::Ending) => {
            let kind = kind.word();
            tracing::warn!(kind, subject, serial, not_after = %until, hours_left, reason = "expires_soon", "A certificate ends soon: make and copy a new one");
        }
        (Kind::Node, Word::Ended) => {
            tracing::error!(subject, serial, not_after = %until, reason = %Reason::Expired, "This node's certificate has expired: it dials nobody until there is a new one");
        }
        (Kind::Authority, Word::Ended) => {
            tracing::error!(subject, serial, not_after = %until, reason = "ca_expired", "The authority's certificate has expired: nobody may trust what it signed");
        }
        (Kind::RevocationList, Word::Renew | Word::Ending | Word::Ended) => {
            tracing::warn!(
                issuer = subject,
                number = serial,
                next_update = %until,
                hours_left,
                reason = %Reason::CrlExpired,
                consequence,
                "The list of revoked certificates is out of date, or will be within three days: sign and copy a new one"
            );
        }
    }
}

/// The error and what caused it, in one line.
fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The stable word for the log.
fn word(error: &LoadError) -> &'static str {
    match error {
        LoadError::Tls(_) => "unusable",
        LoadError::Files(error) => match error {
            TrustError::KeyMismatch { .. } => "key_mismatch",
            TrustError::UnsafeKey { .. } => "key_permissions",
            TrustError::Crl { problem: CrlProblem::BadSignature(_) | CrlProblem::UnknownIssuer(_), .. } => {
                Reason::CrlBadSignature.word()
            }
            TrustError::Crl { problem: CrlProblem::Malformed | CrlProblem::Absent(_), .. } => "crl_invalid",
            TrustError::Ca { problem: CaProblem::Expired(..), .. } => "ca_expired",
            TrustError::Ca { .. } => "ca_invalid",
            TrustError::Expired { .. } => Reason::Expired.word(),
            TrustError::NotYetValid { .. } => Reason::NotYetValid.word(),
            TrustError::Svid { .. } => Reason::BadSvid.word(),
            TrustError::Chain { .. } => "not_accepted",
            TrustError::File(FileError::Missing { .. }) => "missing",
            TrustError::Address { .. } => Reason::AddressMismatch.word(),
            TrustError::Identity { .. } | TrustError::Bundle { .. } => "another_node",
            TrustError::File(FileError::Format { .. } | FileError::TooLarge { .. }) => "malformed",
            TrustError::File(FileError::Io { .. }) => "unreadable",
        },
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use api::Reporters;
    use issue::{Existing, InitPlan, init};
    use member::{IsolationPolicy, OnEmptyDisk};
    use mesh::{AddressCheck, ExtraSources};
    use model::{Keep, Networks, NodeId};
    use proxy::{Testers, Upstreams};
    use rcgen::{CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, SerialNumber};
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::time::Duration;
    use time::OffsetDateTime;
    use tls::ClientAuth;

    pub(crate) struct World {
        dir: tempfile::TempDir,
        pub(crate) config: NodeConfig,
        pub(crate) peers: Peers,
    }

    impl World {
        fn new() -> (Self, Certificates) {
            Self::on(["127.0.0.1", "127.0.0.2", "127.0.0.3"])
        }

        /// Node A's, with the members at these addresses.
        pub(crate) fn on(hosts: [&str; 3]) -> (Self, Certificates) {
            let dir = tempfile::tempdir().expect("a directory");
            let members = hosts.into_iter().zip(["node-a", "node-b", "node-c"]);
            let peers = members.map(|(host, id)| (id.parse().expect("a member"), host.parse().expect("an address")));
            let peers = Peers::new(peers).expect("three members");
            init(&InitPlan::for_peers(dir.path(), &peers)).expect("certificates");
            let config = NodeConfig {
                me: NodeId::A,
                peers: Some(peers.clone()),
                certs: dir.path().to_owned(),
                data: dir.path().join("data"),
                stable: "v1".parse().expect("a model"),
                upstreams: Upstreams::default(),
                upstream_timeout: Duration::from_secs(1),
                testers: Testers::default(),
                outcomes: Reporters::default(),
                trusted_proxies: Networks::default(),
                bind: None,
                on_isolation: IsolationPolicy::Stable,
                strict: false,
                on_empty_disk: OnEmptyDisk::default(),
                address_check: AddressCheck::Enforce,
                extra_sources: ExtraSources::default(),
                crl_policy: CrlPolicy::Warn,
                client_auth: ClientAuth::Optional,
                wire: Default::default(),
                stop_delay: Duration::ZERO,
                drain: Duration::ZERO,
                history_keep: Keep::bytes(1024 * 1024),
                audit_keep: Keep::bytes(1024 * 1024),
            };
            let watch = FileWatch::new(dir.path(), NodeId::A);
            let files = open_files(&config, Some(&peers)).expect("good files");
            let certificates = Certificates::new(&files, watch, &config, &peers).expect("good certificates");
            (Self { dir, config, peers }, certificates)
        }

        fn own(&self, name: &str) -> PathBuf {
            self.dir.path().join("node-a").join(name)
        }

        fn reason(&self) -> Option<&'static str> {
            Built::load(&self.config, &self.peers).err().map(|error| word(&error))
        }
    }

    fn counts(certificates: &Certificates) -> (u64, u64) {
        let Reloads { done, failed, .. } = certificates.reloads.as_ref();
        (done.load(Ordering::Relaxed), failed.load(Ordering::Relaxed))
    }

    fn replace(path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).expect("it is ours");
    }

    #[test]
    fn a_half_written_pair_is_tried_once_and_taken_when_it_is_whole() {
        let (world, mut certificates) = World::new();
        let kept = [world.own("node.pem"), world.own("node.key")].map(|path| fs::read(path).expect("it is ours"));
        let trust_domain = certificates.control.borrow().trust_domain.clone();
        let mut plan = InitPlan::for_peers(world.dir.path(), &world.peers);
        (plan.trust_domain, plan.existing) = (Some(trust_domain), Existing::KeepAsBackup);
        init(&plan).expect("new certificates");
        let new_key = fs::read(world.own("node.key")).expect("it is ours");
        replace(&world.own("node.key"), &kept[1]);
        let before = (Arc::clone(&certificates.control.borrow()), certificates.shown.load_full());
        for _ in 0..3 {
            certificates.reload_if_changed(&world.config, &world.peers);
        }
        assert_eq!((counts(&certificates), world.reason()), ((0, 1), Some("key_mismatch")));
        assert!(Arc::ptr_eq(&before.0, &certificates.control.borrow()), "the old ones stay");
        assert_eq!(before.1, certificates.shown.load_full());
        replace(&world.own("node.key"), &new_key);
        certificates.reload_if_changed(&world.config, &world.peers);
        certificates.reload_if_changed(&world.config, &world.peers);
        assert_eq!(counts(&certificates), (1, 1));
        assert_ne!(before.1, certificates.shown.load_full());
        certificates.reload(&world.config, &world.peers);
        assert_eq!(counts(&certificates), (2, 1), "a signal loads what has not changed, too");
    }

    #[test]
    fn a_list_by_another_authority_of_the_same_name_is_not_taken() {
        let (world, mut certificates) = World::new();
        let ca = fs::read_to_string(world.own("ca.pem")).expect("it is ours");
        let rogue = Issuer::from_ca_cert_pem(&ca, KeyPair::generate().expect("a key")).expect("the same name");
        let now = OffsetDateTime::now_utc();
        let list = CertificateRevocationListParams {
            this_update: now,
            next_update: now + time::Duration::days(1),
            crl_number: SerialNumber::from(9),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let pem = list.signed_by(&rogue).expect("a list").pem().expect("PEM");
        replace(&world.own("crl.pem"), pem.as_bytes());
        let before = Arc::clone(&certificates.https.borrow());
        certificates.reload(&world.config, &world.peers);
        assert_eq!((counts(&certificates), world.reason()), ((0, 1), Some("crl_bad_signature")));
        assert!(Arc::ptr_eq(&before, &certificates.https.borrow()), "the old ones stay");
    }

    #[test]
    fn only_what_is_new_was_rotated() {
        let life = |kind, serial: &str| Lifetime {
            kind,
            subject: "it".into(),
            serial: serial.into(),
            from: Timestamp::UNIX_EPOCH,
            until: Timestamp::MAX,
        };
        let (reloads, at) = (Reloads::default(), |second| Timestamp::from_second(second).expect("a time"));
        let first = [life(Kind::Node, "1"), life(Kind::RevocationList, "1")];
        reloads.note_rotation(&[], &first, at(10));
        reloads.note_rotation(&first, &[life(Kind::Node, "1"), life(Kind::RevocationList, "2")], at(20));
        let rotated = reloads.rotated.lock().expect("no panic").clone();
        assert_eq!(rotated, [(Kind::Node, 10), (Kind::RevocationList, 20)].into());
    }

    #[test]
    fn unsafe_and_missing_files_have_words_of_their_own() {
        use std::os::unix::fs::PermissionsExt;
        let (world, _) = World::new();
        fs::set_permissions(world.own("node.key"), fs::Permissions::from_mode(0o640)).expect("it is ours");
        assert_eq!(world.reason(), Some("key_permissions"));
        fs::remove_file(world.own("node.key")).expect("it was there");
        assert_eq!(world.reason(), Some("missing"));
    }
}
