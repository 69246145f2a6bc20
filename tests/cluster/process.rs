//! Child processes that are stopped whatever happens, and waiting for things to come true.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Whatever is waited for takes a few seconds on an idle machine, takeover and leases included; tests share theirs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks until there is something to see.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let give_up = Instant::now() + DEADLINE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if Instant::now() > give_up => panic!("not within {DEADLINE:?}: {what}; last seen: {seen}"),
            Err(_) => thread::sleep(LOOK_EVERY),
        }
    }
}

/// `command` as what `wrapper` ends in, with the arguments, the surroundings and the place that it would have by itself.
pub(crate) fn behind(mut wrapper: Command, command: &Command) -> Command {
    wrapper.arg(command.get_program()).args(command.get_args());
    wrapper.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(directory) = command.get_current_dir() {
        wrapper.current_dir(directory);
    }
    wrapper
}

/// A program that runs in the background, with what it says to stderr in a file.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `command`; what it writes to stdout and stderr is added to the file `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let file: File = OpenOptions::new().create(true).append(true).open(log).expect("a file for the log");
        let copy = file.try_clone().expect("a second handle");
        let child = command.stdin(Stdio::null()).stdout(copy).stderr(file).spawn().expect("the program starts");
        Self { child, log: log.to_owned() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it has not been waited for yet");
    }

    /// SIGKILL: no destructor runs, nothing is flushed.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Waits for it to end by itself.
    #[track_caller]
    pub(crate) fn wait(mut self) -> ExitStatus {
        let log = self.log.clone();
        eventually("the process ends", || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(format!("it runs; its log:\n{}", std::fs::read_to_string(&log).unwrap_or_default())),
            Err(error) => Err(error.to_string()),
        })
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
