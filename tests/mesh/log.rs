//! What was logged in this process, by all tests.

use serde_json::Value;
use std::io::{self, Write};
use std::sync::{Mutex, Once};

static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static INSTALL: Once = Once::new();

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        WRITTEN.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to keep what is logged. One subscriber for all: subscribers of single threads miss what another thread
/// happened to log first.
pub(crate) fn keep() {
    INSTALL.call_once(|| tracing_subscriber::fmt().json().with_writer(|| Log).init());
}

/// The lines that `wanted` picks.
pub(crate) fn lines(wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let text = String::from_utf8(WRITTEN.lock().expect("no panic").clone()).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).filter(wanted).collect()
}
