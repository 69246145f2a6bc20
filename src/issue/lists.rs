//! The revocation lists: one for each authority, signed anew with every certificate that the index calls revoked.

use super::disk::{self, Change};
use super::error::{IssueError, PlanError};
use super::index::{IndexEntry, Status};
use super::period::Period;
use super::place;
use super::registry::{Registry, in_pem};
use super::tree::{LIST_NUMBER, PRIVATE_FILE, PUBLIC_FILE};
use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::CertificateRevocationListDer;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use trust::file::parse;
use trust::{CrlFacts, CrlProblem, TrustError, check, facts, file, layout};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

/// The default time for which a list is current: as long as a certificate.
pub const LIST_LENGTH: SignedDuration = SignedDuration::from_hours(90 * 24);
/// The shortest that a list may be current: below it, members would warn as soon as they have it.
const MIN_LIST_LENGTH: SignedDuration = SignedDuration::from_hours(1);
/// The longest: what nobody signs anew for ten years, nobody looks after.
const MAX_LIST_LENGTH: SignedDuration = SignedDuration::from_hours(3650 * 24);

/// The revocation lists after a command.
#[derive(Clone, Debug, Serialize)]
pub struct ListReport {
    /// Their number.
    pub number: u64,
    /// When they are to be replaced.
    pub next_update: Timestamp,
    /// How many certificates are on them.
    pub revoked: usize,
    /// Whether they were signed now.
    pub signed: bool,
    /// Every file that was written.
    pub written: Vec<PathBuf>,
    /// The authorities whose key is not here, and whose list is therefore the old one.
    pub kept: Vec<String>,
}

/// Sign the lists anew, current for so long, and give them out. Fails when the authority cannot be opened, or the
/// system refuses.
pub fn sign_lists(dir: &Path, length: SignedDuration) -> Result<ListReport, IssueError> {
    Registry::open(dir)?.sign_lists(length)
}

impl Registry {
    pub(super) fn sign_lists(&mut self, length: SignedDuration) -> Result<ListReport, IssueError> {
        if length < MIN_LIST_LENGTH || length > MAX_LIST_LENGTH {
            return Err(PlanError::ListLength.into());
        }
        let present = self.present_lists();
        let number = self.next_number(&present)?;
        let period = Period::lasting(length, self.now);
        let (mut text, mut kept) = (String::new(), Vec::new());
        for held in &self.held {
            if let Some(authority) = &held.authority {
                text += &authority.list(number, period, &self.revoked(&held.facts.serial))?;
                continue;
            }
            let Some((list, _)) = present.iter().find(|(_, facts)| facts.issuer == held.facts.subject) else {
                let problem = CrlProblem::Absent(held.facts.subject.clone());
                return Err(TrustError::Crl { path: self.dir.join(layout::CRL), problem }.into());
            };
            text += &in_pem("X509 CRL", list);
            kept.push(held.facts.subject.clone());
        }
        self.check_lists(&text)?;
        let written = self.give_out(&text)?;
        Ok(ListReport { signed: true, written, kept, ..self.list_report(&text)? })
    }

    /// Makes sure that the lists say what the index says, and that everyone has the same; signs them only if not.
    pub(super) fn bring_lists_up_to_date(&mut self) -> Result<ListReport, IssueError> {
        let path = self.dir.join(layout::CRL);
        let text = file::read(&path)?.map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
        if !self.lists_are_complete() || self.check_lists(&text).is_err() {
            return self.sign_lists(LIST_LENGTH);
        }
        let written = self.give_out(&text)?;
        Ok(ListReport { written, ..self.list_report(&text)? })
    }

    /// What is revoked of one authority; what the index does not tell the authority of stands on all lists.
    fn revoked(&self, issuer: &str) -> Vec<IndexEntry> {
        let of_issuer = |entry: &&IndexEntry| entry.issuer.as_deref().is_none_or(|serial| serial == issuer);
        let revoked = self.index.current.iter().filter(|entry| entry.status == Status::Revoked);
        revoked.filter(of_issuer).cloned().collect()
    }

    fn lists_are_complete(&self) -> bool {
        let present = self.present_lists();
        self.held.iter().filter(|held| held.authority.is_some()).all(|held| {
            let own = present.iter().filter(|(_, facts)| facts.issuer == held.facts.subject);
            let listed: BTreeSet<String> = own.flat_map(|(list, _)| serials(list)).collect();
            self.revoked(&held.facts.serial).iter().all(|entry| listed.contains(&entry.serial))
        })
    }

    /// The lists of `crl.pem`; none when it cannot be read, since it is then made anew.
    fn present_lists(&self) -> Vec<(CertificateRevocationListDer<'static>, CrlFacts)> {
        let path = self.dir.join(layout::CRL);
        let pem = file::read(&path).ok().flatten().unwrap_or_default();
        let lists = parse::<CertificateRevocationListDer<'static>>(&path, "revocation lists", &pem).unwrap_or_default();
        lists.into_iter().filter_map(|list| CrlFacts::of(&list).map(|facts| (list, facts))).collect()
    }

