//! The file: appended to, rotated when it is large or old, and begun again where it cannot be continued.

use super::line::{Event, Line, hash, newer_format};
use crash::{Step, around};
use model::{Digest, Keep, NodeId, UnixMillis};
use rotation::Series;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The file that is written now, in the node's data directory. When it is long or old it is put aside as
/// `audit.<its first line's number>.jsonl`, and a new one continues the chain.
pub const AUDIT_FILE: &str = "audit.jsonl";
const NAME: &str = "audit";
/// Names the last line, signed.
const HEAD_FILE: &str = "audit.head";
/// The longest line there can be: a state with a plan, and its votes.
const MAX_LINE: u64 = 1024 * 1024;
const MODE: u32 = 0o600;

/// What `audit.head` says: the last line, so that one dropped from the end is missed.
pub(super) type Head = format::v5::audit::Head<'static>;

/// The record that is being written.
#[derive(Debug)]
pub(super) struct Record {
    node: NodeId,
    files: Series,
    file: File,
    seq: u64,
    prev: Digest,
    /// The number of the first line of the present file.
    first: u64,
}

impl Record {
    /// Opens the record in `directory`, of which `keep` is kept. A last line that was cut short is removed: nothing was said
    /// on its strength. One of a later version is an error, and left as it is.
    pub(super) fn open(directory: &Path, node: NodeId, keep: Keep) -> io::Result<Self> {
        let mut files = Series::new(directory, NAME, keep);
        let path = files.present();
        let mut file = open(&path)?;
        let (bytes, last) = last_line(&mut file)?;
        files.resume(bytes, None);
        let last = match last {
            None if bytes == 0 => newest_aside(&files)?,
            last => last,
        };
        if let Some(what) = last.as_deref().and_then(newer_format) {
            return Err(io::Error::other(what));
        }
        let parsed = last.as_deref().map(Line::read);
        let mut record = Self { node, files, file, seq: 0, prev: Digest::default(), first: 1 };
        match (parsed, last) {
            (Some(Ok(line)), Some(text)) => {
                (record.seq, record.prev) = (line.seq, hash(&text));
                let first = first_line(&path)?;
                record.first = first.as_ref().map_or(line.seq + 1, |first| first.seq);
                record.files.resume(bytes, first.map(|first| first.at));
            }
            (None, _) if bytes == 0 => {}
            _ => record.begin_anew(&path)?,
        }
        let head = head_in(directory);
        if let Some(head) = head.filter(|head| head.seq > record.seq) {
            let found = record.seq;
            record.seq = head.seq;
            record.append(&[(unix_millis(), Event::Shortened { head: head.seq, found })])?;
        }
        record.bound(unix_millis())?;
        Ok(record)
    }

    /// What cannot be read is kept for whoever investigates, and the chain begins anew.
    fn begin_anew(&mut self, path: &Path) -> io::Result<()> {
        let now = jiff::Timestamp::now().as_second();
        let aside = self.files.directory().join(format!("audit.damaged-{now}.jsonl"));
        around(Step::AuditRename, || fs::rename(path, aside))?;
        self.file = open(path)?;
        self.files.resume(0, None);
        Ok(())
    }

    /// Adds a line for each event.
    pub(super) fn append(&mut self, events: &[(UnixMillis, Event)]) -> io::Result<()> {
        let (mut seq, mut prev, mut text) = (self.seq, self.prev, String::new());
        for (at, event) in events {
            seq += 1;
            let line = Line { seq, prev, at: *at, node: self.node, event: event.clone() }.text();
            prev = hash(&line);
            text.push_str(&line);
            text.push('\n');
        }
        let Some((now, _)) = events.last() else { return Ok(()) };
        if self.files.is_full(text.len()) {
            self.put_aside(*now)?;
        }
        if let Err(error) = around(Step::AuditWrite, || self.file.write_all(text.as_bytes())) {
            // Half a line would break the chain: what was there before is what counts.
            around(Step::AuditWrite, || self.file.set_len(self.files.bytes()))?;
            return Err(error);
        }
        self.files.grow(text.len(), *now);
        (self.seq, self.prev) = (seq, prev);
        Ok(())
    }

    /// The last line's number and hash.
    pub(super) const fn head(&self) -> (u64, Digest) {
        (self.seq, self.prev)
    }

    /// Forces what was written to disk, and then names its end.
    pub(super) fn seal(&self, head: &Head) -> io::Result<()> {
        around(Step::AuditForce, || self.file.sync_data())?;
        let beside = self.files.directory().join("audit.head.new");
        let text = serde_json::to_string(head).expect("a head is plain text and numbers") + "\n";
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(MODE).open(&beside)?;
        around(Step::AuditWrite, || file.write_all(text.as_bytes()))?;
        around(Step::AuditRename, || fs::rename(beside, self.files.directory().join(HEAD_FILE)))
    }

