//! The log: two segments in turn, each a snapshot and the records after it.
//!
//! A segment is wiped and forced before it is begun, and begun by one record, the snapshot. Until that record is whole
//! on disk the other segment is the one to believe; from then on this one is. No step needs a file to be made, renamed
//! or grown, so a full disk stops none of them.

use super::StoreIdentity;
use super::disk::{Disk, Side};
use super::error::StoreError;
use super::frame::{Header, MAX_BODY, MAX_SNAPSHOT, SECTOR, encode, is_blank, space_for};
use super::identity;
use super::rules::{All, Rules, StartStep};
use super::segment::{Current, Damage, format_of, recover};
use format::disk::{self, Identity, Snapshot};
use format::{Inexpressible, Version};
use model::{Incarnation, NodeId};
use service::{Durable, Record};
use std::io;
use std::path::{Path, PathBuf};

/// An open log, written by the rules `R`.
pub struct Log<R = All> {
    disk: Box<dyn Disk>,
    dir: PathBuf,
    identity: StoreIdentity,
    durable: Durable,
    /// The version of the directory: the oldest that has words for all that it ever had to keep.
    version: Version,
    current: Side,
    generation: u64,
    /// Where the next record goes in the current segment.
    end: usize,
    /// Everything before this is on disk.
    forced: usize,
    /// A write failed: what is on disk is unknown until a start reads it.
    broken: bool,
    rules: R,
}

impl Log {
    /// Opens the log of a directory, or begins one with the incarnation `fresh`. Fails when what the disk holds is of
    /// another member, another cluster or a newer version, or is corrupt, or the disk fails.
    pub fn open(
        disk: Box<dyn Disk>,
        dir: &Path,
        identity: StoreIdentity,
        fresh: Incarnation,
    ) -> Result<Self, StoreError> {
        Self::open_with(All, disk, dir, identity, fresh)
    }
}

impl<R: Rules> Log<R> {
    /// The same by other rules. Fails as for [`open`](Log::open).
    pub fn open_with(
        rules: R,
        disk: Box<dyn Disk>,
        dir: &Path,
        identity: StoreIdentity,
        fresh: Incarnation,
    ) -> Result<Self, StoreError> {
        let mut log = Self {
            disk,
            dir: dir.to_owned(),
            identity,
            durable: Durable::blank(fresh),
            version: Version::V5,
            current: Side::Odd,
            generation: 0,
            end: 0,
            forced: 0,
            broken: false,
            rules,
        };
        log.start()?;
        Ok(log)
    }

    /// A log that goes on where this one stands, by rules of its own, on another disk that holds the same.
    pub fn fork<Q: Rules>(&self, rules: Q, disk: Box<dyn Disk>) -> Log<Q> {
        let Self { version, current, generation, end, forced, broken, .. } = *self;
        let (dir, identity, durable) = (self.dir.clone(), self.identity.clone(), self.durable.clone());
        Log { disk, dir, identity, durable, version, current, generation, end, forced, broken, rules }
    }

    /// Reads what the disk holds and makes it the memory.
    fn start(&mut self) -> Result<(), StoreError> {
        let bytes = self.disk.identity().map_err(StoreError::io("read", &self.identity_path()))?;
        let identified = bytes.map(|bytes| self.check_identity(&bytes)).transpose()?;
        let segments = [self.read(Side::Even)?, self.read(Side::Odd)?];
        let contents = [segments[0].as_deref(), segments[1].as_deref()].map(Option::unwrap_or_default);
        for side in Side::BOTH {
            format_of(contents[side as usize])
                .map(|found| identity::check_format(&self.path(side), found))
                .transpose()?;
        }
        let found = recover(contents).map_err(|damage| self.corrupt(damage))?;
        match identified {
            Some(identified) => self.resume(found, &identified, &segments),
            None => self.begin(found),
        }
    }

    /// The directory it is in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All that the member remembers.
    pub const fn durable(&self) -> &Durable {
        &self.durable
    }

