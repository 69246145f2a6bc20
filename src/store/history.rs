//! What was decided, for people: one line of JSON each, in a file beside the log.
//!
//! It is no part of the agreement: nothing is said on its strength, it is not forced to disk, and when it cannot be
//! written that is told once and everything else goes on. It is bounded: beyond [`MAX_BYTES`] the older half is dropped.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The file, in the node's data directory.
const FILE: &str = "history.jsonl";
/// At most this much is kept: some thousands of decisions.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The lines that are kept.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    file: Option<File>,
    bytes: usize,
    max_bytes: usize,
    /// Whether the last attempt to write failed, so that it is told once.
    fails: bool,
}

impl History {
    /// Opens the history in `directory`, and gives the lines there are, oldest first, which may end in one that was cut
    /// short.
    #[must_use]
    pub fn open(directory: &Path) -> (Self, Vec<String>) {
        Self::bounded(directory, MAX_BYTES)
    }

    fn bounded(directory: &Path, max_bytes: usize) -> (Self, Vec<String>) {
        let path = directory.join(FILE);
        let read = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        };
        let mut history = Self { path, file: None, bytes: 0, max_bytes, fails: false };
        let text = read.unwrap_or_else(|error| {
            history.fail(&error);
            Vec::new()
        });
        history.bytes = text.len();
        let lines: Vec<String> = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
        if text.last().is_some_and(|last| *last != b'\n') {
            // What follows must not become part of the line that was cut short.
            history.append("");
        }
        (history, lines)
    }

    /// Adds whole lines, each ended.
    pub fn append(&mut self, lines: &str) {
        let text = if lines.is_empty() { "\n" } else { lines };
        let written = self.write(text.as_bytes());
        match written {
            Ok(()) => self.fails = false,
            Err(error) => self.fail(&error),
        }
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        if self.bytes + text.len() > self.max_bytes {
            self.shorten()?;
        }
        if self.file.is_none() {
            let file = OpenOptions::new().create(true).append(true).mode(0o640).open(&self.path)?;
            self.file = Some(file);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(text)?;
        self.bytes += text.len();
        Ok(())
    }

    /// Drops the older half: the rest is written beside it and takes its place as a whole.
    fn shorten(&mut self) -> io::Result<()> {
        self.file = None;
        let text = fs::read(&self.path)?;
        let half = text.len().saturating_sub(self.max_bytes / 2);
        let from = text[half..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| half + end + 1);
        let beside = self.path.with_extension("jsonl.new");
        OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o640)
            .open(&beside)?
            .write_all(&text[from..])?;
        fs::rename(&beside, &self.path)?;
        self.bytes = text.len() - from;
        Ok(())
    }

    fn fail(&mut self, error: &io::Error) {
        if !self.fails {
            let path = self.path.display();
            tracing::warn!(%path, %error, "The history cannot be kept: what was decided is shown until this node stops");
        }
        self.fails = true;
        self.file = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_there_after_a_restart() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut history, lines) = History::open(directory.path());
        assert!(lines.is_empty());
        history.append("{\"n\":1}\n{\"n\":2}\n");
        history.append("{\"n\":3}\n");
        drop(history);
        assert_eq!(History::open(directory.path()).1, ["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"]);
    }

    #[test]
    fn a_line_that_was_cut_short_takes_no_other_with_it() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join(FILE), "{\"n\":1}\n{\"n\":").expect("a file");
        let (mut history, _) = History::open(directory.path());
        history.append("{\"n\":3}\n");
        drop(history);
        assert_eq!(History::open(directory.path()).1, ["{\"n\":1}", "{\"n\":", "{\"n\":3}"]);
    }

    #[test]
    fn it_is_bounded_and_keeps_the_newest() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut history, _) = History::bounded(directory.path(), 1_000);
        for number in 0..500 {
            history.append(&format!("{{\"n\":{number}}}\n"));
            let length = fs::metadata(directory.path().join(FILE)).expect("a file").len();
            assert!(length <= 1_000, "{length} bytes");
        }
        drop(history);
        let lines = History::open(directory.path()).1;
        assert_eq!(lines.last().map(String::as_str), Some("{\"n\":499}"));
        assert!(lines.len() > 40, "{} lines", lines.len());
        assert!(lines.iter().all(|line| line.starts_with('{') && line.ends_with('}')));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_no_reason_to_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut history, lines) = History::open(&directory.path().join("gone"));
        history.append("{}\n");
        assert!(lines.is_empty() && history.fails);
    }
}
