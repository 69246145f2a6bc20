//! The index of all certificates that were issued, `ca/index.jsonl`.
//!
//! Lines are only added, and the last line of a serial number says what holds for it.

use super::disk;
use super::error::{IssueError, Part};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use trust::file::malformed;
use trust::{CertificateFacts, file, layout};

/// The name of the file in the authority's folder.
pub(super) const INDEX: &str = "index.jsonl";
/// A line has some 500 bytes, so this holds 100 000: 26 members renewed every month for 150 years.
const MAX_INDEX_BYTES: usize = 50 << 20;

/// The status of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is in use.
    Valid,
    /// There is a newer one of the same holder. It is accepted until it expires or is revoked.
    Superseded,
    /// It is on the revocation list.
    Revoked,
}

/// The reason for which a certificate was revoked, after RFC 5280 §5.3.1; what does not fit a mesh is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// No reason is given.
    #[default]
    Unspecified,
    /// Somebody else has the key, or may have it.
    KeyCompromise,
    /// The holder is somebody or something else now.
    AffiliationChanged,
    /// There is a newer certificate.
    Superseded,
    /// The machine or person is gone.
    CessationOfOperation,
    /// The holder may not do this any more.
    PrivilegeWithdrawn,
}

impl Reason {
    const ALL: [Self; 6] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// The word of the standard.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
        }
    }

    pub(super) const fn code(self) -> rcgen::RevocationReason {
        match self {
            Self::Unspecified => rcgen::RevocationReason::Unspecified,
            Self::KeyCompromise => rcgen::RevocationReason::KeyCompromise,
            Self::AffiliationChanged => rcgen::RevocationReason::AffiliationChanged,
            Self::Superseded => rcgen::RevocationReason::Superseded,
            Self::CessationOfOperation => rcgen::RevocationReason::CessationOfOperation,
            Self::PrivilegeWithdrawn => rcgen::RevocationReason::PrivilegeWithdrawn,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Reason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|reason| reason.word().eq_ignore_ascii_case(text));
        found.ok_or_else(|| format!("use one of {}", Self::ALL.map(Self::word).join(", ")))
    }
}

/// One line of the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// The serial number, in lower-case hexadecimal.
    pub serial: String,
    /// The holder's name: `node-a`, `admin`.
    pub id: String,
    /// The holder's role: `node`, `operator`, `app`, `monitor`, or `ca` for an authority.
    pub role: String,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// All alternative names, each with its kind.
    pub sans: Vec<String>,
    /// SHA-256 of the certificate, in lower-case hexadecimal.
    pub sha256: String,
    /// What became of it.
    pub status: Status,
    /// Why it was revoked, if it was.
    pub reason: Option<Reason>,
    /// When this line was written.
    pub time: Timestamp,
    /// Who wrote it.
    pub by: String,
    /// The serial number of the authority that issued it; lines of the first version do not have it.
    pub issuer: Option<String>,
}

impl IndexEntry {
    /// The line of a certificate that was just issued.
    pub(super) fn issued(said: &CertificateFacts, id: &str, role: &str, issuer: &str, now: Timestamp) -> Self {
        Self {
            serial: said.serial.clone(),
            id: id.to_owned(),
            role: role.to_owned(),
            not_before: said.not_before,
            not_after: said.not_after,
            sans: said.names.clone(),
            sha256: said.sha256.clone(),
            status: Status::Valid,
            reason: None,
            time: now,
            by: author(),
            issuer: Some(issuer.to_owned()),
        }
    }

    /// The line that says that something became of it.
    pub(super) fn turned(&self, status: Status, reason: Option<Reason>, now: Timestamp) -> Self {
        Self { status, reason, time: now, by: author(), ..self.clone() }
    }

    /// Tell whether it is in use and has less than this time left, or none.
    pub fn expires_within(&self, time: SignedDuration, now: Timestamp) -> bool {
        self.status == Status::Valid && self.not_after.duration_since(now) < time
    }

    /// The name of its folder: `node-a`, `operator-admin`.
    pub fn name(&self) -> String {
        if self.role == "node" || self.role == "ca" { self.id.clone() } else { format!("{}-{}", self.role, self.id) }
    }
}

fn author() -> String {
    format!("uid {}", rustix::process::getuid().as_raw())
}

/// The lines as they stand in the file.
pub(super) fn lines(entries: &[IndexEntry]) -> String {
    entries.iter().map(|entry| serde_json::to_string(entry).expect("an entry is plain strings") + "\n").collect()
}

/// List every certificate that was ever issued, in the order in which that was, each with what holds for it now; it needs
/// no key of the authority. Fails when the index is missing or cannot be read.
pub fn list(dir: &Path) -> Result<Vec<IndexEntry>, IssueError> {
    Ok(Index::read(&dir.join(layout::AUTHORITY))?.current)
}

