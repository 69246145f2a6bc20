//! Rotation of the authority without a moment in which members refuse each other.
//!
//! First everyone trusts both, then everyone has a certificate of the new one, then nobody trusts the old one. Each stage
//! can be repeated: what a run that died left undone is done by the next.

use super::authority::Authority;
use super::error::{IssueError, Part, PlanError, Refusal, Stage};
use super::index::Status;
use super::period::{MAX_CA_DAYS, Period};
use super::plan::domains;
use super::profile::Permitted;
use super::registry::{Held, Registry, other_keys};
use super::renew::RenewKey;
use super::revoke::is_signed_by;
use super::tree::{PRIVATE_FILE, PUBLIC_FILE};
use super::{disk, place};
use ipnet::IpNet;
use jiff::Timestamp;
use model::Role;
use serde::Serialize;
use std::fs;
use std::path::PathBuf;
use trust::file::failed;
use trust::keyfile::read_key;
use trust::{CertificateFacts, layout, parse_network};

/// One stage of the rotation, and what the new authority may issue for.
#[derive(Clone, Debug)]
pub struct RotatePlan {
    /// The certificate directory.
    pub dir: PathBuf,
    /// Which stage.
    pub stage: Stage,
    /// How long the new authority is valid, in days; for the first stage.
    pub ca_days: u32,
    /// Domains that the new authority may issue for besides those of the old one.
    pub dns: Vec<String>,
    /// Address blocks that the new authority may issue for besides those of the old one.
    pub cidrs: Vec<IpNet>,
}

/// One authority after a stage.
#[derive(Clone, Debug, Serialize)]
pub struct TrustedAuthority {
    /// Its name.
    pub subject: String,
    /// SHA-256 of its certificate, in lower-case hexadecimal.
    pub sha256: String,
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// Whether it is the one that issues.
    pub issues: bool,
}

/// The outcome of a stage.
#[derive(Clone, Debug, Serialize)]
pub struct RotateReport {
    /// Which stage.
    pub stage: Stage,
    /// The authorities that are trusted now, newest first.
    pub authorities: Vec<TrustedAuthority>,
    /// Who got a certificate of the new authority now.
    pub reissued: Vec<String>,
    /// Whose folder is here and was left alone because its certificate is revoked.
    pub left_out: Vec<String>,
    /// Whether anything was changed; else the stage had been completed before.
    pub changed: bool,
}

/// Go one stage further, or complete one that was begun. Fails when the stage before is not complete, or the system
/// refuses.
pub fn rotate(plan: &RotatePlan) -> Result<RotateReport, IssueError> {
    let mut registry = Registry::open(&plan.dir)?;
    let (mut reissued, mut left_out) = (Vec::new(), Vec::new());
    let mut changed = match plan.stage {
        Stage::Prepare => registry.prepare(plan)?,
        Stage::Activate => {
            let switched = registry.let_the_newest_issue()?;
            (reissued, left_out) = registry.reissue_all()?;
            switched || !reissued.is_empty()
        }
        Stage::Retire => registry.retire()?,
    };
    changed |= registry.distribute()?;
    let issuing = registry.issuer().facts.sha256.clone();
    let authorities = registry.held.iter().map(|held| TrustedAuthority {
        subject: held.facts.subject.clone(),
        sha256: held.facts.sha256.clone(),
        not_after: held.facts.not_after,
        issues: held.facts.sha256 == issuing,
    });
    Ok(RotateReport { stage: plan.stage, authorities: authorities.collect(), reissued, left_out, changed })
}

impl Registry {
    fn prepare(&mut self, plan: &RotatePlan) -> Result<bool, IssueError> {
        if self.held.len() > 1 && self.issuing == 0 {
            return Err(refused("the last change of authority is not complete", Stage::Retire));
        }
        if self.held.len() > 1 {
            return Ok(false);
        }
        if !(1..=MAX_CA_DAYS).contains(&plan.ca_days) {
            return Err(PlanError::AuthorityDays(plan.ca_days).into());
        }
        self.drop_keys_of_nobody()?;
        let members = self.index.current.iter().filter(|entry| entry.role == "node").map(|entry| entry.id.clone());
        let permitted = permitted(&self.issuer().facts, plan, members)?;
        let period = Period::of_days(plan.ca_days, self.now);
        let (authority, issued) = Authority::create(self.issuer().algorithm, period, permitted.as_ref(), self.now)?;
        let folder = self.dir.join(layout::AUTHORITY);
        // The key first: an authority that is trusted and cannot sign its list would have everyone refused.
        let key = issued.key.as_ref().map(|key| key.as_bytes()).unwrap_or_default();
        disk::create_file(&folder.join(key_name(&authority.facts.serial)), PRIVATE_FILE, key)?;
        disk::sync_directory(&folder)?;
        self.index.append(&[issued.entry])?;
        let (certificate, facts) = (authority.certificate.clone(), authority.facts.clone());
        self.held.insert(0, Held { certificate, facts, authority: Some(authority) });
        self.issuing += 1;
        disk::replace_file(&self.dir.join(layout::CA), PUBLIC_FILE, self.bundle().as_bytes())?;
        Ok(true)
    }