    /// Lets go what is too old, however little is written.
    pub(super) fn age(&mut self, now: UnixMillis) -> io::Result<()> {
        if self.files.bytes() > 0 && self.files.is_old(now) {
            return self.put_aside(now);
        }
        self.bound(now)
    }

    fn put_aside(&mut self, now: UnixMillis) -> io::Result<()> {
        around(Step::AuditForce, || self.file.sync_data())?;
        let path = self.files.present();
        around(Step::AuditRename, || fs::rename(&path, self.files.numbered(self.first)))?;
        self.file = open(&path)?;
        self.first = self.seq + 1;
        self.files.resume(0, None);
        self.bound(now)
    }

    /// Removes what is too much, oldest first; never the newest, which says where the chain goes on.
    fn bound(&self, now: UnixMillis) -> io::Result<()> {
        let first = |path: &Path| Ok(first_line(path)?.map_or_else(UnixMillis::default, |line| line.at));
        let mut surplus = self.files.surplus(now, first)?;
        if self.files.bytes() == 0 && surplus.len() == self.files.aside()?.len() {
            surplus.pop();
        }
        surplus.iter().try_for_each(|path| around(Step::AuditRemove, || fs::remove_file(path)))
    }
}

/// The first line of a file, if it is one of a record.
fn first_line(path: &Path) -> io::Result<Option<Line>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_LINE).read_to_end(&mut text)?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(std::str::from_utf8(line).ok().and_then(|line| Line::read(line).ok()))
}

/// The files of the record in `directory`, oldest first. Fails when the directory cannot be read.
pub fn files_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    rotation::files_in(directory, NAME)
}

/// The head that lies beside a record.
pub(super) fn read_head(file: &Path) -> Option<Head> {
    let is_present = file.file_name().is_some_and(|name| name == AUDIT_FILE);
    head_in(file.parent().unwrap_or(Path::new(""))).filter(|_| is_present)
}

