//! The files of a new tree, each with its mode. The tree is made in an empty directory and moved later.

use super::authority::Issued;
use super::disk;
use super::error::IssueError;
use super::index::{INDEX, IndexEntry, lines};
use std::path::{Path, PathBuf};
use trust::files::Bundle;
use trust::layout;

pub(super) const PRIVATE_DIRECTORY: u32 = 0o700;
pub(super) const PUBLIC_FILE: u32 = 0o644;
pub(super) const PRIVATE_FILE: u32 = 0o600;
/// Holds the number of the latest revocation list.
pub(super) const LIST_NUMBER: &str = "crlnumber";
/// The number of the first revocation list; each later one has the next.
pub(super) const FIRST_LIST: u64 = 1;

pub(super) struct Tree<'a> {
    /// An empty directory.
    pub(super) root: &'a Path,
    /// The authority's certificate, as PEM.
    pub(super) ca: &'a str,
    /// The revocation list, as PEM.
    pub(super) list: &'a str,
}

impl Tree<'_> {
    pub(super) fn write_node(&self, issued: &Issued, bundle: &Bundle) -> Result<(), IssueError> {
        let folder = self.identity(&bundle.id.to_string(), layout::NODE, issued)?;
        disk::create_file(&folder.join(layout::CRL), PUBLIC_FILE, self.list.as_bytes())?;
        disk::create_file(&folder.join(layout::BUNDLE), PUBLIC_FILE, bundle.text().as_bytes())?;
        disk::sync_directory(&folder)
    }

    pub(super) fn write_client(&self, name: &str, issued: &Issued) -> Result<(), IssueError> {
        disk::sync_directory(&self.identity(name, layout::CLIENT, issued)?)
    }

    /// A new folder with a certificate, its key if that was made here, and the authority.
    fn identity(&self, name: &str, (certificate, key): (&str, &str), issued: &Issued) -> Result<PathBuf, IssueError> {
        let folder = self.folder(name)?;
        disk::create_file(&folder.join(certificate), PUBLIC_FILE, issued.certificate.as_bytes())?;
        if let Some(pem) = &issued.key {
            disk::create_file(&folder.join(key), PRIVATE_FILE, pem.as_bytes())?;
        }
        disk::create_file(&folder.join(layout::CA), PUBLIC_FILE, self.ca.as_bytes())?;
        Ok(folder)
    }

    pub(super) fn write_authority(&self, ca: &Issued, index: &[IndexEntry]) -> Result<(), IssueError> {
        let folder = self.folder(layout::AUTHORITY)?;
        if let Some(key) = &ca.key {
            disk::create_file(&folder.join(layout::CA_KEY), PRIVATE_FILE, key.as_bytes())?;
        }
        disk::create_file(&folder.join(INDEX), PRIVATE_FILE, lines(index).as_bytes())?;
        disk::create_file(&folder.join(LIST_NUMBER), PRIVATE_FILE, format!("{FIRST_LIST}\n").as_bytes())?;
        disk::sync_directory(&folder)?;
        disk::create_file(&self.root.join(layout::CA), PUBLIC_FILE, self.ca.as_bytes())?;
        disk::create_file(&self.root.join(layout::CRL), PUBLIC_FILE, self.list.as_bytes())?;
        Ok(())
    }

    fn folder(&self, name: &str) -> Result<PathBuf, IssueError> {
        let folder = self.root.join(name);
        disk::create_directory(&folder, PRIVATE_DIRECTORY)?;
        Ok(folder)
    }
}