    /// Makes `ca.key` that of the newest authority, after the old one was put aside.
    fn let_the_newest_issue(&mut self) -> Result<bool, IssueError> {
        if self.held.len() == 1 {
            return Err(refused("there is no second authority to let issue", Stage::Prepare));
        }
        if self.issuing == 0 {
            return Ok(false);
        }
        let folder = self.dir.join(layout::AUTHORITY);
        let present = folder.join(layout::CA_KEY);
        let newest = folder.join(key_name(&self.held[0].facts.serial));
        if !newest.exists() {
            return Err(IssueError::Missing { path: newest, part: Part::NewestKey });
        }
        let aside = folder.join(key_name(&self.issuer().facts.serial));
        let pem = read_key(&present)?.unwrap_or_default();
        disk::replace_file(&aside, PRIVATE_FILE, &pem)?;
        // One rename: before it the old one issues, after it the new one does, and both keys are there all the time.
        disk::rename(&newest, &present)?;
        disk::sync_directory(&folder)?;
        self.issuing = 0;
        Ok(true)
    }

    /// Issues for everyone whose folder is here and whose certificate is not of the newest authority yet.
    fn reissue_all(&mut self) -> Result<(Vec<String>, Vec<String>), IssueError> {
        let (mut reissued, mut left_out) = (Vec::new(), Vec::new());
        for role in self.holders()? {
            let path = self.certificate_path(&role);
            let Some(certificate) = self.present(&role)? else { continue };
            if is_signed_by(&certificate, &self.held[0].certificate) {
                continue;
            }
            let facts = self.own(&role, &path, &certificate)?;
            if self.index.current.iter().any(|entry| entry.serial == facts.serial && entry.status == Status::Revoked) {
                left_out.push(place::folder_name(&role));
                continue;
            }
            let has_key = self.folder(&role).join(super::folder::pair(&role).1).exists();
            self.renew(&role, if has_key { RenewKey::New } else { RenewKey::Same }, None)?;
            reissued.push(place::folder_name(&role));
        }
        Ok((reissued, left_out))
    }

    fn retire(&mut self) -> Result<bool, IssueError> {
        if self.held.len() == 1 {
            return self.drop_keys_of_nobody();
        }
        if self.issuing != 0 {
            return Err(refused("the new authority does not issue yet", Stage::Activate));
        }
        for role in self.holders()? {
            let Some(certificate) = self.present(&role)? else { continue };
            let facts = self.own(&role, &self.certificate_path(&role), &certificate)?;
            if self.unusable(&facts).is_none() && !is_signed_by(&certificate, &self.held[0].certificate) {
                let text = format!("the certificate of {} is still of the old authority", place::folder_name(&role));
                return Err(refused(&text, Stage::Activate));
            }
        }
        self.nobody_is_left_behind()?;
        self.held.truncate(1);
        disk::replace_file(&self.dir.join(layout::CA), PUBLIC_FILE, self.bundle().as_bytes())?;
        self.drop_keys_of_nobody()?;
        Ok(true)
    }

    /// Certificates in use whose folders are not here, and which the old authority issued.
    fn nobody_is_left_behind(&self) -> Result<(), Refusal> {
        let newest = &self.held[0].facts.serial;
        let open = self.index.current.iter().filter(|entry| entry.role != "ca" && entry.status == Status::Valid);
        let old = open.filter(|entry| entry.not_after > self.now && entry.issuer.as_ref() != Some(newest));
        let names: Vec<String> = old.map(|entry| format!("{} ({})", entry.name(), entry.serial)).collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(Refusal::LeftBehind(names.join(", ")))
    }

    /// Gives every folder the present authorities, lists and bundle; whether any of them had others.
    fn distribute(&mut self) -> Result<bool, IssueError> {
        let lists = self.bring_lists_up_to_date()?;
        let mut changed = lists.signed || !lists.written.is_empty();
        for role in self.holders()? {
            if self.present(&role)?.is_some() {
                changed |= self.refresh(&role)?;
            }
        }
        Ok(changed)
    }

