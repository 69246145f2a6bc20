//! Bounded reads of files, and the PEM items in them.

use rustix::fs::{Mode, OFlags};
use rustls_pki_types::pem::PemObject;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The error of a file that cannot be read, or does not hold what it should.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum FileError {
    #[error("cannot {action} {path}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{path} is missing: {advice}")]
    Missing { path: PathBuf, advice: String },
    #[error("{path} is longer than {limit} bytes: it is not a file of this kind")]
    TooLarge { path: PathBuf, limit: usize },
    #[error("{path} cannot be read as {what}: {detail}")]
    Format { path: PathBuf, what: &'static str, detail: String },
}

/// The most bytes of a PEM or JSON file that are read. A certificate has 1 KB and a revocation list 40 bytes for each
/// entry, so this holds 25 000 revocations; what is longer is some other file.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// A wrapper for errors of the system, which says what was tried and where.
pub fn failed<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { action, path, source: source.into() }
}

/// Reads a file that may be readable by everyone; nothing when it is not there. Fails when it is no regular file, too
/// long, or the system refuses.
pub fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
    read_up_to(path, MAX_FILE_BYTES)
}

/// [`read`] for a file that may have this many bytes.
pub fn read_up_to(path: &Path, limit: usize) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
    // NONBLOCK so that a named pipe is an error and not a hang.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(opened) => opened,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(failed("open", path)(error)),
    };
    read_opened(File::from(opened), path, limit).map(Some)
}

/// Reads an open file into a buffer that is wiped when dropped. Fails when it is no regular file, too long, or the
/// system refuses.
pub fn read_opened(file: File, path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let facts = file.metadata().map_err(failed("read", path))?;
    if !facts.is_file() {
        return Err(failed("read", path)(io::Error::other("it is not a regular file")));
    }
    let length = usize::try_from(facts.len()).unwrap_or(usize::MAX);
    let too_large = || FileError::TooLarge { path: path.to_owned(), limit };
    if length > limit {
        return Err(too_large());
    }
    // With room for one more byte the buffer is never moved, so no copy of a key is left behind.
    let mut contents = Zeroizing::new(Vec::with_capacity(length + 1));
    let most = u64::try_from(length + 1).unwrap_or(u64::MAX);
    file.take(most).read_to_end(&mut contents).map_err(failed("read", path))?;
    if contents.len() > length {
        Err(failed("read", path)(io::Error::other("it grew while it was read")))
    } else {
        Ok(contents)
    }
}

/// Reads all items of a file from the first of these directories that has it, and gives its path with them. Fails when
/// none has it, or the file does not hold such items; `advice` says what to do if none has it.
pub fn read_first<T: PemObject>(
    directories: &[&Path],
    name: &str,
    what: &'static str,
    advice: &str,
) -> Result<(PathBuf, Vec<T>), FileError> {
    for directory in directories {
        let path = directory.join(name);
        let Some(pem) = read(&path)? else { continue };
        let items = parse(&path, what, &pem)?;
        return Ok((path, items));
    }
    let path = directories.first().map_or_else(|| PathBuf::from(name), |directory| directory.join(name));
    Err(FileError::Missing { path, advice: advice.to_owned() })
}

/// Parses all items of a PEM text; the path is where it comes from. Fails when there is none, or one cannot be read.
pub fn parse<T: PemObject>(path: &Path, what: &'static str, pem: &[u8]) -> Result<Vec<T>, FileError> {
    match T::pem_slice_iter(pem).collect::<Result<Vec<T>, _>>() {
        Ok(items) if items.is_empty() => Err(malformed(path, what, "there is no such PEM block in it")),
        Ok(items) => Ok(items),
        Err(error) => Err(malformed(path, what, &error.to_string())),
    }
}

/// The error of a file that does not hold `what` its name says, with what is wrong as `detail`.
pub fn malformed(path: &Path, what: &'static str, detail: &str) -> FileError {
    FileError::Format { path: path.to_owned(), what, detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_short_regular_files_are_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        assert!(matches!(read(&file), Ok(None)));
        fs::write(&file, vec![b'x'; MAX_FILE_BYTES]).expect("written");
        assert!(matches!(read(&file), Ok(Some(contents)) if contents.len() == MAX_FILE_BYTES));
        fs::write(&file, vec![b'x'; MAX_FILE_BYTES + 1]).expect("written");
        assert!(matches!(read(&file), Err(FileError::TooLarge { .. })));
        assert!(matches!(read(dir.path()), Err(FileError::Io { .. })));
    }
}
