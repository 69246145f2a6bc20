//! What was decided, for people: one line of JSON each, in files beside the log.
//!
//! It is no part of the agreement: nothing is said on its strength, it is not forced to disk, and when it cannot be
//! written that is told once and everything else goes on. It is written by a thread of its own, so that nobody waits for
//! it, and bounded: the oldest go first. What a later version of this program wrote is left as it is.

use crash::{Step, around};
use format::Version;
use model::{Keep, UnixMillis};
use rotation::{Series, files_in};
use serde::Deserialize;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The record's name: it is written to `history.jsonl`, which is continued in a new file when it is long or old, and then
/// called `history.1.jsonl` and so on.
const NAME: &str = "history";
/// The newest format of a line that this program reads.
const FORMAT: u64 = Version::NEWEST.line();
/// How many of the newest lines a start reads: as many as are shown, and some that may not be readable.
const RECALLED: usize = 2_000;
/// Never more than this is read of a file at a start, in bytes: it has room for far more than so many lines.
const MAX_READ: u64 = 16 * 1024 * 1024;
/// How many batches of lines may wait for the disk; beyond it they are left out.
const QUEUE: usize = 256;
/// How often it is looked at whether something has become too old.
const LOOK_EVERY: Duration = Duration::from_secs(600);
const MODE: u32 = 0o640;

/// The way to the lines that are kept.
#[derive(Debug)]
pub struct History {
    lines: Option<SyncSender<String>>,
    thread: Option<JoinHandle<()>>,
    /// Whether the last lines found no room in the queue, so that it is told once.
    fails: bool,
}

/// What is read of a line here; the rest means nothing to this room.
#[derive(Deserialize)]
struct Known {
    #[serde(default = "first_format")]
    format: u64,
    learned_at: Option<u64>,
}

/// A line that names none is of format 1.
const fn first_format() -> u64 {
    Version::V5.line()
}

impl History {
    /// Opens the history in `directory`, of which `keep` is kept, and gives the newest lines there are, oldest first, among
    /// which some may have been cut short.
    pub fn open(directory: &Path, keep: Keep) -> (Self, Vec<String>) {
        let mut files = Files::new(directory, keep);
        let lines = files.resume(unix_millis()).unwrap_or_else(|error| {
            files.fail(&error);
            files.is_refused = true;
            Vec::new()
        });
        let (sender, inbox) = sync_channel(QUEUE);
        let thread = thread::Builder::new().name("history".into()).spawn(move || files.run(&inbox));
        if let Err(error) = &thread {
            tracing::warn!(%error, "The history cannot be kept: there can be no thread");
        }
        (Self { lines: Some(sender), thread: thread.ok(), fails: false }, lines)
    }

