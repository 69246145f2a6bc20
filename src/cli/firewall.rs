//! `canary firewall`.

use super::failure::{Exit, Failure};
use clap::Args;
use std::path::Path;

/// Print nftables rules that let only the peers in.
#[derive(Debug, Args)]
pub(crate) struct FirewallArgs {}

pub(crate) fn run(_args: FirewallArgs, _certs: &Path) -> Result<Exit, Failure> {
    Err(Failure::message(Exit::Failed, "not built yet"))
}
