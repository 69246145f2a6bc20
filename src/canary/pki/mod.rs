//! `canary pki`: one file a subcommand.

mod crl;
mod csr;
mod export;
mod init;
mod inspect;
mod issued;
mod list;
mod node;
mod operator;
mod renew;
mod revoke;
mod rotate;
mod sign;
mod told;
mod verify;

use super::failure::{Exit, Failure};
use super::output::Output;
use clap::{Args, Subcommand};
use issue::{Existing, IssueError, MAX_DAYS};
use jiff::{SignedDuration, Span, SpanRelativeTo};
use model::Peers;
use std::path::Path;

/// Make, renew, revoke and look at the certificates of a mesh.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct PkiArgs {
    #[command(subcommand)]
    command: PkiCommand,
}

#[derive(Debug, Subcommand)]
enum PkiCommand {
    Init(init::InitArgs),
    Inspect(inspect::InspectArgs),
    Verify(verify::VerifyArgs),
    Node(node::NodeArgs),
    Operator(operator::OperatorArgs),
    Monitor(operator::MonitorArgs),
    Csr(csr::CsrArgs),
    Sign(sign::SignArgs),
    Renew(renew::RenewArgs),
    List(list::ListArgs),
    Export(export::ExportArgs),
    RotateCa(rotate::RotateArgs),
    Revoke(revoke::RevokeArgs),
    Crl(crl::CrlArgs),
}

pub(crate) fn run(args: PkiArgs, certs: &Path) -> Result<Exit, Failure> {
    match args.command {
        PkiCommand::Init(args) => init::run(args, certs),
        PkiCommand::Inspect(args) => inspect::run(args),
        PkiCommand::Verify(args) => verify::run(args, certs),
        PkiCommand::Node(args) => node::run(args, without_dot(certs)),
        PkiCommand::Operator(args) => operator::run(args, without_dot(certs)),
        PkiCommand::Monitor(args) => operator::run_monitor(args, without_dot(certs)),
        PkiCommand::Csr(args) => csr::run(args, without_dot(certs)),
        PkiCommand::Sign(args) => sign::run(args, without_dot(certs)),
        PkiCommand::Renew(args) => renew::run(args, without_dot(certs)),
        PkiCommand::List(args) => list::run(&args, certs),
        PkiCommand::RotateCa(args) => rotate::run(args, without_dot(certs)),
        PkiCommand::Export(args) => export::run(args, without_dot(certs)),
        PkiCommand::Revoke(args) => revoke::run(&args, without_dot(certs)),
        PkiCommand::Crl(args) => crl::run(&args, without_dot(certs)),
    }
}

// No doc comment: that would be the help of commands that take nothing else.
#[derive(Debug, Args)]
struct NewArgs {
    /// How long the certificate is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_DAYS)))]
    days: u32,
    /// Replace what is there; it is kept as *.bak-<time>.
    #[arg(long)]
    force: bool,
    /// How to print the result.
    #[arg(long, value_name = "FORM", default_value = "table")]
    output: Output,
}

impl NewArgs {
    const fn existing(&self) -> Existing {
        if self.force { Existing::KeepAsBackup } else { Existing::Refuse }
    }
}

/// The `PEERS_NODE_*` variables of this process; none when none is set.
fn peers_of_environment() -> Result<Option<Peers>, IssueError> {
    Ok(client::configured_peers()?)
}

/// A length of time on the command line.
fn time(text: &str) -> Result<SignedDuration, String> {
    let wrong = |_| format!("{text:?} is not a length of time such as 14d, 36h or 90m");
    let span: Span = text.parse().map_err(wrong)?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(wrong)?;
    if duration.is_negative() { Err(format!("{text:?} is negative")) } else { Ok(duration) }
}

/// `certs` for `./certs`, as people write it.
fn without_dot(certs: &Path) -> &Path {
    certs.strip_prefix("./").ok().filter(|path| !path.as_os_str().is_empty()).unwrap_or(certs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(time("14d"), Ok(SignedDuration::from_hours(14 * 24)));
        assert_eq!(time("36h"), Ok(SignedDuration::from_hours(36)));
        assert_eq!(time("0d"), Ok(SignedDuration::ZERO));
        for wrong in ["", "14", "d", "-1d", "14 days ago", "1mo", "99999999999d"] {
            assert!(time(wrong).is_err(), "{wrong:?} must be refused");
        }
    }
}
