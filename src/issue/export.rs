//! The folder of a member or client packed with `ca.pem` as one tar file, without anything of the authority.

use super::disk::{self, Change};
use super::error::{IssueError, Part, Refusal};
use super::folder::{pair, role_called};
use super::tree::{PRIVATE_DIRECTORY, PRIVATE_FILE, PUBLIC_FILE};
use super::{Existing, place};
use jiff::Timestamp;
use model::Role;
use rustls_pki_types::CertificateDer;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};
use trust::files::{ClientFiles, NodeFiles};
use trust::keyfile::read_key;
use trust::{CertificateFacts, file, layout};
use zeroize::Zeroizing;

/// The place of the folder's private key: in the tar file, or nowhere but on its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyInside {
    /// It is: the file is as secret as the key.
    Inside,
    /// It never left its machine.
    OnItsMachine,
}

/// The tar file that was written.
#[derive(Clone, Debug, Serialize)]
pub struct ExportReport {
    /// The tar file.
    pub path: PathBuf,
    /// Whose folder it is.
    pub name: String,
    /// The entries, in order.
    pub entries: Vec<String>,
    /// Whether the key is among them.
    pub key: KeyInside,
    /// Whether the file was written now; else it was there and holds the same.
    pub written: bool,
}

/// Pack the folder of a member or client with `ca.pem`, after it was checked as its user will. Fails when the folder is
/// not there or no good, the file is there and differs, or the system refuses.
pub fn export(dir: &Path, name: &str, out: &Path, existing: Existing) -> Result<ExportReport, IssueError> {
    let role = role_called(name)?;
    let name = place::folder_name(&role);
    let folder = dir.join(&name);
    if !folder.is_dir() {
        return Err(IssueError::Missing { path: folder, part: Part::Folder(name) });
    }
    let _lock = disk::lock(dir)?;
    let key_path = folder.join(pair(&role).1);
    let key = if key_path.exists() { KeyInside::Inside } else { KeyInside::OnItsMachine };
    if key == KeyInside::Inside {
        match &role {
            Role::Node(node) => NodeFiles::load(dir, *node).map(|_| ())?,
            Role::Operator(_) | Role::App(_) | Role::Monitor(_) => ClientFiles::load(&folder).map(|_| ())?,
        }
    }
    let (archive, entries) = pack(&folder, &name, &role)?;
    let written = write(out, &archive, existing)?;
    Ok(ExportReport { path: out.to_owned(), name, entries, key, written: written == Change::Written })
}

fn write(out: &Path, archive: &[u8], existing: Existing) -> Result<Change, IssueError> {
    if existing == Existing::Refuse && out.symlink_metadata().is_ok() {
        let same = file::read_up_to(out, archive.len()).ok().flatten().is_some_and(|present| *present == archive);
        if same {
            return Ok(Change::None);
        }
        return Err(Refusal::OtherFile(out.to_owned()).into());
    }
    let out = std::path::absolute(out).map_err(file::failed("write", out))?;
    disk::replace_file(&out, PRIVATE_FILE, archive)
}

fn pack(folder: &Path, name: &str, role: &Role) -> Result<(Zeroizing<Vec<u8>>, Vec<String>), IssueError> {
    let (certificate, key) = pair(role);
    let mut wanted = vec![certificate, layout::CA];
    if matches!(role, Role::Node(_)) {
        wanted.extend([layout::CRL, layout::BUNDLE]);
    }
    let mut contents = Vec::new();
    for file in wanted {
        let path = folder.join(file);
        let Some(bytes) = file::read(&path)? else {
            return Err(IssueError::Missing { path, part: Part::InFolder(name.to_owned()) });
        };
        contents.push((format!("{name}/{file}"), PUBLIC_FILE, bytes));
    }
    if let Some(pem) = read_key(&folder.join(key))? {
        contents.insert(1, (format!("{name}/{key}"), PRIVATE_FILE, pem));
    }
    let ca = contents.iter().find(|(path, ..)| path.ends_with(layout::CA)).map(|(.., bytes)| bytes.clone());
    contents.extend(ca.map(|bytes| (layout::CA.to_owned(), PUBLIC_FILE, bytes)));
    // The time of the certificate, so that the same folder gives the same file.
    let time = contents.first().map_or(0, |(.., pem)| issued_at(folder, pem));
    // With room for all of it the buffer is never moved, so no copy of a key is left behind.
    let room = 4096 + contents.iter().map(|(.., bytes)| bytes.len() + 1024).sum::<usize>();
    let archive = archive(name, &contents, time, Zeroizing::new(Vec::with_capacity(room)));
    let archive = archive.map_err(file::failed("pack", folder))?;
    let entries = std::iter::once(format!("{name}/")).chain(contents.into_iter().map(|(path, ..)| path)).collect();
    Ok((archive, entries))
}

