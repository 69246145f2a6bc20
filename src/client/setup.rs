//! The members of a mesh, the authority to trust, and the certificate to ask with.

use crate::Client;
use model::{Peers, PeersError};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trust::{Bundle, ClientFiles, TrustError, load_ca};

/// Longest `bundle.json` that is read: 26 members with the longest host names are a tenth of it.
const MAX_BUNDLE: u64 = 64 * 1024;

/// The reason for which there is no client.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum SetupError {
    /// The certificates cannot be used.
    #[error(transparent)]
    Certificates(#[from] TrustError),
    /// They do not make a configuration of TLS.
    #[error(transparent)]
    Tls(#[from] tls::ConfigError),
    /// `PEERS_NODE_*` do not name members.
    #[error(transparent)]
    Peers(#[from] PeersError),
    #[error("{} cannot be read: {detail}", path.display())]
    Bundle { path: PathBuf, detail: String },
}

impl Client {
    /// A client that shows no certificate and trusts the authority whose `ca.pem` is in `certs`; it can read, where nodes
    /// do not require one. Each node has `patience` to answer a read. Fails when the authority's certificate cannot be
    /// used, or the members are not known.
    pub fn without_certificate(certs: &Path, patience: Duration) -> Result<Self, SetupError> {
        let tls = tls::api_client(&load_ca(certs)?, None)?;
        Ok(Self::new(tls, peers(certs)?, patience))
    }

    /// A client that shows the certificate in `folder`, which has `client.pem`, `client.key` and `ca.pem`, to the members
    /// that are known from `certs`. Fails when these cannot be used, or the members are not known.
    pub fn with_certificate(folder: &Path, certs: &Path, patience: Duration) -> Result<Self, SetupError> {
        let files = ClientFiles::load(folder)?;
        let tls = tls::api_client(&files.ca, Some(&files))?;
        Ok(Self::new(tls, peers(certs)?, patience))
    }
}

/// The members: by `PEERS_NODE_*`, else by the first `bundle.json` below `certs`, else three on this machine. Fails
/// when the variables or the file are there and do not name members.
pub fn peers(certs: &Path) -> Result<Peers, SetupError> {
    match configured_peers()? {
        Some(peers) => Ok(peers),
        None => Ok(bundled(certs)?.unwrap_or_else(Peers::local)),
    }
}

/// The members by the `PEERS_NODE_*` of this process, if there is any of these. Fails when they do not name members.
pub fn configured_peers() -> Result<Option<Peers>, PeersError> {
    // A variable's name in another encoding is none of ours; a value in one is refused as an address.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
    Peers::from_variables(variables)
}

fn bundled(certs: &Path) -> Result<Option<Peers>, SetupError> {
    let Ok(folders) = std::fs::read_dir(certs) else { return Ok(None) };
    let mut paths: Vec<PathBuf> = folders.filter_map(|entry| Some(entry.ok()?.path().join("bundle.json"))).collect();
    paths.sort();
    let Some((path, file)) = paths.into_iter().find_map(|path| Some((path.clone(), File::open(path).ok()?))) else {
        return Ok(None);
    };
    let wrong = |detail: String| SetupError::Bundle { path: path.clone(), detail };
    let mut text = String::new();
    file.take(MAX_BUNDLE).read_to_string(&mut text).map_err(|error| wrong(error.to_string()))?;
    let bundle: Bundle = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    Ok(Some(bundle.peers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bundle_says_where_the_members_are() {
        let certs = tempfile::tempdir().expect("a directory");
        assert!(bundled(certs.path()).expect("nothing there").is_none());
        let bundle = |id: &str, host: &str| {
            let folder = certs.path().join(id);
            std::fs::create_dir(&folder).expect("a folder");
            let peers = serde_json::json!({"node-a": host, "node-b": "10.0.0.2", "node-c": "10.0.0.3"});
            let bundle = serde_json::json!({"id": id, "trust_domain": "c-1.canary", "peers": peers, "ca_sha256": ""});
            std::fs::write(folder.join("bundle.json"), bundle.to_string()).expect("a file");
        };
        bundle("node-c", "10.0.0.9");
        bundle("node-b", "10.0.0.1");
        let found = bundled(certs.path()).expect("a bundle").expect("members");
        assert_eq!(found.host(model::NodeId::A).map(ToString::to_string), Some("10.0.0.1".into()));
        std::fs::write(certs.path().join("node-b/bundle.json"), "{").expect("a file");
        assert!(bundled(certs.path()).is_err());
    }
}
