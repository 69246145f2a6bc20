//! The report of the commands that issue a certificate.

use super::super::failure::{Exit, Failure};
use super::super::output::Output;
use issue::IssueReport;

pub(super) fn print(report: &IssueReport, output: Output) -> Result<Exit, Failure> {
    output.print(|| told(report), report)
}

pub(super) fn told(report: &IssueReport) -> String {
    let (name, serial, until) = (&report.name, &report.serial, report.not_after);
    let mut text = if report.issued {
        format!("{name}: certificate {serial} until {until} in {}\n", report.folder.display())
    } else {
        format!("{name} has this certificate already: {serial} until {until} in {}\n", report.folder.display())
    };
    if !report.hosts.is_empty() {
        text += &format!("addresses  {}\n", terminal::listed(&report.hosts));
    }
    if let Some(backup) = &report.backup {
        text += &format!("kept       {}\n", backup.display());
    }
    for serial in &report.superseded {
        text += &format!("earlier    {serial} is accepted until it expires; to end it: canary pki revoke {serial}\n");
    }
    for bundle in &report.bundles {
        text += &format!("told       {}\n", bundle.display());
    }
    text += &next(report);
    text
}

/// What is still to be done on the machines.
fn next(report: &IssueReport) -> String {
    let mut text = String::new();
    if report.issued {
        text += &format!(
            "Copy {} and ca.pem to its machine: `canary pki export {}`\n",
            report.folder.display(),
            report.name
        );
    }
    if let Some(peers) = report.peers.as_ref().filter(|_| !report.bundles.is_empty()) {
        let variables: Vec<String> = peers.iter().map(|(id, host)| format!("{}={host}", id.variable())).collect();
        text += "Every machine needs its new bundle.json, or these variables, and a restart:\n";
        text += &format!("  {}\n", variables.join(" "));
        if report.joins {
            let name = &report.name;
            text += &format!(
                "With {name} this is another mesh: a running one does not grow, so start all anew together.\n"
            );
        }
    }
    text
}