    fn holders(&self) -> Result<Vec<Role>, IssueError> {
        Ok(place::folders(&self.dir)?.iter().filter_map(|folder| place::role_of(folder)).collect())
    }

    /// Deletes the keys of authorities that are not in `ca.pem`: of one that is retired, or was never finished.
    fn drop_keys_of_nobody(&mut self) -> Result<bool, IssueError> {
        let folder = self.dir.join(layout::AUTHORITY);
        let mut changed = false;
        for path in other_keys(&folder)? {
            let wanted = self.held.iter().any(|held| path.ends_with(key_name(&held.facts.serial)));
            if !wanted {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
                changed = true;
            }
        }
        disk::sync_directory(&folder)?;
        let gone = self.index.current.iter().filter(|entry| {
            let here = self.held.iter().any(|held| held.facts.serial == entry.serial);
            entry.role == "ca" && entry.status == Status::Valid && !here
        });
        let gone: Vec<_> = gone.map(|entry| entry.turned(Status::Superseded, None, self.now)).collect();
        if !gone.is_empty() {
            self.index.append(&gone)?;
            changed = true;
        }
        Ok(changed)
    }
}

fn key_name(serial: &str) -> String {
    format!("ca-{serial}.key")
}

fn refused(why: &str, first: Stage) -> IssueError {
    Refusal::Stage { why: why.to_owned(), first }.into()
}