    /// Adds records; when one of them is not lazy, all that was ever added is on disk when this returns.
    pub fn append(&mut self, records: &[Record]) -> Result<(), StoreError> {
        self.check_sound()?;
        if records.is_empty() {
            return Ok(());
        }
        let version = self.version.max(disk::version_for(records));
        let bodies = records.iter().map(|record| encode_body(record, version)).collect::<Result<Vec<_>, _>>()?;
        self.broken = true;
        let space: usize = bodies.iter().map(|body| space_for(body.len())).sum();
        if version > self.version {
            // All records of a segment have one version, by which an earlier program knows that it is none of its own. The
            // identity stays as it is: to write it anew would take room, which a full disk has not.
            self.version = version;
            self.rotate(records)?;
        } else if self.end + space > self.disk.segment_size() {
            self.rotate(records)?;
        } else {
            self.write_records(&bodies)?;
            if self.rules.must_force(records) {
                self.force_current()?;
            }
        }
        records.iter().for_each(|record| self.durable.apply(record));
        self.broken = false;
        Ok(())
    }

    /// Brings all that was added to disk.
    pub fn force(&mut self) -> Result<(), StoreError> {
        self.check_sound()?;
        if self.forced < self.end {
            self.broken = true;
            self.force_current()?;
            self.broken = false;
        }
        Ok(())
    }

    fn check_sound(&self) -> Result<(), StoreError> {
        if self.broken { Err(StoreError::Failed { dir: self.dir.clone() }) } else { Ok(()) }
    }

    /// The first start in a directory, or one after a first start that was cut short.
    fn begin(&mut self, found: Option<Current>) -> Result<(), StoreError> {
        let used = |found: &Current| found.generation > 1 || found.records > 0;
        if found.as_ref().is_some_and(used) {
            let what = format!("it is missing, though {} has records", Side::Even.file_name());
            return Err(StoreError::Corrupt { file: self.identity_path(), offset: 0, what });
        }
        for side in Side::BOTH {
            self.disk.create(side).map_err(self.failed("make", side))?;
        }
        self.write_snapshot(Side::Even, &self.durable.clone())?;
        self.write_identity()
    }

    fn write_identity(&mut self) -> Result<(), StoreError> {
        let StoreIdentity { node, cluster } = &self.identity;
        let text = disk::encode_identity(*node, cluster, self.durable.incarnation, Version::V5);
        self.disk.write_identity(&text).map_err(StoreError::io("write", &self.identity_path()))
    }

    /// Any later start: a new epoch, in a new segment.
    fn resume(
        &mut self,
        found: Option<Current>,
        identified: &Identity,
        segments: &[Option<Vec<u8>>; 2],
    ) -> Result<(), StoreError> {
        let damage = |what: &str| Damage { side: Side::Even, offset: 0, what: what.into() };
        let Some(found) = found else { return Err(self.corrupt(damage("neither segment has a snapshot"))) };
        let Current { side, generation, version, snapshot, cut_at, .. } = found;
        self.check_snapshot(side, &snapshot, identified.incarnation)?;
        if let Some(offset) = cut_at {
            let offset = self.rules.cut(offset).map_err(|what| self.corrupt(Damage { side, offset, what }))?;
            let file = self.path(side).display().to_string();
            tracing::warn!(file, offset, "dropped the end of the log: a write was cut short before it was answered");
        }
        self.durable = snapshot.durable;
        self.version = identity::check_format(&self.identity_path(), identified.format)?.max(version);
        if identified.format < Version::V5.disk() {
            // Before anything is written that a program from before version 5 could not read.
            self.write_identity()?;
        }
        self.durable.epoch = self.rules.next_epoch(self.durable.epoch);
        self.current = side;
        self.generation = generation;
        let [found, spare] = [side, side.other()].map(|side| segments[side as usize].as_deref().unwrap_or_default());
        for step in self.rules.start() {
            match step {
                StartStep::WriteFound => {
                    self.disk.write(side, 0, &found[..used(found)]).map_err(self.failed("write", side))?
                }
                StartStep::ForceFound => {
                    self.disk.force(side).map_err(self.failed("force", side))?;
                }
                StartStep::WipeSpare => self.blank(side.other(), spare)?,
                StartStep::BeginSpare => self.begin_segment(&self.durable.clone())?,
                StartStep::WipeFound => self.blank(side, found)?,
            }
        }
        Ok(())
    }

    /// Goes on in the other segment, which was wiped when it was left.
    fn rotate(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let (left, used) = (self.current, self.end);
        self.begin_segment(&self.rules.rotated(&self.durable, records))?;
        self.rules.leave(&mut *self.disk, left, used).map_err(self.failed("wipe", left))
    }

    /// Begins the other segment, whose content must be zeros.
    fn begin_segment(&mut self, durable: &Durable) -> Result<(), StoreError> {
        let side = self.current.other();
        self.rules.prepare(&mut *self.disk, side).map_err(self.failed("force", side))?;
        self.write_snapshot(side, durable)
    }

