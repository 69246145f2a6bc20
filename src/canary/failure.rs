//! The ends of commands: exit codes, and errors with a hint what to do.

use std::fmt;
use std::process::ExitCode;

/// The exit codes that scripts may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    /// Failed, for a reason that no other code names.
    Failed = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// Unreachable, no majority, or not synchronized.
    Unreachable = 3,
    /// Refused or aborted.
    Refused = 4,
    /// Unhealthy, or rolled back.
    RolledBack = 5,
    /// A certificate has expired or is about to.
    CertificateExpiry = 6,
    CorruptData = 65,
    /// The disk failed.
    StorageError = 74,
    /// A private key is readable by others.
    UnsafeKey = 77,
    Configuration = 78,
    TimedOut = 124,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed, and what to type instead.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), hint: None }
    }

    pub(crate) fn message(exit: Exit, message: impl fmt::Display + fmt::Debug + Send + Sync + 'static) -> Self {
        Self::new(exit, anyhow::Error::msg(message))
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[cfg(test)]
    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// Prints the error, its causes and the hint to stderr.
    pub(crate) fn report(self) -> ExitCode {
        let mut said = self.error.to_string();
        anstream::eprintln!("error: {said}");
        for cause in self.error.chain().skip(1).map(ToString::to_string) {
            // Some errors say their cause themselves.
            if !said.contains(&cause) {
                anstream::eprintln!("caused by: {cause}");
            }
            said = cause;
        }
        if let Some(hint) = &self.hint {
            anstream::eprintln!("hint: {hint}");
        }
        self.exit.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}
