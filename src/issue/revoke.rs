//! Revocation of certificates: in the index, on the revocation list, and with it in every member's folder.

use super::error::{IssueError, Refusal};
use super::index::{IndexEntry, Reason, Status};
use super::lists::ListReport;
use super::registry::Registry;
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use std::path::Path;
use trust::file::{malformed, parse};
use trust::{CertificateFacts, TrustError, file, layout, svid};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// The certificates that were revoked.
#[derive(Clone, Debug, Serialize)]
pub struct RevokeReport {
    /// The certificates that were revoked now.
    pub revoked: Vec<IndexEntry>,
    /// The certificates that were revoked before.
    pub already: Vec<IndexEntry>,
    /// The lists that say so.
    pub lists: ListReport,
}

/// Revoke all certificates of a holder, or one by its serial number or file. Fails when nothing of that name was
/// issued, it is an authority, or the system refuses.
pub fn revoke(dir: &Path, what: &str, reason: Reason) -> Result<RevokeReport, IssueError> {
    let mut registry = Registry::open(dir)?;
    let found = find(&registry, what)?;
    let (already, open): (Vec<IndexEntry>, Vec<IndexEntry>) =
        found.into_iter().partition(|entry| entry.status == Status::Revoked);
    let revoked: Vec<IndexEntry> =
        open.iter().map(|entry| entry.turned(Status::Revoked, Some(reason), registry.now)).collect();
    if !revoked.is_empty() {
        registry.index.append(&revoked)?;
    }
    // Also when all were revoked before: an earlier run may have died before it signed the list.
    let lists = registry.bring_lists_up_to_date()?;
    Ok(RevokeReport { revoked, already, lists })
}

fn find(registry: &Registry, what: &str) -> Result<Vec<IndexEntry>, IssueError> {
    let entries = &registry.index.current;
    let serial = what.to_ascii_lowercase().replace(':', "");
    let serial = serial.strip_prefix("0x").unwrap_or(&serial).trim_start_matches('0');
    let is_serial = |entry: &&IndexEntry| !serial.is_empty() && entry.serial.trim_start_matches('0') == serial;
    if let Some(entry) = entries.iter().find(is_serial) {
        return no_authorities(vec![entry.clone()]);
    }
    let full: Vec<IndexEntry> = entries.iter().filter(|entry| entry.name() == what).cloned().collect();
    if !full.is_empty() {
        return no_authorities(full);
    }
    let short: Vec<IndexEntry> = entries.iter().filter(|entry| entry.id == what).cloned().collect();
    if let Some(first) = short.first() {
        let other = short.iter().find(|entry| entry.role != first.role);
        return match other {
            Some(other) => Err(Refusal::Ambiguous(what.to_owned(), first.name(), other.name()).into()),
            None => no_authorities(short),
        };
    }
    let path = Path::new(what);
    if path.is_file() {
        return in_file(registry, path);
    }
    Err(Refusal::Unknown(what.to_owned()).into())
}

fn no_authorities(entries: Vec<IndexEntry>) -> Result<Vec<IndexEntry>, IssueError> {
    if entries.iter().any(|entry| entry.role == "ca") {
        return Err(Refusal::Authority.into());
    }
    Ok(entries)
}

/// The certificate of a file, which the index may have lost but an authority of ours must have signed.
fn in_file(registry: &Registry, path: &Path) -> Result<Vec<IndexEntry>, IssueError> {
    let pem = file::read(path)?.unwrap_or_default();
    let chain: Vec<CertificateDer<'static>> = parse(path, "a certificate", &pem)?;
    let leaf = chain.first().ok_or_else(|| malformed(path, "a certificate", "it is not DER"))?;
    let facts = CertificateFacts::read(path, leaf)?;
    if let Some(entry) = registry.index.current.iter().find(|entry| entry.sha256 == facts.sha256) {
        return no_authorities(vec![entry.clone()]);
    }
    let issuer = registry.held.iter().find(|held| is_signed_by(leaf, &held.certificate));
    let Some(issuer) = issuer else {
        return Err(Refusal::NotOurs(path.to_owned(), registry.dir.join(layout::CA)).into());
    };
    let id = svid::identity(leaf).map_err(TrustError::svid(path))?;
    Ok(vec![IndexEntry::issued(&facts, &id.role.name(), id.role.word(), &issuer.facts.serial, registry.now)])
}

