//! Authorities that were made elsewhere, checked for everything that rustls does not before they issue.

use super::authority::{Authority, Issued, key_pair};
use super::error::{IssueError, Part, Refusal};
use super::index::IndexEntry;
use super::period::Period;
use super::plan::OwnAuthority;
use super::registry::certificate_pem;
use super::{KeyAlgorithm, constraints};
use jiff::Timestamp;
use model::Host;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use std::path::Path;
use trust::file::parse;
use trust::keyfile::read_key;
use trust::{CertificateFacts, TrustError, check, file};
use zeroize::Zeroizing;

/// Reads the authority, which will make keys of this kind for others. Fails when it is no authority, expired, weak, has
/// another key, or cannot issue for these addresses.
pub(super) fn read(
    own: &OwnAuthority,
    algorithm: KeyAlgorithm,
    hosts: &[Host],
    now: Timestamp,
) -> Result<(Authority, Issued), IssueError> {
    let path = &own.certificate;
    let missing = |path: &Path, part| IssueError::Missing { path: path.to_owned(), part };
    let pem = file::read(path)?.ok_or_else(|| missing(path, Part::OwnCertificate))?;
    let certificates: Vec<CertificateDer<'static>> = parse(path, "certificates", &pem)?;
    let [certificate] = certificates.as_slice() else {
        return Err(Refusal::NotAlone(path.clone(), certificates.len()).into());
    };
    check::authorities(path, &certificates, now)?;
    let pem = read_key(&own.key)?.ok_or_else(|| missing(&own.key, Part::OwnKey))?;
    let mismatch = || TrustError::KeyMismatch { key: own.key.clone(), certificate: path.clone() };
    let mut authority = Authority::with_key(certificate, key_pair(&own.key, &pem)?)?.ok_or_else(mismatch)?;
    authority.algorithm = algorithm;
    check_names(own, &authority.facts, hosts)?;
    check_name_survives(own, &authority, now)?;
    let facts = &authority.facts;
    let entry = IndexEntry::issued(facts, "ca", "ca", &facts.serial, now);
    let text = Zeroizing::new(String::from_utf8_lossy(&pem).into_owned());
    let issued = Issued { certificate: certificate_pem(certificate), key: Some(text), entry };
    Ok((authority, issued))
}

fn check_names(own: &OwnAuthority, facts: &CertificateFacts, hosts: &[Host]) -> Result<(), Refusal> {
    let path = own.certificate.clone();
    let all = facts.permitted_names.iter().chain(&facts.excluded_names);
    if let Some(other) = all.into_iter().find(|name| !name.starts_with("DNS:") && !name.starts_with("IP:")) {
        return Err(Refusal::StrangeConstraint(path, other.clone()));
    }
    if let Some(host) = constraints::outside(facts, hosts) {
        let permitted = facts.permitted_names.join(", ");
        return Err(Refusal::OutsideOwn { path, host: host.clone(), permitted });
    }
    Ok(())
}

