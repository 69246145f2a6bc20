//! The few operations that the store needs of a file system, so that tests can count them, fail them and cut them short.

use super::error::StoreError;
use super::frame::SEGMENT;
use super::inspect::Holder;
use crash::{Step, around};
use rustix::fs::{FlockOperation, flock, fstatvfs};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

const LOCK: &str = "lock";
const IDENTITY: &str = "identity.json";
const IDENTITY_TEMPORARY: &str = "identity.json.new";
/// The longest lock file that is read, in bytes: it holds one number.
const MAX_LOCK: u64 = 32;
/// Whoever looks whether a directory is in use holds it for a moment: that is waited for.
const ATTEMPTS: u32 = 10;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(10);
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// One of the two files that the segments alternate between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first.
    Even,
    /// The second.
    Odd,
}

impl Side {
    /// The two.
    pub const BOTH: [Self; 2] = [Self::Even, Self::Odd];

    /// The one that is not written while this one is.
    pub const fn other(self) -> Self {
        match self {
            Self::Even => Self::Odd,
            Self::Odd => Self::Even,
        }
    }

    /// Its name in the directory.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Even => "log.0",
            Self::Odd => "log.1",
        }
    }
}

/// A directory with two segments and an identity.
pub trait Disk: Send {
    /// How long a segment is, in bytes: [`SEGMENT`] on every real disk.
    fn segment_size(&self) -> usize {
        SEGMENT
    }
    /// Up to [`SEGMENT`] bytes of a segment; none when there is no such file.
    fn read(&mut self, side: Side) -> io::Result<Option<Vec<u8>>>;
    /// Makes the segment [`SEGMENT`] zero bytes, its name and all of it on disk.
    fn create(&mut self, side: Side) -> io::Result<()>;
    /// Writes into a segment; not yet on disk.
    fn write(&mut self, side: Side, offset: usize, bytes: &[u8]) -> io::Result<()>;
    /// Writes zeros into the first bytes of a segment; not yet on disk.
    fn wipe(&mut self, side: Side, length: usize) -> io::Result<()> {
        self.write(side, 0, &vec![0; length])
    }
    /// Forces all that was written into the segment to disk.
    fn force(&mut self, side: Side) -> io::Result<()>;
    /// The identity; none when there is no such file.
    fn identity(&mut self) -> io::Result<Option<Vec<u8>>>;
    /// Puts the identity on disk, all of it or nothing.
    fn write_identity(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// The directory of a running node.
pub(crate) struct Directory {
    path: PathBuf,
    handle: File,
    segments: [Option<File>; 2],
}

impl Directory {
    /// Opens the directory, making it if it is missing.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |doing| StoreError::io(doing, path);
        let missing: Vec<&Path> = path.ancestors().take_while(|part| is_missing(part)).collect();
        let mut make = DirBuilder::new();
        make.recursive(true).mode(DIRECTORY_MODE);
        around(Step::DirectoryMake, || make.create(path)).map_err(failed("make"))?;
        // The name of a new directory is on disk only when the directory above it is.
        for parent in missing.into_iter().filter_map(Path::parent) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            let parent = File::open(parent).map_err(failed("open the place of"))?;
            around(Step::DirectoryForce, || parent.sync_all()).map_err(failed("force the name of"))?;
        }
        let handle = File::open(path).map_err(failed("open"))?;
        Ok(Self { path: path.to_owned(), handle, segments: [None, None] })
    }

    fn segment(&mut self, side: Side) -> io::Result<&File> {
        let slot = &mut self.segments[side as usize];
        if slot.is_none() {
            *slot = Some(OpenOptions::new().read(true).write(true).open(self.path.join(side.file_name()))?);
        }
        Ok(slot.as_ref().expect("it was opened just now"))
    }
}

impl Disk for Directory {
    fn read(&mut self, side: Side) -> io::Result<Option<Vec<u8>>> {
        if_there(self.segment(side))?.map(|file| read_up_to(file, SEGMENT as u64)).transpose()
    }