    /// Adds whole lines, each ended. Never waits.
    pub fn append(&mut self, lines: String) {
        let fails = self.lines.as_ref().is_some_and(|queue| queue.try_send(lines).is_err());
        if fails && !self.fails {
            tracing::warn!("The history is not kept: the disk is too slow for it");
        }
        self.fails = fails;
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The files, for the thread that writes them.
#[derive(Debug)]
struct Files {
    series: Series,
    file: Option<File>,
    /// What is there is not for this program to touch.
    is_refused: bool,
    /// Whether the last attempt to write failed, so that it is told once.
    fails: bool,
}

impl Files {
    fn new(directory: &Path, keep: Keep) -> Self {
        let series = Series::new(directory, NAME, keep);
        Self { series, file: None, is_refused: false, fails: false }
    }

    /// Goes on with what there is, and reads the newest of it.
    fn resume(&mut self, now: UnixMillis) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        for path in files_in(self.series.directory(), NAME)?.iter().rev() {
            let text = end_of(path)?;
            if let Some(format) = text.lines().filter_map(format_of).find(|format| *format > FORMAT) {
                return Err(newer(path, format));
            }
            if *path == self.series.present() {
                let bytes = fs::metadata(path)?.len();
                let first = if bytes > 0 { Some(first_time(path)?) } else { None };
                self.series.resume(bytes, first);
                if !text.is_empty() && !text.ends_with('\n') {
                    // What follows must not become part of the line that was cut short.
                    self.append("\n", now);
                }
            }
            lines.splice(0..0, text.lines().map(str::to_owned));
            if lines.len() >= RECALLED {
                break;
            }
        }
        self.bound(now)?;
        Ok(lines)
    }

    fn run(mut self, inbox: &Receiver<String>) {
        loop {
            match inbox.recv_timeout(LOOK_EVERY) {
                Ok(lines) => self.append(&lines, unix_millis()),
                Err(RecvTimeoutError::Timeout) => self.append("", unix_millis()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn append(&mut self, lines: &str, now: UnixMillis) {
        match self.write(lines.as_bytes(), now) {
            Ok(()) => self.fails = false,
            Err(error) => self.fail(&error),
        }
    }

    fn write(&mut self, text: &[u8], now: UnixMillis) -> io::Result<()> {
        if self.is_refused {
            return Ok(());
        }
        if self.series.is_full(text.len()) || self.series.is_old(now) {
            self.put_aside(now)?;
        } else if text.is_empty() {
            return self.bound(now);
        }
        if text.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            self.file = Some(OpenOptions::new().create(true).append(true).mode(MODE).open(self.series.present())?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        around(Step::HistoryWrite, || file.write_all(text))?;
        self.series.grow(text.len(), now);
        Ok(())
    }

    /// Continues in a new file.
    fn put_aside(&mut self, now: UnixMillis) -> io::Result<()> {
        self.file = None;
        let number = self.series.aside()?.last().map_or(1, |(number, _)| number + 1);
        around(Step::HistoryRename, || fs::rename(self.series.present(), self.series.numbered(number)))?;
        self.series.resume(0, None);
        self.bound(now)
    }

    /// Removes what is too much, oldest first.
    fn bound(&self, now: UnixMillis) -> io::Result<()> {
        let surplus = self.series.surplus(now, first_time)?;
        surplus.iter().try_for_each(|path| around(Step::HistoryRemove, || fs::remove_file(path)))
    }

    fn fail(&mut self, error: &io::Error) {
        if !self.fails {
            let path = self.series.present().display().to_string();
            tracing::warn!(path, %error, "The history cannot be kept: what was decided is shown until this node stops");
        }
        self.fails = true;
        self.file = None;
    }
}

/// What a look finds of the history in a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryLook {
    /// The files, oldest first.
    pub files: Vec<PathBuf>,
    /// How many bytes they have together.
    pub bytes: u64,
    /// How many lines.
    pub lines: u64,
    /// Lines that a crash has cut short.
    pub cut: u64,
    /// The file and the offset of each line that is no history for another reason, and the reason.
    pub damage: Vec<(PathBuf, u64, String)>,
}

impl HistoryLook {
    pub(super) fn at(directory: &Path) -> io::Result<Self> {
        let mut look = Self { files: files_in(directory, NAME)?, ..Self::default() };
        for path in &look.files {
            let text = fs::read(path)?;
            let mut offset = 0;
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                let content = line.strip_suffix(b"\n").unwrap_or(line);
                look.lines += 1;
                match serde_json::from_slice::<Known>(content) {
                    Ok(Known { format, .. }) if format > FORMAT => {
                        look.damage.push((path.clone(), offset, newer_format(format)));
                    }
                    Ok(_) => {}
                    Err(error) if error.is_eof() => look.cut += 1,
                    Err(error) => look.damage.push((path.clone(), offset, error.to_string())),
                }
                offset += line.len() as u64;
            }
            look.bytes += offset;
        }
        Ok(look)
    }

    /// Goes through the lines, oldest first: each with the name of its file.
    pub(super) fn for_each_line(&self, take: &mut dyn FnMut(&str, &str) -> io::Result<()>) -> io::Result<()> {
        for path in &self.files {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let text = fs::read(path)?;
            String::from_utf8_lossy(&text).lines().try_for_each(|line| take(&name, line))?;
        }
        Ok(())
    }
}

/// When a file's first line was written.
fn first_time(path: &Path) -> io::Result<UnixMillis> {
    let mut line = Vec::new();
    BufReader::new(File::open(path)?.take(MAX_READ)).read_until(b'\n', &mut line)?;
    Ok(std::str::from_utf8(&line).ok().and_then(time_of).unwrap_or_else(|| changed_at(path)))
}

/// The last lines of a file, as many as are read at most.
fn end_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let from = file.seek(SeekFrom::End(0))?.saturating_sub(MAX_READ);
    file.seek(SeekFrom::Start(from))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let begin = text.iter().position(|byte| *byte == b'\n').filter(|_| from > 0).map_or(0, |end| end + 1);
    Ok(String::from_utf8_lossy(&text[begin..]).into_owned())
}

fn format_of(line: &str) -> Option<u64> {
    serde_json::from_str(line).ok().map(|Known { format, .. }| format)
}

fn time_of(line: &str) -> Option<UnixMillis> {
    serde_json::from_str::<Known>(line).ok()?.learned_at.map(UnixMillis)
}

fn changed_at(path: &Path) -> UnixMillis {
    let changed = fs::metadata(path).and_then(|facts| facts.modified()).ok();
    let since = changed.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_millis()).ok()).map_or_else(unix_millis, UnixMillis)
}

fn newer_format(found: u64) -> String {
    format!("it has format {found}, this program reads up to {FORMAT}: start a newer canary")
}

fn newer(path: &Path, found: u64) -> io::Error {
    io::Error::other(format!("{}: {}", path.display(), newer_format(found)))
}

fn unix_millis() -> UnixMillis {
    UnixMillis(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "history.jsonl";
    const SOME: Keep = Keep::bytes(4 * 1024 * 1024);

    fn reopened(directory: &Path) -> Vec<String> {
        History::open(directory, SOME).1
    }

    #[test]
    fn lines_are_there_after_a_restart() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut history, lines) = History::open(directory.path(), SOME);
        assert!(lines.is_empty());
        history.append("{\"n\":1}\n{\"n\":2}\n".into());
        history.append("{\"n\":3}\n".into());
        drop(history);
        assert_eq!(reopened(directory.path()), ["{\"n\":1}", "{\"n\":2}", "{\"n\":3}"]);
    }

