//! Certificate signing requests, for private keys that never leave their machine.

use super::authority::{KeyAlgorithm, key_pair};
use super::error::{IssueError, Part, PlanError};
use super::place::make_directory;
use super::tree::{PRIVATE_DIRECTORY, PRIVATE_FILE, PUBLIC_FILE};
use super::{disk, profile};
use model::{Host, NodeId};
use rustls_pki_types::CertificateSigningRequestDer;
use serde::Serialize;
use std::path::{Path, PathBuf};
use trust::file::{FileError, malformed, parse};
use trust::keyfile::read_key;
use trust::{facts, file, layout};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

/// The name of the request in the node's folder.
const REQUEST: &str = "node.csr";

/// The contents of a certificate request.
#[derive(Clone, Debug)]
pub struct CsrPlan {
    /// The certificate directory of this machine; made if it is not there.
    pub dir: PathBuf,
    /// Which member.
    pub node: NodeId,
    /// Its addresses, for whoever reads the request; what holds is said when it is signed.
    pub hosts: Vec<Host>,
    /// The kind of a new key.
    pub key_algorithm: KeyAlgorithm,
}

/// A request that is ready to be signed.
#[derive(Clone, Debug, Serialize)]
pub struct CsrReport {
    /// Which member.
    pub id: NodeId,
    /// The key, which stays.
    pub key: PathBuf,
    /// Whether the key was made now; else it was there.
    pub made_key: bool,
    /// The request, to be taken to where the authority is.
    pub request: PathBuf,
    /// Whether the request was written now; else it was there and is of the same key and addresses.
    pub written: bool,
    /// SHA-256 of the public key, to compare on both machines.
    pub public_key_sha256: String,
    /// The addresses in the request.
    pub hosts: Vec<Host>,
}

/// Make a key, unless there is one, and a request for a certificate of it. Fails when the key that is there cannot be
/// used, or the system refuses.
pub fn request(plan: &CsrPlan) -> Result<CsrReport, IssueError> {
    if plan.hosts.is_empty() {
        return Err(PlanError::NoAddress(plan.node).into());
    }
    make_directory(&plan.dir)?;
    let _lock = disk::lock(&plan.dir)?;
    let folder = plan.dir.join(plan.node.to_string());
    if !folder.exists() {
        disk::create_directory(&folder, PRIVATE_DIRECTORY)?;
    }
    let (key_path, path) = (folder.join(layout::NODE.1), folder.join(REQUEST));
    let (key, made_key) = match read_key(&key_path)? {
        Some(pem) => (Zeroizing::new(key_pair(&key_path, &pem)?), false),
        None => {
            let key = plan.key_algorithm.generate()?;
            let pem = Zeroizing::new(key.serialize_pem());
            disk::create_file(&key_path, PRIVATE_FILE, pem.as_bytes())?;
            disk::sync_directory(&folder)?;
            (key, true)
        }
    };
    let present = if path.exists() { Request::read(&path).ok() } else { None };
    let same = present.is_some_and(|request| request.key == key.public_key_raw() && request.hosts == plan.hosts);
    if !same {
        let text = profile::request(plan.node, &plan.hosts)?.serialize_request(&*key)?.pem()?;
        disk::replace_file(&path, PUBLIC_FILE, text.as_bytes())?;
    }
    Ok(CsrReport {
        id: plan.node,
        key: key_path,
        made_key,
        request: path,
        written: !same,
        public_key_sha256: facts::sha256(key.public_key_raw()),
        hosts: plan.hosts.clone(),
    })
}

/// A certificate request, its signature checked: whoever made it has the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The kind of the key.
    pub kind: String,
    /// The public key with its kind, in DER.
    pub public: Vec<u8>,
    /// The bits of the public key.
    pub key: Vec<u8>,
    /// The addresses that it asks for.
    pub hosts: Vec<Host>,
}

impl Request {
    /// Reads a request. Fails when it is not there, is not exactly one request, or is not signed by the key in it.
    pub(super) fn read(path: &Path) -> Result<Self, IssueError> {
        let Some(pem) = file::read(path)? else {
            return Err(IssueError::Missing { path: path.to_owned(), part: Part::Request });
        };
        Ok(Self::parse(path, &pem)?)
    }

    /// Parses a request in PEM; the path is where it comes from. Fails when it is not exactly one request, or not
    /// signed by the key in it.
    pub fn parse(path: &Path, pem: &[u8]) -> Result<Self, FileError> {
        let what = "a certificate request";
        let requests: Vec<CertificateSigningRequestDer<'static>> = parse(path, what, pem)?;
        let [der] = requests.as_slice() else { return Err(malformed(path, what, "it holds several")) };
        let (rest, parsed) =
            X509CertificationRequest::from_der(der).map_err(|_| malformed(path, what, "it is not a request in DER"))?;
        if !rest.is_empty() {
            return Err(malformed(path, what, "more bytes follow it"));
        }
        if parsed.verify_signature().is_err() {
            let text = "its signature is not by the key in it, so that whoever made it did not show to have that key";
            return Err(malformed(path, what, text));
        }
        let subject = &parsed.certification_request_info.subject_pki;
        let names = parsed.requested_extensions().into_iter().flatten();
        Ok(Self {
            kind: facts::key_kind(subject),
            public: subject.raw.to_vec(),
            key: subject.subject_public_key.data.to_vec(),
            hosts: names.flat_map(facts::hosts_of).collect(),
        })
    }
}
