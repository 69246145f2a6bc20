//! A real node whose system calls fail, or kill it: strace puts that into its way.

use super::process::{Running, behind, eventually};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The calls of a running process, some of them changed.
pub(crate) struct Trace {
    strace: Running,
    lines: PathBuf,
}

impl Trace {
    /// Attaches to all threads of `pid`; `calls` are seen, and `inject` says what is done to them.
    pub(crate) fn attach(pid: u32, calls: &str, inject: &str, lines: &Path) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-p", &pid.to_string(), "-e", &format!("trace={calls}"), "-e"]);
        command.arg(format!("inject={inject}")).arg("-o").arg(lines);
        let strace = Running::start(command, &lines.with_extension("err"));
        eventually("strace is attached to every thread", || {
            let threads = fs::read_dir(format!("/proc/{pid}/task")).map_err(|error| error.to_string())?;
            for thread in threads.filter_map(Result::ok) {
                let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
                if status.contains("TracerPid:\t0\n") {
                    return Err(status);
                }
            }
            Ok(())
        });
        Self { strace, lines: lines.to_owned() }
    }

    /// Waits for strace to end, which it does after the process, and gives the lines: each the thread and the call.
    pub(crate) fn lines(self) -> Vec<(String, String)> {
        self.strace.wait();
        let text = fs::read_to_string(&self.lines).unwrap_or_default();
        let split = |line: &str| line.split_once(' ').map(|(thread, call)| (thread.to_owned(), call.trim().to_owned()));
        text.lines().filter_map(split).collect()
    }
}

/// `command`, with `inject` done to its calls from its start. strace is a grandchild: the process is the node's own.
pub(crate) fn injected(command: &Command, inject: &str, path: &Path) -> Command {
    let (calls, _) = inject.split_once(':').unwrap_or((inject, ""));
    let mut traced = Command::new("strace");
    traced.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e"]);
    traced.arg(format!("inject={inject}"));
    for segment in ["log.0", "log.1"] {
        traced.arg("-P").arg(path.join(segment));
    }
    behind(traced, command)
}
