//! Arguments of every command that talks to nodes: as whom to ask, how long to wait, how to print.

use super::failure::{Exit, Failure};
use super::output::Output;
use clap::Args;
use client::{Client, SetupError};
use std::path::{Path, PathBuf};
use std::time::Duration;
use trust::TrustError;

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
    pub(crate) fn client(&self, certs: &Path, patience: Duration) -> Result<Client, Failure> {
        let folder = self.identity.clone().unwrap_or_else(|| folder(certs, &self.operator));
        Ok(Client::with_certificate(&folder, certs, patience)?)
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
    pub(crate) fn client(&self, certs: &Path) -> Result<Client, Failure> {
        self.viewer.client(certs, self.timeout)
    }
}

impl ViewerArgs {
    /// A client for reading, each node of which has `patience` to answer.
    pub(crate) fn client(&self, certs: &Path, patience: Duration) -> Result<Client, Failure> {
        let named = self.operator.as_ref().map(|operator| folder(certs, operator));
        if let Some(folder) = self.identity.clone().or(named) {
            return Ok(Client::with_certificate(&folder, certs, patience)?);
        }
        Ok(Client::without_certificate(certs, patience)?)
    }
}

fn folder(certs: &Path, operator: &str) -> PathBuf {
    certs.join(format!("operator-{operator}"))
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Certificates(error) => error.into(),
            SetupError::Tls(error) => Self::new(Exit::Failed, error),
            SetupError::Peers(error) => Self::new(Exit::Configuration, error),
            wrong @ SetupError::Bundle { .. } => Self::new(Exit::Configuration, wrong)
                .with_hint("copy the node's folder again, or set PEERS_NODE_A, PEERS_NODE_B and PEERS_NODE_C"),
        }
    }
}

/// The certificates cannot be used; the error itself says what to copy or type.
pub(crate) fn unusable(error: TrustError, otherwise: Exit) -> Failure {
    Failure::new(exit_of(&error, otherwise), error)
}

/// The exit code of certificates that cannot be used.
#[expect(clippy::wildcard_enum_match_arm, reason = "two kinds have an exit code of their own")]
pub(crate) const fn exit_of(error: &TrustError, otherwise: Exit) -> Exit {
    match error {
        TrustError::UnsafeKey { .. } => Exit::UnsafeKey,
        TrustError::Expired { .. } => Exit::CertificateExpiry,
        _ => otherwise,
    }
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
}