fn head_in(directory: &Path) -> Option<Head> {
    let text = fs::read(directory.join(HEAD_FILE)).ok()?;
    serde_json::from_slice::<format::v5::audit::Head<'_>>(&text).ok().map(format::v5::audit::Head::into_static)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(MODE)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

fn newest_aside(files: &Series) -> io::Result<Option<String>> {
    let Some((_, path)) = files.aside()?.pop() else { return Ok(None) };
    Ok(last_line(&mut OpenOptions::new().read(true).write(true).open(path)?)?.1)
}

/// How long the file is without a last line that was cut short, which is removed, and the last line.
fn last_line(file: &mut File) -> io::Result<(u64, Option<String>)> {
    let length = file.seek(SeekFrom::End(0))?;
    let from = length.saturating_sub(2 * MAX_LINE);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else {
        if from == 0 && length > 0 {
            around(Step::AuditWrite, || file.set_len(0))?;
            return Ok((0, None));
        }
        return Ok((length, None));
    };
    let kept = from + end as u64 + 1;
    if kept < length {
        around(Step::AuditWrite, || file.set_len(kept))?;
    }
    let begin = tail[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |before| before + 1);
    Ok((kept, String::from_utf8(tail[begin..end].to_vec()).ok()))
}

pub(super) fn unix_millis() -> UnixMillis {
    UnixMillis(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Keep = Keep::bytes(1024 * 1024);

    fn event(number: u64) -> (UnixMillis, Event) {
        (UnixMillis(number), Event::Lost { lines: number })
    }

    /// Every line of the record, each checked against the one before; the first may follow one that is gone.
    fn chain(directory: &Path) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut before: Option<(u64, Digest)> = None;
        for path in files_in(directory).expect("readable") {
            for text in fs::read_to_string(path).expect("text").lines() {
                let line = Line::read(text).expect("a line");
                if let Some((seq, digest)) = before {
                    assert_eq!((line.seq, line.prev), (seq + 1, digest));
                }
                before = Some((line.seq, hash(text)));
                lines.push(line);
            }
        }
        lines
    }

    #[test]
    fn lines_are_chained_across_starts_and_a_cut_short_one_is_gone() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut record = Record::open(directory.path(), NodeId::A, SOME).expect("a new record");
        record.append(&[event(1), event(2)]).expect("written");
        drop(record);
        let path = directory.path().join(AUDIT_FILE);
        open(&path).expect("there").write_all(b"{\"seq\":3,\"pre").expect("written");
        let mut record = Record::open(directory.path(), NodeId::A, SOME).expect("the record");
        record.append(&[event(3)]).expect("written");
        let lines = chain(directory.path());
        assert_eq!(lines.iter().map(|line| line.seq).collect::<Vec<_>>(), [1, 2, 3]);
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).expect("there").permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_large_record_is_continued_in_a_new_file_and_the_oldest_go() {
        let directory = tempfile::tempdir().expect("a directory");
        for round in 0..40 {
            // Opened anew each time: the chain goes on wherever the last line is.
            let mut record = Record::open(directory.path(), NodeId::A, Keep::bytes(16_000)).expect("the record");
            for number in 0..5 {
                record.append(&[event(round * 5 + number)]).expect("written");
            }
        }
        let lines = chain(directory.path());
        assert_eq!(lines.last().map(|line| line.seq), Some(200));
        assert!(lines[0].seq > 1);
        let files = files_in(directory.path()).expect("readable");
        let bytes: u64 = files.iter().map(|path| fs::metadata(path).expect("there").len()).sum();
        assert!(files.len() == 8 && bytes <= 16_000 && bytes > 12_000, "{bytes} bytes in {} files", files.len());
    }

    #[test]
    fn what_is_too_old_goes_though_nothing_happens_and_the_chain_goes_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let hour = 60 * 60 * 1000;
        let now = unix_millis().0;
        let mut record = Record::open(directory.path(), NodeId::A, "8h".parse().expect("a limit")).expect("new");
        for at in 0..20 {
            let at = UnixMillis(now + at * hour);
            record.age(at).expect("removable");
            record.append(&[(at, Event::Stopped)]).expect("written");
        }
        let hours = || chain(directory.path()).iter().map(|line| (line.at.0 - now) / hour).collect::<Vec<_>>();
        assert_eq!(hours(), (11..20).collect::<Vec<_>>(), "of 19 hours what is at most 8 old");
        for later in [25, 30, 99] {
            record.age(UnixMillis(now + later * hour)).expect("removable");
        }
        assert_eq!(hours(), [19], "the newest says where the chain goes on");
        drop(record);
        let mut record = Record::open(directory.path(), NodeId::A, SOME).expect("the record");
        record.append(&[event(1)]).expect("written");
        assert_eq!(chain(directory.path()).iter().map(|line| line.seq).collect::<Vec<_>>(), [20, 21]);
    }

    #[test]
    fn lines_that_name_no_format_are_of_the_first_and_those_of_a_later_one_are_refused_by_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(AUDIT_FILE);
        let mut record = Record::open(directory.path(), NodeId::A, SOME).expect("a new record");
        record.append(&[event(1)]).expect("written");
        let text = fs::read_to_string(&path).expect("text");
        assert!(!text.contains("format"), "lines are what they always were: {text}");
        drop(record);
        let newer = text.replacen("{\"seq\":1", "{\"format\":3,\"new\":true,\"seq\":2", 1);
        fs::write(&path, text + &newer).expect("written");
        let before = fs::read_to_string(&path).expect("text");
        let error = Record::open(directory.path(), NodeId::A, SOME).expect_err("format 3 is of tomorrow");
        assert!(error.to_string().contains("it has format 3, this program reads up to 2"), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("text"), before, "and left as it is");
    }

    #[test]
    fn an_end_that_was_dropped_is_missed_at_the_next_start() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut record = Record::open(directory.path(), NodeId::A, SOME).expect("a new record");
        record.append(&[event(1), event(2), event(3)]).expect("written");
        let (seq, digest) = record.head();
        let head =
            Head { seq, digest: digest.into(), serial: "0a".into(), scheme: 0x0403, signature: Default::default() };
        record.seal(&head).expect("sealed");
        drop(record);
        let path = directory.path().join(AUDIT_FILE);
        let text = fs::read_to_string(&path).expect("text");
        let kept = text.lines().next().expect("a line").len() + 1;
        fs::write(&path, &text[..kept]).expect("written");
        drop(Record::open(directory.path(), NodeId::A, SOME).expect("the record"));
        let text = fs::read_to_string(&path).expect("text");
        let last = Line::read(text.lines().last().expect("a line")).expect("a line");
        assert_eq!((last.seq, last.event), (4, Event::Shortened { head: 3, found: 1 }));
    }

    #[test]
    fn what_cannot_be_read_is_kept_beside_a_new_chain() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join(AUDIT_FILE), "nonsense\n").expect("written");
        let mut record = Record::open(directory.path(), NodeId::A, SOME).expect("a record");
        record.append(&[event(1)]).expect("written");
        assert_eq!(chain(directory.path()).len(), 1);
        let names = fs::read_dir(directory.path()).expect("readable").map(|entry| entry.expect("one").file_name());
        assert!(names.into_iter().any(|name| name.to_string_lossy().starts_with("audit.damaged-")));
    }
}
