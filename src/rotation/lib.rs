//! Records that only grow, in numbered files: which there are, when the next begins, and which have to go.
//!
//! `NAME.jsonl` is the file that is written. When it is long or old its owner puts it aside as `NAME.N.jsonl` and begins
//! another; a larger number is a newer file. Here nothing is written, renamed or removed: the owners do that, each with its
//! own steps at which tests end a node, and its own rules for what is forced to disk before.

use model::{Keep, KeptPiece, UnixMillis};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The files of one record, and the length and the age of the one that is written.
#[derive(Debug)]
pub struct Series {
    directory: PathBuf,
    name: &'static str,
    keep: Keep,
    bytes: u64,
    /// When the first line of the present file was written; none while there is none.
    first: Option<UnixMillis>,
}

impl Series {
    /// The record `name` in `directory`, of which `keep` is kept. Of the present file nothing is known yet.
    pub fn new(directory: &Path, name: &'static str, keep: Keep) -> Self {
        Self { directory: directory.to_owned(), name, keep, bytes: 0, first: None }
    }

    /// The directory of all files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file that is written.
    pub fn present(&self) -> PathBuf {
        self.directory.join(present(self.name))
    }

    /// The place of the file with this number, once it is put aside.
    pub fn numbered(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{}.{number}.jsonl", self.name))
    }

    /// Files put aside, with their numbers, oldest first. Fails when the directory cannot be read.
    pub fn aside(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        aside(&self.directory, self.name)
    }

    /// How long the present file is.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// From now on the present file is so long, and its first line was written then; none while it has no line.
    pub const fn resume(&mut self, bytes: u64, first: Option<UnixMillis>) {
        (self.bytes, self.first) = (bytes, first);
    }

    /// So much was added to the present file.
    pub fn grow(&mut self, bytes: usize, now: UnixMillis) {
        self.bytes += bytes as u64;
        self.first.get_or_insert(now);
    }

    /// Whether so much more makes the present file too long.
    pub fn is_full(&self, more: usize) -> bool {
        self.bytes > 0 && self.bytes + more as u64 > self.keep.piece_bytes()
    }

    /// Whether the present file must be continued in a new one, however short it is.
    pub fn is_old(&self, now: UnixMillis) -> bool {
        self.first.is_some_and(|first| self.keep.is_old(first, now))
    }

    /// The files that are too much, oldest first. `first` gives the time of the first line of a file. Fails when a file
    /// cannot be read.
    pub fn surplus(
        &self,
        now: UnixMillis,
        first: impl Fn(&Path) -> io::Result<UnixMillis>,
    ) -> io::Result<Vec<PathBuf>> {
        let mut paths: Vec<PathBuf> = self.aside()?.into_iter().map(|(_, path)| path).collect();
        let piece = |path: &PathBuf| Ok(KeptPiece { bytes: fs::metadata(path)?.len(), first: first(path)? });
        let pieces = paths.iter().map(piece).collect::<io::Result<Vec<_>>>()?;
        paths.truncate(self.keep.excess(&pieces, now));
        Ok(paths)
    }
}

/// The files of the record `name` in `directory`, oldest first, the present one included. Fails when the directory
/// cannot be read.
pub fn files_in(directory: &Path, name: &str) -> io::Result<Vec<PathBuf>> {
    let present = Some(directory.join(present(name))).filter(|path| path.exists());
    Ok(aside(directory, name)?.into_iter().map(|(_, path)| path).chain(present).collect())
}

fn present(name: &str) -> String {
    format!("{name}.jsonl")
}

fn aside(directory: &Path, name: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        let number = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".jsonl"));
        found.extend(number.and_then(|number| number.parse().ok()).map(|number| (number, path.clone())));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_in_the_order_of_their_numbers_and_the_present_one_is_last() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["a.10.jsonl", "a.9.jsonl", "a.jsonl", "ab.1.jsonl", "a.x.jsonl", "a.damaged-1.jsonl", "a.1.json"] {
            fs::write(directory.path().join(name), "{}\n").expect("a file");
        }
        let files = files_in(directory.path(), "a").expect("readable");
        let names: Vec<_> = files.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["a.9.jsonl", "a.10.jsonl", "a.jsonl"]);
        let series = Series::new(directory.path(), "a", Keep::bytes(1));
        assert_eq!(series.present(), files[2]);
        assert_eq!(series.aside().expect("readable"), [(9, series.numbered(9)), (10, series.numbered(10))]);
    }

    #[test]
    fn the_present_file_is_full_or_old_and_an_empty_one_is_neither() {
        let mut series = Series::new(Path::new("nowhere"), "a", "1MiB,8h".parse().expect("a limit"));
        let (later, piece) = (UnixMillis(60 * 60 * 1000), 128 * 1024);
        assert!(!series.is_full(2 * piece) && !series.is_old(later));
        series.grow(1, UnixMillis(0));
        assert!(!series.is_full(piece - 1) && series.is_full(piece));
        assert!(!series.is_old(UnixMillis(later.0 - 1)) && series.is_old(later));
        series.resume(0, None);
        assert!(!series.is_full(2 * piece) && !series.is_old(later));
    }

    #[test]
    fn the_oldest_are_too_much() {
        let directory = tempfile::tempdir().expect("a directory");
        let series = Series::new(directory.path(), "a", Keep::bytes(80));
        for number in 1..=9 {
            fs::write(series.numbered(number), [b' '; 10]).expect("a file");
        }
        let surplus = series.surplus(UnixMillis(0), |_| Ok(UnixMillis(0))).expect("readable");
        assert_eq!(surplus, [series.numbered(1), series.numbered(2)]);
    }
}