/// The index as it was read.
pub(super) struct Index {
    path: PathBuf,
    /// What holds for each serial number, in the order in which they were issued.
    pub(super) current: Vec<IndexEntry>,
    /// The bytes of whole lines; a run that died while it wrote left part of one behind them.
    whole: u64,
}

impl Index {
    /// Fails when it is missing or a whole line of it cannot be read.
    pub(super) fn read(folder: &Path) -> Result<Self, IssueError> {
        let path = folder.join(INDEX);
        let Some(text) = file::read_up_to(&path, MAX_INDEX_BYTES)? else {
            return Err(IssueError::Missing { path, part: Part::Index });
        };
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let mut all = Vec::new();
        for (number, line) in text[..whole].split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let entry: IndexEntry = serde_json::from_slice(line)
                .map_err(|error| malformed(&path, "an index", &format!("line {}: {error}", number + 1)))?;
            all.push(entry);
        }
        Ok(Self { path, current: last_lines(all), whole: u64::try_from(whole).unwrap_or(u64::MAX) })
    }

    /// Adds lines, forced to disk. Fails when the system refuses.
    pub(super) fn append(&mut self, entries: &[IndexEntry]) -> Result<(), IssueError> {
        let text = lines(entries);
        disk::append_file(&self.path, self.whole, text.as_bytes())?;
        self.whole += u64::try_from(text.len()).unwrap_or(0);
        self.current = last_lines(self.current.iter().chain(entries).cloned().collect());
        Ok(())
    }
}

fn last_lines(all: Vec<IndexEntry>) -> Vec<IndexEntry> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut current: Vec<IndexEntry> = Vec::new();
    for entry in all {
        if let Some(place) = places.get(&entry.serial) {
            current[*place] = entry;
        } else {
            places.insert(entry.serial.clone(), current.len());
            current.push(entry);
        }
    }
    current
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use trust::{FileError, TrustError};

    fn entry(serial: &str, status: Status) -> IndexEntry {
        let now = Timestamp::UNIX_EPOCH;
        IndexEntry {
            serial: serial.to_owned(),
            id: "node-a".into(),
            role: "node".into(),
            not_before: now,
            not_after: now,
            sans: Vec::new(),
            sha256: String::new(),
            status,
            reason: None,
            time: now,
            by: "uid 0".into(),
            issuer: None,
        }
    }

    #[test]
    fn the_last_line_of_a_serial_holds() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join(INDEX), lines(&[entry("01", Status::Valid), entry("02", Status::Valid)]))
            .expect("written");
        let mut index = Index::read(dir.path()).expect("an index");
        index.append(&[entry("01", Status::Revoked)]).expect("appended");
        let wanted = [entry("01", Status::Revoked), entry("02", Status::Valid)];
        assert_eq!(index.current, wanted);
        assert_eq!(Index::read(dir.path()).expect("an index").current, wanted);
        assert_eq!(
            fs::read_to_string(dir.path().join(INDEX)).expect("there").lines().count(),
            3,
            "nothing is rewritten"
        );
    }

    #[test]
    fn half_a_line_is_no_line_and_a_broken_one_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(INDEX);
        let whole = lines(&[entry("01", Status::Valid)]);
        fs::write(&path, format!("{whole}{{\"serial\":\"02")).expect("written");
        let mut index = Index::read(dir.path()).expect("an index");
        index.append(&[entry("03", Status::Valid)]).expect("appended");
        assert_eq!(Index::read(dir.path()).expect("whole again").current.len(), 2);
        fs::write(&path, "{}\n").expect("written");
        assert!(matches!(Index::read(dir.path()), Err(IssueError::Trust(TrustError::File(FileError::Format { .. })))));
        fs::remove_file(&path).expect("there");
        assert!(matches!(Index::read(dir.path()), Err(IssueError::Missing { .. })));
    }

    #[test]
    fn lines_of_the_first_version_are_read() {
        let line = r#"{"serial":"0a","id":"admin","role":"operator","not_before":"2026-01-01T00:00:00Z","not_after":"2026-04-01T00:00:00Z","sans":[],"sha256":"","status":"valid","reason":null,"time":"2026-01-01T00:00:00Z","by":"uid 0"}"#;
        let entry: IndexEntry = serde_json::from_str(line).expect("an entry");
        assert_eq!(
            (entry.status, entry.issuer.as_deref(), entry.name().as_str()),
            (Status::Valid, None, "operator-admin")
        );
    }

    #[test]
    fn reasons_are_read_as_they_are_written() {
        for reason in Reason::ALL {
            assert_eq!(reason.word().parse(), Ok(reason));
            assert_eq!(serde_json::to_value(reason).expect("JSON"), reason.word());
        }
        assert!("stolen".parse::<Reason>().is_err_and(|error| error.contains("keyCompromise")));
    }
}