/// What the old authority may issue for, the names of all members, and what is added; nothing when it is not limited.
fn permitted(
    old: &CertificateFacts,
    plan: &RotatePlan,
    members: impl Iterator<Item = String>,
) -> Result<Option<Permitted>, PlanError> {
    let added = domains(&plan.dns)?;
    if old.permitted_names.is_empty() {
        return Ok(None);
    }
    let old_names = old.permitted_names.iter().filter_map(|name| name.strip_prefix("DNS:")).map(str::to_owned);
    let old_blocks = old.permitted_names.iter().filter_map(|name| parse_network(name.strip_prefix("IP:")?).ok());
    let blocks = old_blocks.chain(plan.cidrs.iter().copied()).collect();
    Ok(Some(Permitted { names: old_names.chain(added).chain(members).collect(), blocks }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tree;
    use crate::{Existing, NodePlan, add_node};
    use model::NodeId;
    use std::collections::BTreeSet;
    use std::path::Path;
    use trust::NodeFiles;

    fn stage(certs: &Path, stage: Stage) -> Result<RotateReport, IssueError> {
        rotate(&RotatePlan { dir: certs.into(), stage, ca_days: 3650, dns: Vec::new(), cidrs: Vec::new() })
    }

    fn own(certs: &Path) -> NodeFiles {
        NodeFiles::load(certs, NodeId::A).expect("files")
    }

    fn keys(certs: &Path) -> usize {
        other_keys(&certs.join("ca")).expect("a folder").len()
    }

    #[test]
    fn each_stage_leads_to_the_next_and_can_be_repeated() {
        let (_dir, certs) = tree();
        let old = own(&certs);
        for (which, trusted, of_new, aside) in
            [(Stage::Prepare, 2, false, 1), (Stage::Activate, 2, true, 1), (Stage::Retire, 1, true, 0)]
        {
            let first = stage(&certs, which).expect("done");
            assert!(first.changed && first.authorities.len() == trusted, "{first:?}");
            let now = own(&certs);
            assert_eq!((now.ca.len(), now.crls.len(), keys(&certs)), (trusted, trusted, aside), "{which:?}");
            assert_eq!(now.leaf.issuer != old.leaf.issuer, of_new, "{which:?}");
            assert_eq!(now.bundle.ca_sha256 != old.bundle.ca_sha256, of_new, "{which:?}");
            assert_eq!(first.reissued.len(), if which == Stage::Activate { 4 } else { 0 });
            let again = stage(&certs, which).expect("nothing to do");
            assert!(!again.changed && again.reissued.is_empty(), "{again:?}");
            assert_eq!(own(&certs).leaf.serial, now.leaf.serial);
        }
        assert_eq!(own(&certs).trust_domain(), old.trust_domain());
    }

    #[test]
    fn stages_out_of_order_say_which_comes_first() {
        let (_dir, certs) = tree();
        let says = |which: Stage, wanted: Stage| match stage(&certs, which) {
            Err(IssueError::Refused(Refusal::Stage { first, .. })) => assert_eq!(first, wanted),
            other => panic!("{other:?}"),
        };
        says(Stage::Activate, Stage::Prepare);
        assert!(!stage(&certs, Stage::Retire).expect("nothing to retire").changed);
        stage(&certs, Stage::Prepare).expect("done");
        says(Stage::Retire, Stage::Activate);
        stage(&certs, Stage::Activate).expect("done");
        says(Stage::Prepare, Stage::Retire);
        fs::rename(certs.join("node-c"), certs.join("elsewhere")).expect("there");
        assert!(stage(&certs, Stage::Retire).is_ok(), "its certificate is of the new one, wherever it is");
    }

    #[test]
    fn nobody_is_cut_off_who_is_not_here() {
        let (_dir, certs) = tree();
        stage(&certs, Stage::Prepare).expect("done");
        fs::rename(certs.join("node-c"), certs.join("elsewhere")).expect("there");
        stage(&certs, Stage::Activate).expect("done");
        let refusal = stage(&certs, Stage::Retire);
        let Err(IssueError::Refused(Refusal::LeftBehind(names))) = refusal else { panic!("{refusal:?}") };
        assert!(names.contains("node-c"), "{names}");
        crate::revoke(&certs, "node-c", crate::Reason::Unspecified).expect("revoked");
        stage(&certs, Stage::Retire).expect("done");
    }

    #[test]
    fn runs_that_died_are_completed_by_the_next() {
        let (_dir, certs) = tree();
        // Died in the first stage after the key, before anyone trusted it.
        fs::copy(certs.join("ca/ca.key"), certs.join("ca/ca-00aa.key")).expect("copied");
        stage(&certs, Stage::Prepare).expect("done");
        assert!(!certs.join("ca/ca-00aa.key").exists());
        // Died in it before the lists, and before all folders were told.
        let (ca, list) =
            (fs::read(certs.join("ca.pem")).expect("there"), fs::read(certs.join("crl.pem")).expect("there"));
        fs::remove_file(certs.join("crl.pem")).expect("there");
        fs::write(certs.join("node-b/ca.pem"), "").expect("written");
        assert!(stage(&certs, Stage::Prepare).expect("completed").changed);
        assert_eq!(fs::read(certs.join("node-b/ca.pem")).expect("there"), ca);
        assert_ne!(fs::read(certs.join("crl.pem")).expect("there"), list);
        // Died in the second stage between the two keys.
        let serials: BTreeSet<String> = own(&certs).ca_facts.iter().map(|facts| facts.serial.clone()).collect();
        let old = own(&certs).ca_facts[1].serial.clone();
        fs::copy(certs.join("ca/ca.key"), certs.join("ca").join(key_name(&old))).expect("copied");
        assert_eq!(stage(&certs, Stage::Activate).expect("completed").reissued.len(), 4);
        assert_eq!(own(&certs).ca_facts.iter().map(|facts| facts.serial.clone()).collect::<BTreeSet<_>>(), serials);
        // Died in the third stage before the old key was deleted.
        let kept = fs::read(certs.join("ca").join(key_name(&old))).expect("there");
        stage(&certs, Stage::Retire).expect("done");
        disk::create_file(&certs.join("ca").join(key_name(&old)), 0o600, &kept).expect("written");
        assert!(stage(&certs, Stage::Retire).expect("completed").changed);
        assert_eq!(keys(&certs), 0);
    }

    #[test]
    fn the_new_authority_may_issue_for_more() {
        let (_dir, certs) = tree();
        let block = parse_network("10.0.0.0/8").expect("a block");
        let plan = RotatePlan {
            dir: certs.clone(),
            stage: Stage::Prepare,
            ca_days: 3650,
            dns: vec!["*.x".into()],
            cidrs: vec![block],
        };
        assert!(matches!(rotate(&plan), Err(IssueError::Plan(_))));
        rotate(&RotatePlan { dns: vec![".Example.org".into()], ..plan }).expect("done");
        let node = |host: &str| NodePlan {
            dir: certs.clone(),
            node: NodeId::from_letter('d').expect("a letter"),
            hosts: vec![host.parse().expect("an address")],
            days: 30,
            existing: Existing::Refuse,
        };
        assert!(add_node(&node("10.0.0.4")).is_err(), "the old one still issues");
        stage(&certs, Stage::Activate).expect("done");
        add_node(&node("10.0.0.4")).expect("issued");
        assert!(own(&certs).ca_facts[0].permitted_names.contains(&"DNS:example.org".to_owned()));
    }
}
