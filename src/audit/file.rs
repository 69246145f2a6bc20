//! The file: appended to, rotated when it is large, and begun again where it cannot be continued.

use super::line::{Event, Line, hash};
use crate::model::{Digest, NodeId, Octets, UnixMillis};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The file that is written now, in the node's data directory.
pub const AUDIT_FILE: &str = "audit.jsonl";
/// Names the last line, signed.
const HEAD_FILE: &str = "audit.head";
/// Beyond this the file is put aside as `audit.<its first line's number>.jsonl` and a new one continues the chain.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// How many files put aside are kept; with the present one, half a gibibyte.
const MAX_ASIDE: usize = 7;
/// The longest line there can be: a state with a plan, and its votes.
const MAX_LINE: u64 = 1024 * 1024;
const MODE: u32 = 0o600;

/// What `audit.head` says: the last line, so that one dropped from the end is missed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The last line's number.
    pub seq: u64,
    /// Its hash.
    pub digest: Digest,
    /// The certificate whose key signed this.
    pub serial: String,
    /// The kind of signature, as TLS 1.3 numbers them.
    pub scheme: u16,
    /// The signature.
    pub signature: Octets,
}

impl Head {
    /// The bytes that are signed.
    pub(super) fn signed_bytes(node: NodeId, seq: u64, digest: Digest) -> Vec<u8> {
        format!("canary audit head, version 1\n{node} {seq} {digest}\n").into_bytes()
    }
}

/// The record that is being written.
#[derive(Debug)]
pub(super) struct Record {
    directory: PathBuf,
    node: NodeId,
    file: File,
    bytes: u64,
    max_bytes: u64,
    seq: u64,
    prev: Digest,
    /// The number of the first line of the present file.
    first: u64,
}

impl Record {
    /// Opens the record in `directory`. A last line that was cut short is removed: nothing was said on its strength.
    pub(super) fn open(directory: &Path, node: NodeId) -> io::Result<Self> {
        Self::bounded(directory, node, MAX_BYTES)
    }

    fn bounded(directory: &Path, node: NodeId, max_bytes: u64) -> io::Result<Self> {
        let path = directory.join(AUDIT_FILE);
        let mut file = open(&path)?;
        let (bytes, last) = last_line(&mut file)?;
        let last = match last {
            None if bytes == 0 => newest_aside(directory)?,
            last => last,
        };
        let parsed = last.as_deref().map(serde_json::from_str::<Line>);
        let mut record = Self {
            directory: directory.to_owned(),
            node,
            file,
            bytes,
            max_bytes,
            seq: 0,
            prev: Digest::default(),
            first: 1,
        };
        match (parsed, last) {
            (Some(Ok(line)), Some(text)) => {
                (record.seq, record.prev) = (line.seq, hash(&text));
                record.first = record.first_line()?.unwrap_or(line.seq + 1);
            }
            (None, _) if bytes == 0 => {}
            _ => {
                // What cannot be read is kept for whoever investigates, and the chain begins anew.
                fs::rename(
                    &path,
                    directory.join(format!("audit.damaged-{}.jsonl", jiff::Timestamp::now().as_second())),
                )?;
                record.file = open(&path)?;
                record.bytes = 0;
            }
        }
        let head = fs::read(directory.join(HEAD_FILE)).ok().and_then(|text| serde_json::from_slice::<Head>(&text).ok());
        if let Some(head) = head.filter(|head| head.seq > record.seq) {
            let found = record.seq;
            record.seq = head.seq;
            record.append(&[(unix_millis(), Event::Shortened { head: head.seq, found })])?;
        }
        Ok(record)
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
        if self.bytes > 0 && self.bytes + text.len() as u64 > self.max_bytes {
            self.put_aside()?;
        }
        if let Err(error) = self.file.write_all(text.as_bytes()) {
            // Half a line would break the chain: what was there before is what counts.
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += text.len() as u64;
        (self.seq, self.prev) = (seq, prev);
        Ok(())
    }

    /// The last line's number and hash.
    pub(super) const fn head(&self) -> (u64, Digest) {
        (self.seq, self.prev)
    }

    /// Forces what was written to disk, and then names its end.
    pub(super) fn seal(&self, head: &Head) -> io::Result<()> {
        self.file.sync_data()?;
        let beside = self.directory.join("audit.head.new");
        let text = serde_json::to_string(head).expect("a head is plain text and numbers") + "\n";
        OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(MODE)
            .open(&beside)?
            .write_all(text.as_bytes())?;
        fs::rename(beside, self.directory.join(HEAD_FILE))
    }

    fn put_aside(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        let path = self.directory.join(AUDIT_FILE);
        fs::rename(&path, self.directory.join(format!("audit.{}.jsonl", self.first)))?;
        self.file = open(&path)?;
        (self.bytes, self.first) = (0, self.seq + 1);
        let aside = aside(&self.directory)?;
        for (_, old) in aside.iter().take(aside.len().saturating_sub(MAX_ASIDE)) {
            fs::remove_file(old)?;
        }
        Ok(())
    }

    fn first_line(&self) -> io::Result<Option<u64>> {
        let mut text = Vec::new();
        File::open(self.directory.join(AUDIT_FILE))?.take(MAX_LINE).read_to_end(&mut text)?;
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Ok(serde_json::from_slice::<Line>(line).ok().map(|line| line.seq))
    }
}

/// The files of the record in `directory`, oldest first.
///
/// # Errors
/// When the directory cannot be read.
pub fn files_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let present = Some(directory.join(AUDIT_FILE)).filter(|path| path.exists());
    Ok(aside(directory)?.into_iter().map(|(_, path)| path).chain(present).collect())
}

