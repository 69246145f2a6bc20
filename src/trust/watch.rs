//! A watch on a member's files, which tells whether they have changed since the last look.
//!
//! It looks at what the paths lead to, so that a link that is turned to another folder counts as a change, as the
//! secrets of a container platform come. A file is read only when its date, place or size has changed, and what was
//! read is wiped from memory: one of them is the key.

use super::file::MAX_FILE_BYTES;
use super::layout::{BUNDLE, CA, CRL, NODE};
use model::NodeId;
use sha2::{Digest as _, Sha256};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The files of one member, as they were last seen.
#[derive(Debug)]
pub struct FileWatch(Vec<Watched>);

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    /// None while there is no such file, or it cannot be read.
    seen: Option<Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    place: Place,
    sha256: [u8; 32],
}

/// What says, without reading, that a file may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl From<&Metadata> for Place {
    fn from(found: &Metadata) -> Self {
        let modified = (found.mtime(), found.mtime_nsec());
        Self { device: found.dev(), inode: found.ino(), size: found.size(), modified }
    }
}

impl FileWatch {
    /// The files that [`NodeFiles`](super::NodeFiles) reads, as they are now.
    pub fn new(certs_dir: &Path, node: NodeId) -> Self {
        let folder = certs_dir.join(node.to_string());
        let own = [NODE.0, NODE.1, CA, CRL, BUNDLE].map(|name| folder.join(name));
        let shared = [CA, CRL].map(|name| certs_dir.join(name));
        let paths = own.into_iter().chain(shared);
        Self(paths.map(|path| Watched { seen: look(&path, None), path }).collect())
    }

    /// Look at the files again, and tell whether any holds something else than at the last look.
    pub fn changed(&mut self) -> bool {
        let mut changed = false;
        for file in &mut self.0 {
            let now = look(&file.path, file.seen);
            changed |= now.map(|seen| seen.sha256) != file.seen.map(|seen| seen.sha256);
            file.seen = now;
        }
        changed
    }
}

fn look(path: &Path, before: Option<Seen>) -> Option<Seen> {
    let place = Place::from(&std::fs::metadata(path).ok()?);
    match before {
        Some(seen) if seen.place == place => Some(seen),
        Some(_) | None => Some(Seen { place, sha256: digest(path).ok()? }),
    }
}

fn digest(path: &Path) -> io::Result<[u8; 32]> {
    // As long as any of them may be, so that the key does not remain where a buffer that grew was before.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES));
    File::open(path)?.take(MAX_FILE_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(Sha256::digest(&bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_a_file_holds_counts_and_not_its_date() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = dir.path().join("node-a");
        fs::create_dir(&folder).expect("a directory");
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("it is ours");
        write(NODE.0, "one");
        let mut watch = FileWatch::new(dir.path(), NodeId::A);
        assert!(!watch.changed(), "nothing was done");
        fs::copy(folder.join(NODE.0), folder.join("copy")).expect("it is ours");
        fs::rename(folder.join("copy"), folder.join(NODE.0)).expect("it is ours");
        assert!(!watch.changed(), "another file with the same text");
        write(NODE.0, "two");
        assert!(watch.changed(), "as many letters, but other ones");
        assert!(!watch.changed(), "it is told once");
        write(NODE.1, "a key");
        assert!(watch.changed(), "a file that was not there");
        fs::remove_file(folder.join(NODE.1)).expect("it was there");
        assert!(watch.changed(), "a file that is gone");
        fs::write(dir.path().join(CRL), "a list").expect("it is ours");
        assert!(watch.changed(), "a file that the members of one machine share");
    }

    #[test]
    fn a_link_that_is_turned_to_another_folder_is_a_change() {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, text) in [("old", "1"), ("new", "2")] {
            fs::create_dir(dir.path().join(name)).expect("a directory");
            fs::write(dir.path().join(name).join(NODE.0), text).expect("it is ours");
        }
        let link = dir.path().join("node-a");
        symlink("old", &link).expect("a link");
        let mut watch = FileWatch::new(dir.path(), NodeId::A);
        symlink("new", dir.path().join("next")).expect("a link");
        fs::rename(dir.path().join("next"), &link).expect("it is ours");
        assert!(watch.changed());
    }
}
