//! Private keys on disk: read only when nobody but their owner can read or replace them.
//!
//! A link is followed, because secret stores and certificate renewers mount keys as links, but only when each link on
//! the way belongs to root or to this user. The file itself is judged through the descriptor that is then read.

use super::TrustError;
use super::file::{MAX_FILE_BYTES, failed, read_opened};
use rustix::fs::{Mode, OFlags};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use zeroize::Zeroizing;

/// As many links as Linux itself follows in one path.
const MAX_LINKS: usize = 40;
const READABLE_BY_OTHERS: u32 = 0o077;
const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Read a private key file into a buffer that is wiped when dropped; nothing when it is not there. Fails when others
/// can read or replace it, or it cannot be read.
pub fn read_key(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, TrustError> {
    if matches!(fs::symlink_metadata(path), Err(error) if is_absence(&error)) {
        return Ok(None);
    }
    let resolved = resolve(path)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(&resolved, flags, Mode::empty()).map_err(failed("open", path))?;
    let file = File::from(opened);
    let facts = file.metadata().map_err(failed("read", path))?;
    check_file(&resolved, &facts)?;
    let parent = resolved.parent().unwrap_or(Path::new("/"));
    check_directory(parent, &fs::metadata(parent).map_err(failed("read", parent))?)?;
    Ok(Some(read_opened(file, path, MAX_FILE_BYTES)?))
}

/// The path as a word that a shell takes literally.
pub fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-+:@%,".contains(character);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn is_absence(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// The path without links, each of which was seen to be root's or this user's.
fn resolve(path: &Path) -> Result<PathBuf, TrustError> {
    let absolute = std::path::absolute(path).map_err(failed("read", path))?;
    let mut ahead: VecDeque<OsString> = absolute.components().map(|part| part.as_os_str().to_owned()).collect();
    let mut resolved = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = ahead.pop_front() {
        match Path::new(&part).components().next() {
            Some(Component::RootDir) => resolved = PathBuf::from("/"),
            Some(Component::ParentDir) => {
                resolved.pop();
            }
            Some(Component::Normal(name)) => {
                let next = resolved.join(name);
                let facts = fs::symlink_metadata(&next).map_err(failed("read", &next))?;
                if !facts.is_symlink() {
                    resolved = next;
                    continue;
                }
                links += 1;
                if links > MAX_LINKS {
                    return Err(failed("read", path)(rustix::io::Errno::LOOP).into());
                }
                check_link(&next, &facts, &resolved)?;
                let target = fs::read_link(&next).map_err(failed("read", &next))?;
                for part in target.components().rev() {
                    ahead.push_front(part.as_os_str().to_owned());
                }
            }
            Some(Component::CurDir | Component::Prefix(_)) | None => {}
        }
    }
    Ok(resolved)
}

fn check_link(link: &Path, facts: &Metadata, parent: &Path) -> Result<(), TrustError> {
    if !is_trusted_owner(facts.uid()) {
        return Err(TrustError::UnsafeKey {
            path: link.to_owned(),
            problem: format!("this link belongs to user {}, not to root or user {}", facts.uid(), own_uid()),
            fix: "put the key itself there instead of a link".into(),
        });
    }
    let directory = fs::metadata(parent).map_err(failed("read", parent))?;
    // In a sticky directory others cannot replace a link that is not theirs.
    if directory.mode() & STICKY == 0 { check_directory(parent, &directory) } else { Ok(()) }
}

fn check_file(path: &Path, facts: &Metadata) -> Result<(), TrustError> {
    let refused = |problem: String, fix: String| Err(TrustError::UnsafeKey { path: path.to_owned(), problem, fix });
    if !facts.is_file() {
        return refused("it is not a regular file".into(), "put the key file there".into());
    }
    if !is_trusted_owner(facts.uid()) {
        let problem = format!("it belongs to user {}, not to root or user {}", facts.uid(), own_uid());
        return refused(problem, format!("type: chown {} {}", own_uid(), shell_word(path)));
    }
    if facts.mode() & READABLE_BY_OTHERS != 0 {
        let problem = format!("its mode is {:04o} and must be 0600", facts.mode() & 0o7777);
        return refused(problem, format!("type: chmod 600 {}", shell_word(path)));
    }
    Ok(())
}

fn check_directory(path: &Path, facts: &Metadata) -> Result<(), TrustError> {
    let refused = |problem: String, fix: String| Err(TrustError::UnsafeKey { path: path.to_owned(), problem, fix });
    if !is_trusted_owner(facts.uid()) {
        let problem = format!("this directory belongs to user {}, not to root or user {}", facts.uid(), own_uid());
        return refused(problem, format!("type: chown {} {}", own_uid(), shell_word(path)));
    }
    if facts.mode() & WRITABLE_BY_OTHERS != 0 {
        let problem = format!(
            "the mode of this directory is {:04o} and must be 0700, since others could replace the key",
            facts.mode() & 0o7777
        );
        return refused(problem, format!("type: chmod 700 {}", shell_word(path)));
    }
    Ok(())
}

fn is_trusted_owner(uid: u32) -> bool {
    uid == 0 || uid == own_uid()
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::FileError;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use tempfile::TempDir;

    fn with_key(mode: u32) -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let key = dir.path().join("node.key");
        fs::write(&key, "secret").expect("written");
        set_mode(&key, mode);
        (dir, key)
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("own file");
    }

    fn problem(path: &Path) -> String {
        match read_key(path) {
            Err(error @ TrustError::UnsafeKey { .. }) => error.to_string(),
            other => panic!("{path:?} must be unsafe, not {other:?}"),
        }
    }

    #[test]
    fn a_key_of_the_own_user_alone_is_read() {
        for mode in [0o600, 0o400] {
            let (_dir, key) = with_key(mode);
            let contents = read_key(&key).expect("safe").expect("there");
            assert_eq!(contents.as_slice(), b"secret");
        }
        let (dir, _) = with_key(0o600);
        assert!(matches!(read_key(&dir.path().join("other.key")), Ok(None)));
        assert!(matches!(read_key(&dir.path().join("no-folder/node.key")), Ok(None)));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_command_to_type() {
        for mode in [0o640, 0o604, 0o620, 0o644, 0o666, 0o700 | 0o001] {
            let (_dir, key) = with_key(mode);
            let text = problem(&key);
            assert!(text.contains(&format!("mode is {mode:04o} and must be 0600")), "{text}");
            assert!(text.contains(&format!("chmod 600 {}", key.display())), "{text}");
        }
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        for mode in [0o770, 0o702, 0o777, 0o1777] {
            let (dir, key) = with_key(0o600);
            set_mode(dir.path(), mode);
            let text = problem(&key);
            assert!(text.contains(&format!("{mode:04o} and must be 0700")) && text.contains("chmod 700"), "{text}");
        }
    }

    #[test]
    fn own_links_are_followed_and_what_they_lead_to_is_judged() {
        let (dir, key) = with_key(0o600);
        let mount = tempfile::tempdir().expect("a directory");
        // The layout of a mounted secret: node.key -> ..data/node.key, ..data -> elsewhere.
        symlink(dir.path(), mount.path().join("..data")).expect("a link");
        symlink("..data/node.key", mount.path().join("node.key")).expect("a link");
        set_mode(mount.path(), 0o1777);
        let through = mount.path().join("node.key");
        assert!(matches!(read_key(&through), Ok(Some(_))));
        set_mode(mount.path(), 0o777);
        assert!(problem(&through).contains("others could replace"));
        set_mode(mount.path(), 0o700);
        set_mode(&key, 0o644);
        assert!(problem(&through).contains(&key.display().to_string()), "the resolved file is named");
    }

    #[test]
    fn loops_directories_and_pipes_are_errors_and_not_hangs() {
        let dir = tempfile::tempdir().expect("a directory");
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        symlink(&two, &one).expect("a link");
        symlink(&one, &two).expect("a link");
        assert!(matches!(read_key(&one), Err(TrustError::File(FileError::Io { .. }))));
        assert!(problem_or_error(dir.path()));
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .expect("a pipe");
        assert!(problem(&pipe).contains("not a regular file"));
    }

    fn problem_or_error(path: &Path) -> bool {
        read_key(path).is_err()
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(shell_word(Path::new("certs/node-a/node.key")), "certs/node-a/node.key");
        assert_eq!(shell_word(Path::new("my certs/it's")), r"'my certs/it'\''s'");
    }
}
