//! `canary pki operator` and `canary pki monitor`.

use super::super::failure::{Exit, Failure};
use super::NewArgs;
use clap::{Args, ValueEnum};
use issue::ClientPlan;
use model::Role;
use std::path::Path;

/// Make a certificate for a person or program.
///
/// An operator changes routes, an app reports outcomes, a monitor only reads. To do it again changes nothing while the
/// certificate is good.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  canary pki operator alice                   # certs/operator-alice: may change routes
  canary pki operator shop --role app         # certs/app-shop: may report outcomes
  canary rollout abort --operator alice")]
pub(super) struct OperatorArgs {
    /// A name of A-Z, a-z, 0-9, '.', '-' and '_'.
    name: String,
    /// What the holder may do.
    #[arg(long, value_name = "ROLE", default_value = "operator")]
    role: ClientRole,
    #[command(flatten)]
    new: NewArgs,
}

/// Make a certificate for a monitoring system, which only reads.
#[derive(Debug, Args)]
pub(super) struct MonitorArgs {
    /// A name of A-Z, a-z, 0-9, '.', '-' and '_'.
    name: String,
    #[command(flatten)]
    new: NewArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ClientRole {
    /// Changes routes.
    Operator,
    /// Reports outcomes.
    App,
    /// Reads.
    Monitor,
}

impl ClientRole {
    pub(super) const fn called(self, name: String) -> Role {
        match self {
            Self::Operator => Role::Operator(name),
            Self::App => Role::App(name),
            Self::Monitor => Role::Monitor(name),
        }
    }
}

pub(super) fn run(args: OperatorArgs, certs: &Path) -> Result<Exit, Failure> {
    make(args.role.called(args.name), &args.new, certs)
}

pub(super) fn run_monitor(args: MonitorArgs, certs: &Path) -> Result<Exit, Failure> {
    make(Role::Monitor(args.name), &args.new, certs)
}

fn make(role: Role, new: &NewArgs, certs: &Path) -> Result<Exit, Failure> {
    let plan = ClientPlan { dir: certs.to_owned(), role, days: new.days, existing: new.existing() };
    super::issued::print(&issue::add_client(&plan)?, new.output)
}
