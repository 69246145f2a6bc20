//! The certificate directories that the tests of this room begin with.

use super::{InitPlan, init};
use model::Peers;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// A file or folder of a tree, by its path within it; a folder has no contents.
struct Entry {
    path: PathBuf,
    mode: u32,
    contents: Option<Vec<u8>>,
}

/// The certificates of three members at 127.0.0.1, and what removes them in the end.
///
/// They are made once and written for each test: to force every file of every tree to disk would take most of the time
/// of all tests. So all trees are of one cluster; [`other_tree`] is of another one each time.
pub(super) fn tree() -> (TempDir, PathBuf) {
    static MADE: OnceLock<Vec<Entry>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let (_dir, certs) = other_tree();
        let mut entries = Vec::new();
        collect(&certs, &certs, &mut entries);
        entries
    });
    let dir = tempfile::tempdir().expect("a directory");
    let certs = dir.path().join("certs");
    for Entry { path, mode, contents } in made {
        let path = certs.join(path);
        match contents {
            None => fs::create_dir(&path).expect("a new folder"),
            Some(contents) => fs::write(&path, contents).expect("a new file"),
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).expect("our own");
    }
    (dir, certs)
}

/// As [`tree`], made anew: the certificates of another cluster.
pub(super) fn other_tree() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let certs = dir.path().join("certs");
    init(&InitPlan::for_peers(&certs, &Peers::local())).expect("a tree");
    (dir, certs)
}

/// A folder, then all that is in it.
fn collect(top: &Path, path: &Path, entries: &mut Vec<Entry>) {
    let facts = fs::symlink_metadata(path).expect("there");
    let contents = facts.is_file().then(|| fs::read(path).expect("readable"));
    let relative = path.strip_prefix(top).expect("below the top").to_owned();
    entries.push(Entry { path: relative, mode: facts.permissions().mode() & 0o7777, contents });
    if facts.is_dir() {
        for entry in fs::read_dir(path).expect("a folder") {
            collect(top, &entry.expect("an entry").path(), entries);
        }
    }
}
