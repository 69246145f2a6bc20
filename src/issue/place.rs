//! The certificate directory: its folders, and new trees moved into it as a whole or so that the next run notices.

use super::disk;
use super::error::IssueError;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use model::{NodeId, Role, is_name};
use std::fs;
use std::path::{Path, PathBuf};
use trust::file::{FileError, failed};
use trust::layout;

const PUBLIC_DIRECTORY: u32 = 0o755;
const PRIVATE_DIRECTORY: u32 = 0o700;
/// A tree that is being built. The name begins with a dot so that no one copies it.
const BUILDING: &str = ".building-";
/// A finished tree of which some entries may have been moved into place.
const MOVING: &str = ".moving-";
/// Between the name of what was there before and the time at which it was replaced.
pub(super) const BACKUP: &str = ".bak-";
/// How the folders of clients begin; what follows is the client's name.
pub(super) const CLIENT_PREFIXES: [&str; 3] = ["operator-", "app-", "monitor-"];

/// Whether the certificate directory was made by this run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Directory {
    Made,
    WasThere,
}

/// Makes the certificate directory unless it is there, with the directories above it.
pub(super) fn make_directory(dir: &Path) -> Result<Directory, IssueError> {
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => return Ok(Directory::WasThere),
        Ok(_) => return Err(IssueError::NotADirectory(dir.to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("open", dir)(error).into()),
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(failed("create", parent))?;
    }
    disk::create_directory(dir, PUBLIC_DIRECTORY)?;
    Ok(Directory::Made)
}

/// What a certificate directory holds already.
pub(super) struct Found {
    /// Names of entries that belong to certificates.
    pub(super) entries: Vec<String>,
    /// Trees of runs that died while they built, or when all was done but to clear up.
    pub(super) unfinished: Vec<PathBuf>,
    /// Trees of runs that died while they moved.
    interrupted: Vec<PathBuf>,
}

impl Found {
    pub(super) fn in_directory(dir: &Path) -> Result<Self, IssueError> {
        let mut found = Self { entries: Vec::new(), unfinished: Vec::new(), interrupted: Vec::new() };
        for path in entries(dir)? {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if is_ours(name) {
                found.entries.push(name.to_owned());
            } else if name.starts_with(BUILDING) {
                found.unfinished.push(path);
            } else if name.starts_with(MOVING) {
                // When everything has been moved out of it, only its removal is missing.
                if entries(&path)?.is_empty() { found.unfinished.push(path) } else { found.interrupted.push(path) }
            }
        }
        found.entries.sort();
        Ok(found)
    }

    /// Clears what dead runs left, since keys that nobody uses lie in it.
    pub(super) fn clear_unfinished(&self) -> Result<(), FileError> {
        self.unfinished.iter().try_for_each(|leftover| fs::remove_dir_all(leftover).map_err(failed("remove", leftover)))
    }

    pub(super) fn must_be_whole(&self, dir: &Path) -> Result<(), IssueError> {
        if self.interrupted.is_empty() { Ok(()) } else { Err(IssueError::Interrupted { dir: dir.to_owned() }) }
    }

    pub(super) fn must_be_empty(&self, dir: &Path) -> Result<(), IssueError> {
        self.must_be_whole(dir)?;
        if self.entries.is_empty() {
            return Ok(());
        }
        Err(IssueError::Exists { dir: dir.to_owned(), entries: self.entries.join(", ") })
    }
}

fn is_ours(name: &str) -> bool {
    is_folder(name) || !name.contains(BACKUP) && [layout::CA, layout::CRL, layout::AUTHORITY].contains(&name)
}

fn is_folder(name: &str) -> bool {
    let is_node = name.starts_with("node-") && name.parse::<NodeId>().is_ok();
    let is_client = CLIENT_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    (is_node || is_client) && !name.contains(BACKUP)
}

/// The folders of members and clients, in the order of their names.
pub(super) fn folders(dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut folders = entries(dir)?;
    folders.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_folder));
    folders.sort();
    Ok(folders)
}

