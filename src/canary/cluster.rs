//! What every command that talks to nodes needs: where they are, whom to trust, and as whom to ask.

use super::failure::{Exit, Failure};
use super::output::Output;
use clap::Args;
use client::Client;
use model::Peers;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trust::{Bundle, ClientFiles, TrustError, load_ca};

/// Longest `bundle.json` that is read: 26 members with the longest host names are a tenth of it.
const MAX_BUNDLE: u64 = 64 * 1024;

/// As whom to ask for a change.
#[derive(Debug, Args)]
pub(crate) struct IdentityArgs {
    /// Name of the operator whose certificate is used: the folder operator-NAME in the certificate directory.
    #[arg(long, value_name = "NAME", default_value = "admin", conflicts_with = "identity")]
    operator: String,
    /// Folder with client.pem, client.key and ca.pem, instead of one in the certificate directory.
    #[arg(long, value_name = "DIR")]
    identity: Option<PathBuf>,
}

impl IdentityArgs {
    /// A client that asks as this operator.
    pub(crate) fn client(&self, certs: &Path, patience: Duration) -> Result<Client, Failure> {
        client_of(&self.identity.clone().unwrap_or_else(|| folder(certs, &self.operator)), certs, patience)
    }
}

/// How to read, and as whom.
#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    pub(crate) viewer: ViewerArgs,
    /// How long each node may take to answer.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_span)]
    timeout: Duration,
}

/// How to print what is read, and as whom to read it.
#[derive(Debug, Args)]
pub(crate) struct ViewerArgs {
    /// How to print.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) output: Output,
    /// Show this operator's certificate: for nodes with --https-client-auth required. Else none is shown.
    #[arg(long, value_name = "NAME", conflicts_with = "identity")]
    operator: Option<String>,
    /// Show the certificate of this folder, which has client.pem, client.key and ca.pem.
    #[arg(long, value_name = "DIR")]
    identity: Option<PathBuf>,
}

impl ReadArgs {
    /// A client for reading.
    pub(crate) fn client(&self, certs: &Path) -> Result<Client, Failure> {
        self.viewer.client(certs, self.timeout)
    }

    /// How to print.
    pub(crate) const fn output(&self) -> Output {
        self.viewer.output
    }
}

impl ViewerArgs {
    /// A client for reading, each node of which has `patience` to answer.
    pub(crate) fn client(&self, certs: &Path, patience: Duration) -> Result<Client, Failure> {
        let named = self.operator.as_ref().map(|operator| folder(certs, operator));
        if let Some(folder) = self.identity.clone().or(named) {
            return client_of(&folder, certs, patience);
        }
        let ca = load_ca(certs)?;
        let tls = tls::api_client(&ca, None).map_err(|error| Failure::new(Exit::Failed, error))?;
        Ok(Client::new(tls, peers(certs)?, patience))
    }
}

fn folder(certs: &Path, operator: &str) -> PathBuf {
    certs.join(format!("operator-{operator}"))
}

fn client_of(folder: &Path, certs: &Path, patience: Duration) -> Result<Client, Failure> {
    let files = ClientFiles::load(folder)?;
    let tls = tls::api_client(&files.ca, Some(&files)).map_err(|error| Failure::new(Exit::Failed, error))?;
    Ok(Client::new(tls, peers(certs)?, patience))
}

/// The members: by `PEERS_NODE_*`, else by the first `bundle.json` below the certificate directory, else three on this
/// machine.
pub(crate) fn peers(certs: &Path) -> Result<Peers, Failure> {
    match configured_peers()? {
        Some(peers) => Ok(peers),
        None => Ok(bundled(certs)?.unwrap_or_else(Peers::local)),
    }
}

/// The members by `PEERS_NODE_*`, if there is any of these.
pub(crate) fn configured_peers() -> Result<Option<Peers>, Failure> {
    // A variable with another encoding is none of ours.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
    Peers::from_variables(variables).map_err(|error| Failure::new(Exit::Configuration, error))
}

fn bundled(certs: &Path) -> Result<Option<Peers>, Failure> {
    let Ok(folders) = std::fs::read_dir(certs) else { return Ok(None) };
    let mut paths: Vec<PathBuf> = folders.filter_map(|entry| Some(entry.ok()?.path().join("bundle.json"))).collect();
    paths.sort();
    let Some((path, file)) = paths.into_iter().find_map(|path| Some((path.clone(), File::open(path).ok()?))) else {
        return Ok(None);
    };
    let wrong = |detail: String| {
        Failure::message(Exit::Configuration, format!("{} cannot be read: {detail}", path.display()))
            .with_hint("copy the node's folder again, or set PEERS_NODE_A, PEERS_NODE_B and PEERS_NODE_C")
    };
    let mut text = String::new();
    file.take(MAX_BUNDLE).read_to_string(&mut text).map_err(|error| wrong(error.to_string()))?;
    let bundle: Bundle = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    Ok(Some(bundle.peers))
}

/// The certificates cannot be used; the error itself says what to copy or type.
pub(crate) fn unusable(error: TrustError, otherwise: Exit) -> Failure {
    let exit = if matches!(error, TrustError::UnsafeKey { .. }) {
        Exit::UnsafeKey
    } else if matches!(error, TrustError::Expired { .. }) {
        Exit::CertificateExpiry
    } else {
        otherwise
    };
    Failure::new(exit, error)
}

/// Runs a command's conversation with the nodes.
pub(crate) fn block_on<T>(conversation: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    runtime.block_on(conversation)
}

/// Reads `2s` or `500ms`: at least a millisecond, at most an hour.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    let span = schema::parse_span(text).ok_or_else(|| format!("{text:?} is not a duration such as 2s or 500ms"))?;
    let range = Duration::from_millis(1)..=Duration::from_secs(3_600);
    if range.contains(&span) { Ok(span) } else { Err("use a duration from 1ms to 1h".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_unit_and_an_end() {
        assert_eq!(parse_span("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_span("2s"), Ok(Duration::from_secs(2)));
        for wrong in ["", "2", "0s", "-1s", "2h", "soon"] {
            assert!(parse_span(wrong).is_err(), "{wrong:?} must be refused");
        }
    }

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