    /// A number above all that were given out, on disk before it is used.
    fn next_number(&self, present: &[(CertificateRevocationListDer<'static>, CrlFacts)]) -> Result<u64, IssueError> {
        let path = self.dir.join(layout::AUTHORITY).join(LIST_NUMBER);
        let text = file::read(&path)?.unwrap_or_default();
        let stored = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
        let listed = present.iter().filter_map(|(_, facts)| facts.number.as_ref()?.parse::<u64>().ok()).max();
        let number = stored.max(listed.unwrap_or(0)).saturating_add(1);
        disk::replace_file(&path, PRIVATE_FILE, format!("{number}\n").as_bytes())?;
        Ok(number)
    }

    fn check_lists(&self, text: &str) -> Result<Vec<CrlFacts>, TrustError> {
        let path = self.dir.join(layout::CRL);
        let lists = parse(&path, "revocation lists", text.as_bytes())?;
        let certificates: Vec<_> = self.held.iter().map(|held| held.certificate.clone()).collect();
        check::revocation_lists(&path, &lists, &certificates)
    }

    /// Writes the lists beside `ca.pem` and into every member's folder.
    fn give_out(&self, text: &str) -> Result<Vec<PathBuf>, IssueError> {
        let mut paths = vec![self.dir.join(layout::CRL)];
        paths.extend(place::node_folders(&self.dir)?.into_iter().map(|(_, folder)| folder.join(layout::CRL)));
        let mut written = Vec::new();
        for path in paths {
            if disk::replace_file(&path, PUBLIC_FILE, text.as_bytes())? == Change::Written {
                written.push(path);
            }
        }
        Ok(written)
    }

    fn list_report(&self, text: &str) -> Result<ListReport, IssueError> {
        let facts = self.check_lists(text)?;
        let number = facts.iter().filter_map(|list| list.number.as_ref()?.parse().ok()).max().unwrap_or(0);
        let next_update = facts.iter().filter_map(|list| list.next_update).min().unwrap_or(self.now);
        let revoked = self.index.current.iter().filter(|entry| entry.status == Status::Revoked).count();
        Ok(ListReport { number, next_update, revoked, signed: false, written: Vec::new(), kept: Vec::new() })
    }
}

/// All serial numbers on a list, however many.
fn serials(list: &CertificateRevocationListDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = CertificateRevocationList::from_der(list) else { return Vec::new() };
    parsed.iter_revoked_certificates().map(|entry| facts::serial(entry.raw_serial())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tree;
    use crate::{Reason, RotatePlan, Stage, revoke, rotate};
    use model::NodeId;
    use std::fs;
    use trust::NodeFiles;

    #[test]
    fn an_authority_whose_key_is_elsewhere_keeps_its_list() {
        let (dir, certs) = tree();
        let stage =
            |stage| rotate(&RotatePlan { dir: certs.clone(), stage, ca_days: 30, dns: Vec::new(), cidrs: Vec::new() });
        stage(Stage::Prepare).expect("done");
        let before = NodeFiles::load(&certs, NodeId::A).expect("files");
        let key = super::super::registry::other_keys(&certs.join("ca")).expect("a folder").remove(0);
        fs::rename(&key, dir.path().join("elsewhere.key")).expect("there");
        let report = revoke(&certs, "node-b", Reason::Unspecified).expect("revoked").lists;
        assert_eq!(report.kept, [before.ca_facts[0].subject.clone()]);
        let after = NodeFiles::load(&certs, NodeId::A).expect("files");
        assert_eq!(after.crls[0], before.crls[0], "the newest authority's list is the old one");
        assert_eq!((after.crl_facts[1].revoked.len(), after.crl_facts[0].revoked.len()), (1, 0));
        assert!(matches!(stage(Stage::Activate), Err(IssueError::Missing { .. })));
        fs::remove_file(certs.join("crl.pem")).expect("there");
        let lost = sign_lists(&certs, LIST_LENGTH);
        assert!(
            matches!(lost, Err(IssueError::Trust(TrustError::Crl { problem: CrlProblem::Absent(_), .. }))),
            "{lost:?}"
        );
        fs::rename(dir.path().join("elsewhere.key"), &key).expect("there");
        assert!(sign_lists(&certs, LIST_LENGTH).expect("signed").kept.is_empty());
    }

    #[test]
    fn lists_last_an_hour_to_ten_years() {
        let (_dir, certs) = tree();
        for hours in [0, 3651 * 24] {
            assert!(matches!(sign_lists(&certs, SignedDuration::from_hours(hours)), Err(IssueError::Plan(_))));
        }
        assert_eq!(sign_lists(&certs, MIN_LIST_LENGTH).expect("signed").number, 2);
        assert_eq!(sign_lists(&certs, MAX_LIST_LENGTH).expect("signed").number, 3, "the refused ones took no number");
    }
}