fn issued_at(folder: &Path, pem: &[u8]) -> u64 {
    let chain: Vec<CertificateDer<'static>> = file::parse(folder, "a certificate", pem).unwrap_or_default();
    let from = chain.first().and_then(CertificateFacts::of).map_or(Timestamp::UNIX_EPOCH, |facts| facts.not_before);
    u64::try_from(from.as_second()).unwrap_or(0)
}

type Entry = (String, u32, Zeroizing<Vec<u8>>);

fn archive(name: &str, contents: &[Entry], time: u64, into: Zeroizing<Vec<u8>>) -> io::Result<Zeroizing<Vec<u8>>> {
    let header = |kind: EntryType, mode: u32, length: usize| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(time);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(u64::try_from(length).unwrap_or(u64::MAX));
        header
    };
    let mut buffer = into;
    let mut builder = Builder::new(&mut *buffer);
    let mut top = header(EntryType::Directory, PRIVATE_DIRECTORY, 0);
    builder.append_data(&mut top, format!("{name}/"), io::empty())?;
    for (path, mode, bytes) in contents {
        let mut file = header(EntryType::Regular, *mode, bytes.len());
        builder.append_data(&mut file, path, bytes.as_slice())?;
    }
    builder.finish()?;
    drop(builder);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use trust::TrustError;

    use crate::testing::tree;
    use crate::{Reason, revoke};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_is_packed_whole_and_without_the_authority() {
        let (dir, certs) = tree();
        let out = dir.path().join("node-a.tar");
        let report = export(&certs, "node-a", &out, Existing::Refuse).expect("a file");
        let names = [
            "node-a/",
            "node-a/node.pem",
            "node-a/node.key",
            "node-a/ca.pem",
            "node-a/crl.pem",
            "node-a/bundle.json",
            "ca.pem",
        ];
        assert_eq!(
            (report.entries, report.key, report.written),
            (names.map(str::to_owned).to_vec(), KeyInside::Inside, true)
        );
        assert_eq!(fs::metadata(&out).expect("there").permissions().mode() & 0o7777, 0o600);
        let unpacked = dir.path().join("unpacked");
        tar::Archive::new(fs::File::open(&out).expect("there")).unpack(&unpacked).expect("a tar file");
        for name in names.iter().filter(|name| !name.ends_with('/')) {
            assert_eq!(
                fs::read(unpacked.join(name)).expect("there"),
                fs::read(certs.join(name)).expect("there"),
                "{name}"
            );
        }
        assert!(NodeFiles::load(&unpacked, model::NodeId::A).is_ok(), "it can be used as it stands");
        let operator = export(&certs, "operator-admin", &dir.path().join("o.tar"), Existing::Refuse).expect("a file");
        assert_eq!(operator.entries.len(), 5);
    }

    #[test]
    fn a_file_that_is_there_is_kept_unless_told_otherwise() {
        let (dir, certs) = tree();
        let out = dir.path().join("node-a.tar");
        export(&certs, "node-a", &out, Existing::Refuse).expect("a file");
        assert!(!export(&certs, "node-a", &out, Existing::Refuse).expect("the same").written);
        fs::write(&out, "something else").expect("written");
        assert!(matches!(export(&certs, "node-a", &out, Existing::Refuse), Err(IssueError::Refused(_))));
        assert!(export(&certs, "node-a", &out, Existing::KeepAsBackup).expect("replaced").written);
    }

    #[test]
    fn what_the_members_would_refuse_is_not_packed() {
        let (dir, certs) = tree();
        let out = dir.path().join("x.tar");
        revoke(&certs, "node-a", Reason::Unspecified).expect("revoked");
        fs::set_permissions(certs.join("node-b/node.key"), fs::Permissions::from_mode(0o644)).expect("own file");
        assert!(matches!(
            export(&certs, "node-a", &out, Existing::Refuse),
            Err(IssueError::Trust(TrustError::Chain { .. }))
        ));
        assert!(matches!(
            export(&certs, "node-b", &out, Existing::Refuse),
            Err(IssueError::Trust(TrustError::UnsafeKey { .. }))
        ));
        assert!(matches!(export(&certs, "node-d", &out, Existing::Refuse), Err(IssueError::Missing { .. })));
        assert!(matches!(export(&certs, "ca", &out, Existing::Refuse), Err(IssueError::Plan(_))));
        assert!(!out.exists());
        fs::remove_file(certs.join("node-c/node.key")).expect("there");
        let without = export(&certs, "node-c", &out, Existing::Refuse).expect("a file");
        assert_eq!(without.key, KeyInside::OnItsMachine);
    }
}