/// The head that lies beside a record.
pub(super) fn read_head(file: &Path) -> Option<Head> {
    let is_present = file.file_name().is_some_and(|name| name == AUDIT_FILE);
    let text = fs::read(file.with_file_name(HEAD_FILE)).ok().filter(|_| is_present)?;
    serde_json::from_slice(&text).ok()
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

/// Files put aside, by the number of their first line.
fn aside(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix("audit.").and_then(|rest| rest.strip_suffix(".jsonl"));
        found.extend(number.and_then(|number| number.parse().ok()).map(|number| (number, path.clone())));
    }
    found.sort();
    Ok(found)
}

fn newest_aside(directory: &Path) -> io::Result<Option<String>> {
    let Some((_, path)) = aside(directory)?.pop() else { return Ok(None) };
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
            file.set_len(0)?;
            return Ok((0, None));
        }
        return Ok((length, None));
    };
    let kept = from + end as u64 + 1;
    if kept < length {
        file.set_len(kept)?;
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

    fn event(number: u64) -> (UnixMillis, Event) {
        (UnixMillis(number), Event::Lost { lines: number })
    }

    /// Every line of the record, each checked against the one before; the first may follow one that is gone.
    fn chain(directory: &Path) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut before: Option<(u64, Digest)> = None;
        for path in files_in(directory).expect("readable") {
            for text in fs::read_to_string(path).expect("text").lines() {
                let line: Line = serde_json::from_str(text).expect("a line");
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
        let mut record = Record::open(directory.path(), NodeId::A).expect("a new record");
        record.append(&[event(1), event(2)]).expect("written");
        drop(record);
        let path = directory.path().join(AUDIT_FILE);
        open(&path).expect("there").write_all(b"{\"seq\":3,\"pre").expect("written");
        let mut record = Record::open(directory.path(), NodeId::A).expect("the record");
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
            let mut record = Record::bounded(directory.path(), NodeId::A, 2_000).expect("the record");
            for number in 0..5 {
                record.append(&[event(round * 5 + number)]).expect("written");
            }
        }
        let lines = chain(directory.path());
        assert_eq!(lines.last().map(|line| line.seq), Some(200));
        assert!(lines[0].seq > 1);
        assert_eq!(files_in(directory.path()).expect("readable").len(), MAX_ASIDE + 1);
    }

    #[test]
    fn an_end_that_was_dropped_is_missed_at_the_next_start() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut record = Record::open(directory.path(), NodeId::A).expect("a new record");
        record.append(&[event(1), event(2), event(3)]).expect("written");
        let (seq, digest) = record.head();
        let head = Head { seq, digest, serial: "0a".into(), scheme: 0x0403, signature: Octets(Vec::new()) };
        record.seal(&head).expect("sealed");
        drop(record);
        let path = directory.path().join(AUDIT_FILE);
        let text = fs::read_to_string(&path).expect("text");
        let kept = text.lines().next().expect("a line").len() + 1;
        fs::write(&path, &text[..kept]).expect("written");
        drop(Record::open(directory.path(), NodeId::A).expect("the record"));
        let last: Line = serde_json::from_str(fs::read_to_string(&path).expect("text").lines().last().expect("a line"))
            .expect("a line");
        assert_eq!((last.seq, last.event), (4, Event::Shortened { head: 3, found: 1 }));
    }

    #[test]
    fn what_cannot_be_read_is_kept_beside_a_new_chain() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join(AUDIT_FILE), "nonsense\n").expect("written");
        let mut record = Record::open(directory.path(), NodeId::A).expect("a record");
        record.append(&[event(1)]).expect("written");
        assert_eq!(chain(directory.path()).len(), 1);
        let names = fs::read_dir(directory.path()).expect("readable").map(|entry| entry.expect("one").file_name());
        assert!(names.into_iter().any(|name| name.to_string_lossy().starts_with("audit.damaged-")));
    }
}
