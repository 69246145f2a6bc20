//! Files and directories written with exact modes and forced to disk.
//!
//! The modes do not depend on the umask. No link is followed when writing, and a file is replaced as a whole or not at
//! all; only the index of what was issued is added to.

use super::error::IssueError;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use trust::file::{FileError, failed, read_up_to};

/// A lock on a directory against other processes, held until it is dropped.
pub(super) struct Lock {
    _directory: OwnedFd,
}

/// Takes the lock on a directory. Fails when another process holds it or the directory cannot be opened.
pub(super) fn lock(directory: &Path) -> Result<Lock, IssueError> {
    let opened = open_directory(directory)?;
    match rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock { _directory: opened }),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(IssueError::Busy { dir: directory.to_owned() }),
        Err(error) => Err(failed("lock", directory)(error).into()),
    }
}

/// Makes a directory that is not there yet. Fails when something is there, or the system refuses.
pub(super) fn create_directory(path: &Path, mode: u32) -> Result<(), IssueError> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(0o700)).map_err(failed("create", path))?;
    let opened = open_directory(path)?;
    rustix::fs::fchmod(&opened, Mode::from_raw_mode(mode)).map_err(failed("set the mode of", path))?;
    Ok(())
}

/// Makes a file that is not there yet and forces it to disk. Fails when something is there, or the system refuses.
pub(super) fn create_file(path: &Path, mode: u32, contents: &[u8]) -> Result<(), FileError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Readable by nobody else from the first moment on; widened to the exact mode while it is still empty.
    let opened = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).map_err(failed("create", path))?;
    rustix::fs::fchmod(&opened, Mode::from_raw_mode(mode)).map_err(failed("set the mode of", path))?;
    let mut file = File::from(opened);
    file.write_all(contents).and_then(|()| file.sync_all()).map_err(failed("write", path))
}

/// Forces the entries of a directory to disk. Fails when the system refuses.
pub(super) fn sync_directory(path: &Path) -> Result<(), IssueError> {
    let opened = open_directory(path)?;
    rustix::fs::fsync(&opened).map_err(failed("force to disk", path))?;
    Ok(())
}

/// Moves an entry within a file system. Fails when the system refuses.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(failed("move into place", to))
}

/// A file that is complete on disk beside the one whose place it will take; removed when dropped before that.
pub(super) struct Staged {
    temporary: PathBuf,
    target: PathBuf,
}

impl Staged {
    /// Writes the new contents beside `target`. The caller holds the lock, so what lies there is of a run that died.
    /// Fails when the system refuses.
    pub(super) fn write(target: &Path, mode: u32, contents: &[u8]) -> Result<Self, FileError> {
        let name = target.file_name().map(|name| name.display().to_string()).unwrap_or_default();
        let temporary = target.with_file_name(format!(".{name}.new"));
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &temporary)(error)),
            Ok(()) | Err(_) => {}
        }
        let staged = Self { temporary, target: target.to_owned() };
        create_file(&staged.temporary, mode, contents)?;
        Ok(staged)
    }

    /// Takes the place of what was there, all at once; the directory is still to be forced to disk. Fails when the
    /// system refuses.
    pub(super) fn publish(self) -> Result<(), FileError> {
        rename(&self.temporary, &self.target)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After the rename there is nothing under this name any more.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Puts these contents in the place of a file, all at once; whether that changed it. Fails when the system refuses.
pub(super) fn replace_file(path: &Path, mode: u32, contents: &[u8]) -> Result<Change, IssueError> {
    let present = match fs::symlink_metadata(path) {
        // What cannot be read, or is too long to be the same, is replaced.
        Ok(facts) if facts.is_file() => read_up_to(path, contents.len()).ok().flatten(),
        Ok(_) | Err(_) => None,
    };
    if present.is_some_and(|present| present.as_slice() == contents) {
        return Ok(Change::None);
    }
    Staged::write(path, mode, contents)?.publish()?;
    sync_directory(path.parent().unwrap_or(path))?;
    Ok(Change::Written)
}

/// Whether a file had to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It was written.
    Written,
    /// It held this already.
    None,
}

/// Adds to the end of a file, behind its first `keep` bytes, and forces it to disk. Fails when it is not there, is a
/// link, or the system refuses.
pub(super) fn append_file(path: &Path, keep: u64, contents: &[u8]) -> Result<(), FileError> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(failed("open", path))?;
    let mut file = File::from(opened);
    let longer = file.metadata().map_err(failed("read", path))?.len() > keep;
    let cut = if longer { file.set_len(keep) } else { Ok(()) };
    cut.and_then(|()| file.write_all(contents)).and_then(|()| file.sync_all()).map_err(failed("write", path))
}

fn open_directory(path: &Path) -> Result<OwnedFd, IssueError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(opened) => Ok(opened),
        Err(rustix::io::Errno::NOTDIR) => Err(IssueError::NotADirectory(path.to_owned())),
        Err(error) => Err(failed("open", path)(error).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_never_overwritten_and_links_never_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        create_file(&file, 0o644, b"one").expect("a new file");
        assert!(create_file(&file, 0o644, b"two").is_err());
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).expect("a link");
        assert!(create_file(&link, 0o600, b"two").is_err());
        assert!(!dir.path().join("elsewhere").exists());
        assert_eq!(fs::read(&file).expect("readable"), b"one");
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o7777, 0o644);
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_a_link_by_a_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, link, target) = (dir.path().join("file"), dir.path().join("link"), dir.path().join("target"));
        fs::write(&target, "kept").expect("written");
        std::os::unix::fs::symlink(&target, &link).expect("a link");
        // What a run that died left behind is in nobody's way.
        fs::write(dir.path().join(".file.new"), "half").expect("written");
        assert_eq!(replace_file(&file, 0o600, b"one").expect("new"), Change::Written);
        assert_eq!(replace_file(&file, 0o600, b"one").expect("the same"), Change::None);
        assert_eq!(replace_file(&link, 0o644, b"two").expect("a link"), Change::Written);
        assert_eq!(
            (fs::read(&target).expect("there"), fs::read(&link).expect("there")),
            (b"kept".into(), b"two".into())
        );
        assert!(fs::symlink_metadata(&link).expect("there").is_file());
        drop(Staged::write(&file, 0o600, b"three").expect("written"));
        assert_eq!(fs::read(&file).expect("there"), b"one");
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 3, "no temporary file is left");
    }

    #[test]
    fn lines_are_added_behind_what_is_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        fs::write(&file, "one\ntw").expect("written");
        append_file(&file, 4, b"two\n").expect("appended");
        assert_eq!(fs::read(&file).expect("there"), b"one\ntwo\n");
        assert!(append_file(&dir.path().join("none"), 0, b"x").is_err());
    }

    #[test]
    fn a_directory_is_locked_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let held = lock(dir.path()).expect("free");
        assert!(matches!(lock(dir.path()), Err(IssueError::Busy { .. })));
        drop(held);
        assert!(lock(dir.path()).is_ok());
    }
}