    #[test]
    fn a_line_that_was_cut_short_takes_no_other_with_it() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join(FILE), "{\"n\":1}\n{\"n\":").expect("a file");
        let (mut history, _) = History::open(directory.path(), SOME);
        history.append("{\"n\":3}\n".into());
        drop(history);
        assert_eq!(reopened(directory.path()), ["{\"n\":1}", "{\"n\":", "{\"n\":3}"]);
        let look = HistoryLook::at(directory.path()).expect("readable");
        assert_eq!((look.lines, look.cut, look.damage.len()), (3, 1, 0));
    }

    fn size(directory: &Path) -> u64 {
        HistoryLook::at(directory).expect("readable").bytes
    }

    #[test]
    fn it_is_bounded_by_size_and_keeps_the_newest() {
        let directory = tempfile::tempdir().expect("a directory");
        for round in 0..5 {
            let mut files = Files::new(directory.path(), Keep::bytes(1_000));
            files.resume(UnixMillis(0)).expect("readable");
            for number in 0..100 {
                files.append(&format!("{{\"n\":{}}}\n", round * 100 + number), UnixMillis(number));
                assert!(size(directory.path()) <= 1_000, "{} bytes", size(directory.path()));
            }
        }
        let lines = reopened(directory.path());
        assert_eq!(lines.last().map(String::as_str), Some("{\"n\":499}"));
        assert!(size(directory.path()) > 750, "{} bytes", size(directory.path()));
        let numbers: Vec<u64> = lines.iter().filter_map(|line| line[5..line.len() - 1].parse().ok()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "the oldest go first: {numbers:?}");
    }

    #[test]
    fn it_is_bounded_by_age_though_nothing_happens() {
        let directory = tempfile::tempdir().expect("a directory");
        let hour = 60 * 60 * 1000;
        let keep: Keep = "8h".parse().expect("a limit");
        let mut files = Files::new(directory.path(), keep);
        for at in 0..20 {
            files.append(&format!("{{\"learned_at\":{}}}\n", at * hour), UnixMillis(at * hour));
        }
        let hours = || reopened(directory.path()).iter().filter_map(|line| Some(time_of(line)?.0 / hour)).collect();
        let kept: Vec<u64> = hours();
        assert_eq!(kept, (11..20).collect::<Vec<_>>(), "of 19 hours what is at most 8 old");
        drop(files);
        // Another process goes on where this one was.
        let mut files = Files::new(directory.path(), keep);
        files.resume(UnixMillis(21 * hour)).expect("readable");
        assert_eq!(hours(), (13..20).collect::<Vec<_>>());
        files.append("", UnixMillis(25 * hour));
        files.append("", UnixMillis(40 * hour));
        assert!(hours().is_empty());
    }

    #[test]
    fn what_a_later_version_wrote_is_refused_by_name_and_left_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(FILE);
        let text = "{\"learned_at\":1}\n{\"format\":3,\"learned_at\":2}\n";
        fs::write(&path, text).expect("a file");
        let error = Files::new(directory.path(), SOME).resume(UnixMillis(0)).expect_err("format 3 is of tomorrow");
        assert!(error.to_string().contains("history.jsonl: it has format 3, this program reads up to 2"), "{error}");
        let (mut history, lines) = History::open(directory.path(), SOME);
        history.append("{\"n\":3}\n".into());
        drop(history);
        assert!(lines.is_empty());
        assert_eq!(fs::read_to_string(&path).expect("text"), text);
        let look = HistoryLook::at(directory.path()).expect("readable");
        assert_eq!(look.damage.iter().map(|(_, offset, _)| *offset).collect::<Vec<_>>(), [17]);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_no_reason_to_end_or_to_wait() {
        let directory = tempfile::tempdir().expect("a directory");
        let (mut history, lines) = History::open(&directory.path().join("gone"), SOME);
        for _ in 0..10 * QUEUE {
            history.append("{}\n".into());
        }
        assert!(lines.is_empty());
    }
}
