//! `canary pki export`.

use super::super::failure::{Exit, Failure};
use super::super::output::Output;
use clap::Args;
use issue::{Existing, ExportReport, KeyInside};
use std::path::{Path, PathBuf};

/// Pack what a machine or person needs into one file: the folder and ca.pem, never the authority's key.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  canary pki export node-d\n  canary pki export operator-alice --out /media/stick/alice.tar\n\nOn the other machine: tar -xpf node-d.tar -C certs"
)]
pub(super) struct ExportArgs {
    /// Whose folder: node-d, operator-alice.
    name: String,
    /// Where to [default: NAME.tar in this directory].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
    /// How to print the result.
    #[arg(long, value_name = "FORM", default_value = "table")]
    output: Output,
}

pub(super) fn run(args: ExportArgs, certs: &Path) -> Result<Exit, Failure> {
    let file = args.name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let out = args.out.unwrap_or_else(|| PathBuf::from(format!("{file}.tar")));
    let existing = if args.force { Existing::KeepAsBackup } else { Existing::Refuse };
    let report = issue::export(certs, &args.name, &out, existing)?;
    args.output.print(|| told(&report), &report)
}

fn told(report: &ExportReport) -> String {
    let path = trust::shell_word(&report.path);
    let verb = if report.written { "wrote" } else { "there already," };
    let mut text = format!("{verb} {path}: {}\n", report.entries.join(" "));
    text += match report.key {
        KeyInside::Inside => "It holds a private key: hand it over in private and delete it afterwards.\n",
        KeyInside::OnItsMachine => "The private key is not in it: that never left its machine.\n",
    };
    text += &format!("There: mkdir -p certs && tar -xpf {path} -C certs\n");
    text
}