/// Whether one certificate bears the other's name and signature.
pub(super) fn is_signed_by(leaf: &CertificateDer<'_>, authority: &CertificateDer<'_>) -> bool {
    let (leaf, authority) = (X509Certificate::from_der(leaf), X509Certificate::from_der(authority));
    let (Ok((_, leaf)), Ok((_, authority))) = (leaf, authority) else { return false };
    leaf.issuer().as_raw() == authority.subject().as_raw()
        && leaf.verify_signature(Some(authority.public_key())).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{other_tree, tree};
    use model::NodeId;
    use std::fs;
    use trust::NodeFiles;

    #[test]
    fn what_is_revoked_is_refused_and_the_others_are_not() {
        let (_dir, certs) = tree();
        let report = revoke(&certs, "node-b", Reason::KeyCompromise).expect("revoked");
        assert_eq!((report.revoked.len(), report.already.len(), report.lists.number), (1, 0, 2));
        assert_eq!(report.lists.written.len(), 4, "the shared list and three members'");
        let refused = NodeFiles::load(&certs, "node-b".parse().expect("an id"));
        assert!(matches!(refused, Err(TrustError::Chain { detail, .. }) if detail.contains("Revoked")));
        assert!(NodeFiles::load(&certs, NodeId::A).is_ok());
    }

    #[test]
    fn a_second_time_changes_nothing_and_repairs_what_a_dead_run_left() {
        let (_dir, certs) = tree();
        let first = fs::read(certs.join("crl.pem")).expect("a list");
        revoke(&certs, "admin", Reason::Superseded).expect("revoked");
        let list = fs::read(certs.join("crl.pem")).expect("a list");
        let index = fs::read(certs.join("ca/index.jsonl")).expect("an index");
        let again = revoke(&certs, "operator-admin", Reason::KeyCompromise).expect("the same");
        assert_eq!((again.revoked.len(), again.already.len()), (0, 1));
        assert!(!again.lists.signed && again.lists.written.is_empty());
        assert_eq!(again.already[0].reason, Some(Reason::Superseded), "the first reason stays");
        assert_eq!(
            (
                fs::read(certs.join("crl.pem")).expect("a list"),
                fs::read(certs.join("ca/index.jsonl")).expect("an index")
            ),
            (list.clone(), index)
        );
        // As if the run had died after the index, and as if it had died between two folders.
        fs::write(certs.join("crl.pem"), &first).expect("written");
        assert!(revoke(&certs, "admin", Reason::Superseded).expect("repaired").lists.signed);
        fs::write(certs.join("node-c/crl.pem"), &first).expect("written");
        let repaired = revoke(&certs, "admin", Reason::Superseded).expect("repaired");
        assert_eq!((repaired.lists.signed, repaired.lists.written), (false, vec![certs.join("node-c/crl.pem")]));
    }

    #[test]
    fn certificates_are_found_by_serial_and_file_and_only_ours() {
        let ((_one, certs), (_two, other)) = (tree(), other_tree());
        let serial =
            CertificateFacts::of(&NodeFiles::load(&certs, NodeId::A).expect("files").chain[0]).expect("facts").serial;
        let spelled = format!("0x{}", trust::fingerprint(&serial));
        assert_eq!(revoke(&certs, &spelled, Reason::Unspecified).expect("revoked").revoked[0].id, "node-a");
        let file = |certs: &Path, name: &str| certs.join(name).display().to_string();
        let by_file = revoke(&certs, &file(&certs, "node-b/node.pem"), Reason::Unspecified).expect("revoked");
        assert_eq!(by_file.revoked[0].id, "node-b");
        for wrong in ["node-d", "ca", "", "00", &file(&other, "node-a/node.pem"), &file(&certs, "ca.pem")] {
            assert!(matches!(revoke(&certs, wrong, Reason::Unspecified), Err(IssueError::Refused(_))), "{wrong:?}");
        }
    }

    #[test]
    fn a_certificate_that_the_index_lost_can_be_revoked_by_its_file() {
        let (_dir, certs) = tree();
        let path = certs.join("ca/index.jsonl");
        let kept: String = fs::read_to_string(&path)
            .expect("an index")
            .lines()
            .filter(|line| !line.contains("node-c"))
            .map(|line| format!("{line}\n"))
            .collect();
        fs::write(&path, kept).expect("written");
        assert!(matches!(revoke(&certs, "node-c", Reason::Unspecified), Err(IssueError::Refused(_))));
        let file = certs.join("node-c/node.pem").display().to_string();
        assert_eq!(revoke(&certs, &file, Reason::Unspecified).expect("revoked").revoked[0].id, "node-c");
        assert!(NodeFiles::load(&certs, "node-c".parse().expect("an id")).is_err());
    }
}
