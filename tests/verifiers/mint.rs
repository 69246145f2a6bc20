//! A cluster whose authority signs whatever a test asks for.

use super::der::Der;
use data_encoding::HEXLOWER_PERMISSIVE;
use issue::InitPlan;
use model::{Host, NodeId};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, SigningKey,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};
use tls::{ControlPlane, CrlPolicy};
use trust::NodeFiles;

/// A certificate, then what stands between it and the authority.
pub(crate) type Chain = Vec<CertificateDer<'static>>;

/// The peer whose certificates are made, and where it is dialed.
pub(crate) const PEER: NodeId = match NodeId::from_letter('b') {
    Some(id) => id,
    None => panic!("a letter"),
};
pub(crate) const PEER_ADDRESS: &str = "10.0.0.2";
/// The common name of whatever stands between the authority and a leaf.
pub(crate) const BETWEEN: &str = "between";
/// The serial number of what was revoked.
pub(crate) const REVOKED: [u8; 16] = [0x77; 16];

pub(crate) struct Mint {
    pub(crate) dir: TempDir,
    pub(crate) domain: String,
    /// Every leaf has this key, so that whoever shows it can also prove to hold it.
    pub(crate) leaf_key: KeyPair,
    authority_key: KeyPair,
    between_key: KeyPair,
    /// What the authority revoked.
    pub(crate) list: CertificateRevocationListDer<'static>,
}

impl Mint {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let hosts = |all: &[&str]| all.iter().map(|host| host.parse::<Host>().expect("an address")).collect::<Vec<_>>();
        let node = |name: &str| name.parse::<NodeId>().expect("a node");
        let nodes = [
            (node("node-a"), hosts(&["10.0.0.1"])),
            (node("node-b"), hosts(&[PEER_ADDRESS, "b.example", "2001:db8::2"])),
            (node("node-c"), hosts(&["10.0.0.3"])),
        ];
        issue::init(&InitPlan::new(dir.path().join("certs"), nodes.into())).expect("certificates");
        let key = fs::read_to_string(dir.path().join("certs/ca/ca.key")).expect("the authority's key");
        let authority_key = KeyPair::from_pem(&key).expect("the authority's key");
        let domain = NodeFiles::load(&dir.path().join("certs"), NodeId::A).expect("good files").bundle.trust_domain;
        let pem = fs::read_to_string(dir.path().join("certs/ca.pem")).expect("the authority");
        let list = list(&Issuer::from_ca_cert_pem(&pem, &authority_key).expect("the authority"));
        let fresh = || KeyPair::generate().expect("a key");
        Self { dir, domain, leaf_key: fresh(), authority_key, between_key: fresh(), list }
    }

    pub(crate) fn certs(&self) -> PathBuf {
        self.dir.path().join("certs")
    }

    pub(crate) fn authority_pem(&self) -> String {
        fs::read_to_string(self.certs().join("ca.pem")).expect("the authority")
    }

    /// What node-a knows and trusts.
    pub(crate) fn plane(&self) -> ControlPlane {
        let mut files = NodeFiles::load(&self.certs(), NodeId::A).expect("good files");
        // An intermediate that is refused shall not be refused for the want of its list.
        let mut between = self.params();
        (between.distinguished_name, between.key_usages) = (name(BETWEEN), vec![KeyUsagePurpose::CrlSign]);
        files.crls = vec![self.list.clone(), list(&Issuer::from_params(&between, &self.between_key))];
        let members = files.bundle.peers.members();
        ControlPlane::new(&files, NodeId::A, members, CrlPolicy::Warn).expect("a configuration")
    }

    /// The name of a member's role in this cluster.
    pub(crate) fn uri(&self, path: &str) -> SanType {
        uri(&format!("spiffe://{}/{path}", self.domain))
    }

    /// The peer's certificate, but for what `change` does to it.
    pub(crate) fn leaf(&self, change: impl FnOnce(&mut CertificateParams)) -> Option<Chain> {
        self.leaf_by(&self.issuer(&self.authority_key), change)
    }

    /// The same, by another key under the authority's name.
    pub(crate) fn leaf_by_namesake(&self) -> Option<Chain> {
        let key = KeyPair::generate().expect("a key");
        self.leaf_by(&self.issuer(&key), |_| ())
    }

    pub(crate) fn leaf_by<K: SigningKey>(
        &self,
        issuer: &Issuer<'_, K>,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Option<Chain> {
        let mut params = self.params();
        change(&mut params);
        Some(vec![params.signed_by(&self.leaf_key, issuer).expect("a certificate").into()])
    }

    /// The peer's certificate under an intermediate that `change` makes of another such certificate.
    pub(crate) fn leaf_below(&self, change: impl FnOnce(&mut CertificateParams)) -> Option<Chain> {
        let mut params = self.params();
        params.distinguished_name = name(BETWEEN);
        change(&mut params);
        let between = params.signed_by(&self.between_key, &self.issuer(&self.authority_key)).expect("a certificate");
        let mut chain = self.leaf_by(&Issuer::from_params(&params, &self.between_key), |_| ())?;
        chain.push(between.into());
        Some(chain)
    }

    /// The peer's certificate with `change` done to its inner part, signed again.
    pub(crate) fn patched(&self, change: impl FnOnce(&mut Der)) -> Option<Chain> {
        self.sealed(change, |inner| self.signed(inner), None)
    }

    /// The authority's signature on these bytes.
    pub(crate) fn signed(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.authority_key.sign(bytes).ok()
    }

    /// The peer's certificate with `change` done to its names, as DER that no library would write.
    pub(crate) fn named(&self, names: &[(u8, &[u8])]) -> Option<Chain> {
        let names = Der::sequence(names.iter().map(|(tag, name)| Der::of(*tag, name)).collect()).bytes();
        self.patched(|inner| {
            let place = inner.place(super::der::ALT_NAMES);
            inner.extensions()[place] = Der::extension(super::der::ALT_NAMES, &[], &names);
        })
    }

    /// The peer's certificate for another key, of which only the public half is needed.
    pub(crate) fn keyed(&self, public: &str) -> Option<Chain> {
        let bytes = HEXLOWER_PERMISSIVE.decode(public.as_bytes()).expect("digits");
        self.patched(|inner| inner.parts()[6] = Der::read(&bytes))
    }

    pub(crate) fn sealed(
        &self,
        change: impl FnOnce(&mut Der),
        sign: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
        outer: Option<&[u8]>,
    ) -> Option<Chain> {
        let mut whole = Der::read(&self.leaf(|_| ())?[0]);
        let parts = whole.parts();
        change(&mut parts[0]);
        let signature = sign(&parts[0].bytes())?;
        if let Some(oid) = outer {
            parts[1] = Der::algorithm(oid);
        }
        parts[2] = Der::bit_string(&signature);
        Some(vec![whole.bytes().into()])
    }

    /// A signature of the authority over SHA-1, which no library here makes any more.
    pub(crate) fn signed_with_sha1(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        sign_with(self.dir.path(), &self.certs().join("ca/ca.key"), "-sha1", bytes)
    }

    pub(crate) fn params(&self) -> CertificateParams {
        let now = OffsetDateTime::now_utc();
        let mut params = CertificateParams::default();
        params.distinguished_name = name("node-b");
        params.not_before = now - Duration::hours(1);
        params.not_after = now + Duration::days(1);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![
            self.uri("node/node-b"),
            SanType::IpAddress(PEER_ADDRESS.parse().expect("an address")),
            SanType::DnsName("b.example".try_into().expect("ASCII")),
        ];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(SerialNumber::from(vec![0x5a; 16]));
        params
    }

    fn issuer<'a>(&self, key: &'a KeyPair) -> Issuer<'static, &'a KeyPair> {
        Issuer::from_ca_cert_pem(&self.authority_pem(), key).expect("the authority")
    }
}