    fn write_snapshot(&mut self, side: Side, durable: &Durable) -> Result<(), StoreError> {
        let StoreIdentity { node, cluster } = &self.identity;
        let body = in_words(disk::encode_snapshot(*node, cluster, durable, self.version));
        if body.len() > MAX_SNAPSHOT {
            return Err(StoreError::TooLarge(body.len()));
        }
        self.current = side;
        self.generation += 1;
        self.end = 0;
        self.forced = 0;
        self.write_records(&[body])?;
        self.force_current()
    }

    fn write_records(&mut self, bodies: &[Vec<u8>]) -> Result<(), StoreError> {
        let mut bytes = Vec::with_capacity(bodies.iter().map(|body| space_for(body.len())).sum());
        for body in bodies {
            let position = self.end + bytes.len();
            encode(&mut bytes, Header { generation: self.generation, position, forced: self.forced }, body);
        }
        let side = self.current;
        self.disk.write(side, self.end, &bytes).map_err(self.failed("write", side))?;
        self.end += bytes.len();
        Ok(())
    }

    fn force_current(&mut self) -> Result<(), StoreError> {
        let side = self.current;
        self.disk.force(side).map_err(self.failed("force", side))?;
        self.forced = self.end;
        Ok(())
    }

    /// Makes a segment, of which a start has read `content`, as good as new.
    fn blank(&mut self, side: Side, content: &[u8]) -> Result<(), StoreError> {
        let size = self.disk.segment_size();
        if content.len() < size {
            return self.disk.create(side).map_err(self.failed("make", side));
        }
        let wiped = self.rules.wiped(size, content);
        self.disk.wipe(side, wiped).map_err(self.failed("wipe", side))
    }

    fn read(&mut self, side: Side) -> Result<Option<Vec<u8>>, StoreError> {
        self.disk.read(side).map_err(self.failed("read", side))
    }

    fn check_identity(&self, bytes: &[u8]) -> Result<Identity, StoreError> {
        let found = identity::parse(&self.identity_path(), bytes)?;
        self.check_owner(found.node, &found.cluster)?;
        Ok(found)
    }

    fn check_snapshot(&self, side: Side, snapshot: &Snapshot, incarnation: Incarnation) -> Result<(), StoreError> {
        self.check_owner(snapshot.node, &snapshot.cluster)?;
        if snapshot.durable.incarnation == incarnation {
            return Ok(());
        }
        let found = snapshot.durable.incarnation;
        let what = format!("it is of incarnation {found}, {} of {incarnation}", self.identity_path().display());
        Err(self.corrupt(Damage { side, offset: 0, what }))
    }

    fn check_owner(&self, found: NodeId, cluster: &str) -> Result<(), StoreError> {
        let (dir, wanted) = (self.dir.clone(), &self.identity);
        if cluster != wanted.cluster {
            let (found, wanted) = (cluster.to_owned(), wanted.cluster.clone());
            return Err(StoreError::OtherCluster { dir, found, wanted });
        }
        if found != wanted.node {
            return Err(StoreError::OtherNode { dir, found, wanted: wanted.node });
        }
        Ok(())
    }

    fn path(&self, side: Side) -> PathBuf {
        self.dir.join(side.file_name())
    }

    fn identity_path(&self) -> PathBuf {
        super::disk::identity_path(&self.dir)
    }

    /// What the operating system refused to do with a segment, whose path is only made when it did.
    fn failed(&self, doing: &'static str, side: Side) -> impl FnOnce(io::Error) -> StoreError {
        move |source| StoreError::Io { doing, path: self.path(side), source }
    }

    fn corrupt(&self, damage: Damage) -> StoreError {
        let Damage { side, offset, what } = damage;
        StoreError::Corrupt { file: self.path(side), offset: offset as u64, what }
    }
}

/// How much of a segment is in use, as far as can be read.
fn used(content: &[u8]) -> usize {
    let blank = content.rchunks(SECTOR).take_while(|part| is_blank(part)).map(<[u8]>::len).sum::<usize>();
    content[..content.len() - blank].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn encode_body(record: &Record, version: Version) -> Result<Vec<u8>, StoreError> {
    let body = in_words(disk::encode_record(record, version));
    if body.len() > MAX_BODY { Err(StoreError::TooLarge(body.len())) } else { Ok(body) }
}

fn in_words(written: Result<Vec<u8>, Inexpressible>) -> Vec<u8> {
    written.expect("the version of a log has words for all that was ever added to it")
}