    fn create(&mut self, side: Side) -> io::Result<()> {
        let file = private().truncate(false).open(self.path.join(side.file_name()))?;
        // Written, not only allocated: forcing a record then changes no metadata, and a full disk cannot stop it.
        around(Step::SegmentMake, || {
            file.write_all_at(&vec![0; SEGMENT], 0)?;
            file.set_len(SEGMENT as u64)
        })?;
        around(Step::SegmentForce, || file.sync_all())?;
        around(Step::DirectoryForce, || self.handle.sync_all())?;
        self.segments[side as usize] = Some(file);
        Ok(())
    }

    fn write(&mut self, side: Side, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let file = self.segment(side)?;
        around(Step::RecordWrite, || file.write_all_at(bytes, offset as u64))
    }

    fn force(&mut self, side: Side) -> io::Result<()> {
        let file = self.segment(side)?;
        around(Step::RecordForce, || file.sync_data())
    }

    fn identity(&mut self) -> io::Result<Option<Vec<u8>>> {
        read_only(&self.path.join(IDENTITY))
    }

    fn write_identity(&mut self, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.path.join(IDENTITY_TEMPORARY);
        let mut file = private().truncate(true).open(&temporary)?;
        around(Step::IdentityWrite, || file.write_all(bytes))?;
        around(Step::IdentityForce, || file.sync_all())?;
        around(Step::IdentityRename, || std::fs::rename(&temporary, self.path.join(IDENTITY)))?;
        around(Step::DirectoryForce, || self.handle.sync_all())
    }
}

/// The file that the identity is in.
pub(crate) fn identity_path(dir: &Path) -> PathBuf {
    dir.join(IDENTITY)
}

/// All of a file that no more than a segment is read of; none when there is no such file.
pub(crate) fn read_only(path: &Path) -> io::Result<Option<Vec<u8>>> {
    if_there(File::open(path))?.map(|file| read_up_to(&file, SEGMENT as u64)).transpose()
}

/// Who has the directory. It is held for this look only, and not against others who look.
pub(crate) fn who_holds(dir: &Path) -> Result<Holder, StoreError> {
    let path = dir.join(LOCK);
    let failed = |doing| StoreError::io(doing, &path);
    let Some(file) = if_there(File::open(&path)).map_err(failed("open"))? else { return Ok(Holder::Nobody) };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Holder::Nobody),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(Holder::Process(pid_in(&file))),
        Err(error) => Err(failed("look at the lock")(error.into())),
    }
}

/// Holds the directory for this process until it ends or drops this.
pub(crate) struct Lock(File);

impl Lock {
    /// Takes the directory, or says who has it.
    pub(crate) fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(LOCK);
        let failed = |doing| StoreError::io(doing, &path);
        let file = private().truncate(false).open(&path).map_err(failed("open"))?;
        for attempt in 1.. {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if attempt < ATTEMPTS => std::thread::sleep(BETWEEN_ATTEMPTS),
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(StoreError::InUse { dir: dir.to_owned(), pid: pid_in(&file) });
                }
                Err(error) => return Err(failed("lock")(error.into())),
            }
        }
        // Always as long as before, so that a full disk does not keep a node from starting again.
        let pid = format!("{:>10}\n", std::process::id());
        around(Step::LockWrite, || file.write_all_at(pid.as_bytes(), 0)).map_err(failed("write"))?;
        Ok(Self(file))
    }

    /// How many bytes this process may still take on the file system.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        let figures = fstatvfs(&self.0)?;
        Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
    }
}

fn pid_in(lock: &File) -> Option<u32> {
    let text = read_up_to(lock, MAX_LOCK).unwrap_or_default();
    std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok())
}

fn is_missing(path: &Path) -> bool {
    !path.as_os_str().is_empty() && !path.exists()
}

/// For reading and writing, made if missing, for nobody else to read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(FILE_MODE);
    options
}

/// What was opened; none where there is no such file.
fn if_there<T>(opened: io::Result<T>) -> io::Result<Option<T>> {
    match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

fn read_up_to(mut file: &File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