pub(crate) fn name(common: &str) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    name.push(DnType::OrganizationName, "canary");
    name.push(DnType::CommonName, common);
    name
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

/// The list of what this authority revoked: one serial number.
pub(crate) fn list<K: SigningKey>(issuer: &Issuer<'_, K>) -> CertificateRevocationListDer<'static> {
    let now = OffsetDateTime::now_utc();
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(REVOKED.to_vec()),
        revocation_time: now - Duration::minutes(1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: now - Duration::minutes(1),
        next_update: now + Duration::days(1),
        crl_number: SerialNumber::from(7_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(issuer).expect("a list").into()
}

/// A signature by OpenSSL with the key in this file.
pub(crate) fn sign_with(folder: &Path, key: &Path, digest: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let (from, to) = (folder.join("inner.der"), folder.join("inner.sig"));
    fs::write(&from, bytes).expect("written");
    let mut command = Command::new("openssl");
    command.args(["dgst", digest, "-sign"]).arg(key).arg("-out").arg(&to).arg(&from);
    succeeds(&mut command).then(|| fs::read(to).expect("it was just written"))
}

/// A new key of this kind by OpenSSL: its file, and its public half.
pub(crate) fn openssl_key(folder: &Path, kind: &[&str]) -> Option<(PathBuf, Vec<u8>)> {
    let (key, public) = (folder.join("odd.key"), folder.join("odd.pub"));
    let made = succeeds(Command::new("openssl").arg("genpkey").args(kind).arg("-out").arg(&key))
        && succeeds(
            Command::new("openssl")
                .args(["pkey", "-pubout", "-outform", "DER", "-in"])
                .arg(&key)
                .arg("-out")
                .arg(&public),
        );
    made.then(|| (key, fs::read(public).expect("it was just written")))
}

fn succeeds(command: &mut Command) -> bool {
    let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

/// Writes these as the PEM blocks of one file.
pub(crate) fn write_pem(path: &Path, label: &str, blocks: &[&[u8]]) {
    let blocks: Vec<pem::Pem> = blocks.iter().map(|der| pem::Pem::new(label, *der)).collect();
    let lines = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    fs::write(path, pem::encode_many_config(&blocks, lines)).expect("written");
}