/// A name that would be written differently in what it issues is one that nobody finds the authority by.
fn check_name_survives(own: &OwnAuthority, authority: &Authority, now: Timestamp) -> Result<(), IssueError> {
    let path = &own.certificate;
    let list = authority.list(1, Period::of_days(1, now), &[])?;
    let lists: Vec<CertificateRevocationListDer<'static>> = parse(path, "a revocation list", list.as_bytes())?;
    match check::revocation_lists(path, &lists, std::slice::from_ref(&authority.certificate)) {
        Ok(_) => Ok(()),
        Err(_) => Err(Refusal::StrangeName(path.clone(), authority.facts.subject.clone()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InitPlan, InitReport, init};
    use model::Peers;
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
    };
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;
    use trust::CaProblem;

    fn with(change: impl FnOnce(&mut CertificateParams)) -> (TempDir, Result<InitReport, IssueError>) {
        with_keys(change, |_| ())
    }

    fn with_keys(
        change: impl FnOnce(&mut CertificateParams),
        spoil: impl FnOnce(&OwnAuthority),
    ) -> (TempDir, Result<InitReport, IssueError>) {
        let dir = tempfile::tempdir().expect("a directory");
        let own = OwnAuthority { certificate: dir.path().join("own.pem"), key: dir.path().join("own.key") };
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "example");
        params.distinguished_name.push(DnType::CommonName, "example CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        fs::write(&own.certificate, params.self_signed(&key).expect("a certificate").pem()).expect("written");
        fs::write(&own.key, key.serialize_pem()).expect("written");
        fs::set_permissions(&own.key, fs::Permissions::from_mode(0o600)).expect("own file");
        spoil(&own);
        let plan = InitPlan { authority: Some(own), ..InitPlan::for_peers(dir.path().join("certs"), &Peers::local()) };
        let report = init(&plan);
        (dir, report)
    }

    #[test]
    fn a_good_authority_issues_as_one_of_ours_would() {
        let (dir, report) = with(|_| ());
        let report = report.expect("a tree");
        let own = fs::read_to_string(dir.path().join("own.pem")).expect("there");
        assert_eq!(fs::read_to_string(report.dir.join("ca.pem")).expect("there").trim(), own.replace('\r', "").trim());
        crate::revoke(&report.dir, "node-b", crate::Reason::Unspecified).expect("it can sign lists");
        assert!(trust::NodeFiles::load(&report.dir, model::NodeId::A).is_ok());
    }

    #[test]
    fn what_is_no_authority_is_refused_for_what_is_wrong_with_it() {
        let problem = |change: fn(&mut CertificateParams)| match with(change).1 {
            Err(IssueError::Trust(TrustError::Ca { problem, .. })) => problem,
            other => panic!("{other:?}"),
        };
        assert!(matches!(problem(|params| params.is_ca = IsCa::ExplicitNoCa), CaProblem::NotAnAuthority(..)));
        assert!(matches!(
            problem(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]),
            CaProblem::NotAnAuthority(..)
        ));
        assert!(matches!(
            problem(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1)),
            CaProblem::Expired(..)
        ));
        let uri = |params: &mut CertificateParams| {
            let permitted_subtrees = vec![GeneralSubtree::Rfc822Name("example.org".into())];
            params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
        };
        assert!(matches!(with(uri).1, Err(IssueError::Refused(Refusal::StrangeConstraint(..)))));
        let elsewhere = |params: &mut CertificateParams| {
            let block = rcgen::CidrSubnet::from_v4_prefix([10, 0, 0, 0], 8);
            let permitted_subtrees = vec![GeneralSubtree::IpAddress(block)];
            params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
        };
        let refusal = with(elsewhere).1;
        let Err(IssueError::Refused(Refusal::OutsideOwn { host, .. })) = refusal else { panic!("{refusal:?}") };
        assert_eq!(host.to_string(), "127.0.0.1");
    }

    #[test]
    fn a_wrong_key_an_open_one_and_a_chain_are_refused_and_leave_nothing() {
        let foreign = |own: &OwnAuthority| {
            fs::write(&own.key, KeyPair::generate().expect("a key").serialize_pem()).expect("written");
        };
        let (dir, report) = with_keys(|_| (), foreign);
        assert!(
            matches!(report, Err(IssueError::Trust(TrustError::KeyMismatch { .. })))
                && !dir.path().join("certs").exists()
        );
        let open =
            |own: &OwnAuthority| fs::set_permissions(&own.key, fs::Permissions::from_mode(0o644)).expect("own file");
        assert!(matches!(with_keys(|_| (), open).1, Err(IssueError::Trust(TrustError::UnsafeKey { .. }))));
        let chain = |own: &OwnAuthority| {
            let pem = fs::read_to_string(&own.certificate).expect("there");
            fs::write(&own.certificate, format!("{pem}{pem}")).expect("written");
        };
        assert!(matches!(with_keys(|_| (), chain).1, Err(IssueError::Refused(Refusal::NotAlone(_, 2)))));
        let gone = |own: &OwnAuthority| fs::remove_file(&own.key).expect("there");
        assert!(matches!(with_keys(|_| (), gone).1, Err(IssueError::Missing { .. })));
    }
}