/// All that is in a directory.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = fs::read_dir(dir).map_err(failed("list", dir))?;
    entries.map(|entry| Ok(entry.map_err(failed("list", dir))?.path())).collect()
}

pub(super) fn node_folders(dir: &Path) -> Result<Vec<(NodeId, PathBuf)>, FileError> {
    let member = |folder: PathBuf| match role_of(&folder) {
        Some(Role::Node(node)) => Some((node, folder)),
        Some(Role::Operator(_) | Role::App(_) | Role::Monitor(_)) | None => None,
    };
    Ok(folders(dir)?.into_iter().filter_map(member).collect())
}

/// The name of the folder of whoever has this role: `node-a`, `operator-admin`.
pub(super) fn folder_name(role: &Role) -> String {
    match role {
        Role::Node(node) => node.to_string(),
        Role::Operator(name) | Role::App(name) | Role::Monitor(name) => format!("{}-{name}", role.word()),
    }
}

/// Whose folder this is, by its name.
pub(super) fn role_of(folder: &Path) -> Option<Role> {
    role_named(folder.file_name()?.to_str()?)
}

/// Who is called `node-a` or `operator-admin`.
pub(super) fn role_named(name: &str) -> Option<Role> {
    if !is_folder(name) {
        return None;
    }
    let (word, rest) = name.split_once('-')?;
    match word {
        "node" => name.parse().ok().map(Role::Node),
        "operator" => Some(Role::Operator(rest.to_owned())),
        "app" => Some(Role::App(rest.to_owned())),
        "monitor" => Some(Role::Monitor(rest.to_owned())),
        _ => None,
    }
    .filter(|_| is_name(rest))
}

/// A tree under construction, removed when dropped before it is moved.
pub(super) struct Building {
    pub(super) path: PathBuf,
}

impl Building {
    pub(super) fn start(dir: &Path) -> Result<Self, IssueError> {
        let path = dir.join(format!("{BUILDING}{}", random_word()?));
        disk::create_directory(&path, PRIVATE_DIRECTORY)?;
        Ok(Self { path })
    }

    /// Moves every entry to its place, after what was there has been renamed.
    pub(super) fn move_into_place(
        mut self,
        dir: &Path,
        found: &Found,
        now: Timestamp,
    ) -> Result<Vec<PathBuf>, IssueError> {
        disk::sync_directory(&self.path)?;
        let moving = dir.join(format!("{MOVING}{}", random_word()?));
        disk::rename(&self.path, &moving)?;
        // From here on a crash leaves a mixture, which the next run must notice: the tree is not removed on errors.
        self.path = PathBuf::new();
        disk::sync_directory(dir)?;
        let mut backups = Vec::new();
        for name in &found.entries {
            let backup = unused_backup(dir, name, now);
            disk::rename(&dir.join(name), &backup)?;
            backups.push(backup);
        }
        for entry in entries(&moving)? {
            disk::rename(&entry, &dir.join(entry.file_name().unwrap_or_default()))?;
        }
        disk::sync_directory(dir)?;
        for done in found.interrupted.iter().chain([&moving]) {
            fs::remove_dir_all(done).map_err(failed("remove", done))?;
        }
        disk::sync_directory(dir)?;
        Ok(backups)
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // What cannot be removed now is removed by the next run.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Eight random hexadecimal digits.
pub(super) fn random_word() -> Result<String, IssueError> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(IssueError::Random)?;
    Ok(HEXLOWER.encode(&bytes))
}

/// `node-a.bak-20261120T020647Z`, with a number behind it if there is one of that second already.
pub(super) fn unused_backup(dir: &Path, name: &str, now: Timestamp) -> PathBuf {
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    let first = dir.join(format!("{name}{BACKUP}{time}"));
    let numbered = (2..).map(|number: u32| dir.join(format!("{name}{BACKUP}{time}-{number}")));
    let mut candidates = std::iter::once(first).chain(numbered);
    candidates.find(|candidate| fs::symlink_metadata(candidate).is_err()).expect("there are more numbers than files")
}
