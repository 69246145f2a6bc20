//! The command line. One command, one file: its arguments, whose doc comments are the help, and `run`. Words that only
//! differ in what is asked for share one.
//!
//! Data goes to stdout, everything else to stderr. Nothing prompts.

mod audit;
mod change;
mod cluster;
mod completions;
mod demo;
mod environment;
mod failure;
mod firewall;
mod logging;
mod member;
mod model;
mod node;
mod output;
mod pki;
mod query;
mod rollout;
mod store;

use clap::{CommandFactory, Parser, Subcommand};
use failure::{Exit, Failure};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use std::path::PathBuf;
use std::process::ExitCode;

/// Atomic canary rollouts across machines.
///
/// Three machines or more agree, by two-phase commit over mutually authenticated TLS, on how much traffic the canary
/// version of a model or service gets, and serve that state over HTTPS.
#[derive(Debug, Parser)]
#[command(name = "canary", version, about, arg_required_else_help = true, infer_subcommands = false)]
struct Cli {
    /// Certificate directory.
    #[arg(long, env = "CANARY_CERTS", value_name = "DIR", default_value = "./certs", global = true)]
    certs: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Pki(pki::PkiArgs),
    Node(node::NodeArgs),
    Query(query::QueryArgs),
    Rollout(rollout::RolloutArgs),
    Model(model::ModelArgs),
    Member(member::MemberArgs),
    Audit(audit::AuditArgs),
    Store(store::StoreArgs),
    Demo(demo::DemoArgs),
    Firewall(firewall::FirewallArgs),
    Completions(completions::CompletionsArgs),
}

/// The whole command line, as the completions need it.
fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line, runs the command and gives its exit code.
#[must_use]
pub fn main() -> ExitCode {
    // Keys are in this process' memory, and no core dump shall have them. Where the system does not know how to, there is
    // nothing to be done about it.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout with code 0, mistakes to stderr with code 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(),
    }
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    match cli.command {
        Command::Pki(args) => pki::run(args, &cli.certs),
        Command::Node(args) => node::run(args, &cli.certs),
        Command::Query(args) => query::run(args, &cli.certs),
        Command::Rollout(args) => rollout::run(args, &cli.certs),
        Command::Model(args) => model::run(args, &cli.certs),
        Command::Member(args) => member::run(args, &cli.certs),
        Command::Audit(args) => audit::run(args, &cli.certs),
        Command::Store(args) => store::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Firewall(args) => firewall::run(args, &cli.certs),
        Command::Completions(args) => completions::run(args),
    }
}
