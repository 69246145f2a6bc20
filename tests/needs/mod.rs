//! Programs, packages, rights and limits that tests need beside this repository.
//!
//! Where one is missing the test fails and says what to install: a test that looks at nothing must not pass. Whoever cannot
//! install it, or has not the right, names it in `CANARY_TESTS_WITHOUT=strace,nft`; a test that needs it then says
//! `skipped: …` and passes. `tests/README.md` lists the names.

#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

use rustix::process::{Resource, getrlimit};
use std::env;
use std::net::TcpListener;
use std::process::{Command, Stdio};

/// Names, with commas between, what a run does without.
const WITHOUT: &str = "CANARY_TESTS_WITHOUT";
/// Names that `tools/check.sh` reads, and no test.
const OF_SCRIPTS: [&str; 3] = ["cargo-deny", "python3", "shellcheck"];

/// One thing that not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// GnuTLS' verifier.
    Certtool,
    /// A process may leave its memory behind when it crashes.
    CoreDumps,
    /// The client with which tests speak HTTPS to nodes.
    Curl,
    /// Wrong clocks for one process.
    Faketime,
    /// The loopback address of IPv6.
    Ipv6,
    /// The right to mount a file system.
    Mount,
    /// The right to make a network of one's own.
    Namespaces,
    /// The kernel's packet filter, and the right to ask it.
    Nft,
    /// NSS' verifiers.
    Nss,
    /// A hard limit of at least 5000 open files.
    OpenFiles,
    /// OpenSSL's program.
    OpenSsl,
    /// Packages that tests install with pip into a place of their own.
    PythonPackages,
    /// Failing system calls, and the right to trace a process.
    Strace,
}

impl Need {
    /// Every need.
    pub(crate) const ALL: [Self; 13] = [
        Self::Certtool,
        Self::CoreDumps,
        Self::Curl,
        Self::Faketime,
        Self::Ipv6,
        Self::Mount,
        Self::Namespaces,
        Self::Nft,
        Self::Nss,
        Self::OpenFiles,
        Self::OpenSsl,
        Self::PythonPackages,
        Self::Strace,
    ];

    /// Its name in the setting.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Certtool => "certtool",
            Self::CoreDumps => "core-dumps",
            Self::Curl => "curl",
            Self::Faketime => "faketime",
            Self::Ipv6 => "ipv6",
            Self::Mount => "mount",
            Self::Namespaces => "namespaces",
            Self::Nft => "nft",
            Self::Nss => "nss",
            Self::OpenFiles => "open-files",
            Self::OpenSsl => "openssl",
            Self::PythonPackages => "python-packages",
            Self::Strace => "strace",
        }
    }

    /// The Debian package that brings it; none where it is a limit of the machine.
    pub(crate) const fn package(self) -> Option<&'static str> {
        match self {
            Self::Certtool => Some("gnutls-bin"),
            Self::Curl => Some("curl"),
            Self::Faketime => Some("faketime"),
            Self::Mount => Some("mount"),
            Self::Namespaces => Some("iproute2"),
            Self::Nft => Some("nftables"),
            Self::Nss => Some("libnss3-tools"),
            Self::OpenSsl => Some("openssl"),
            Self::PythonPackages => Some("python3-venv"),
            Self::Strace => Some("strace"),
            Self::CoreDumps | Self::Ipv6 | Self::OpenFiles => None,
        }
    }

    /// What to do about it besides.
    const fn remedy(self) -> &'static str {
        match self {
            Self::CoreDumps => "raise the hard limit with ulimit -Hc unlimited",
            Self::Ipv6 => "bring ::1 up with sysctl net.ipv6.conf.lo.disable_ipv6=0",
            Self::Mount | Self::Namespaces | Self::Nft => "run the tests as root",
            Self::OpenFiles => "raise the hard limit with ulimit -Hn 5000",
            Self::PythonPackages => "let pip reach a package index",
            Self::Strace => "let this process trace others (CAP_SYS_PTRACE)",
            Self::Certtool | Self::Curl | Self::Faketime | Self::Nss | Self::OpenSsl => "see that it is in PATH",
        }
    }

    /// Whether the test can go on; false where this run does without it. Fails the test where it is missing.
    #[track_caller]
    pub(crate) fn is_met(self) -> bool {
        if !self.is_wanted() {
            return false;
        }
        if let Err(why) = self.tried() {
            self.missing(&why);
        }
        true
    }

    /// Whether this run does not do without it. Says so otherwise.
    #[track_caller]
    pub(crate) fn is_wanted(self) -> bool {
        let names = env::var(WITHOUT).unwrap_or_default();
        let without = named(&names).unwrap_or_else(|wrong| panic!("{wrong}"));
        let is_wanted = !without.contains(&self.name());
        if !is_wanted {
            // One write, which the lines of tests beside it do not fall into.
            let line = format!("skipped: this run does without {} ({WITHOUT})\n", self.name());
            eprint!("{line}");
        }
        is_wanted
    }

    /// Fails the test, with what to do about it.
    #[track_caller]
    pub(crate) fn missing(self, why: &str) -> ! {
        panic!("{}", self.complaint(why));
    }

    fn complaint(self, why: &str) -> String {
        let (name, remedy) = (self.name(), self.remedy());
        let package =
            self.package().map(|package| format!("install Debian's package {package}, or ")).unwrap_or_default();
        format!("{name} is missing ({why}): {package}{remedy}; {WITHOUT}={name} runs the tests without it")
    }

    /// The error of whatever shows that it is there.
    fn tried(self) -> Result<(), String> {
        match self {
            Self::Certtool => starts("certtool", &["--version"]),
            Self::CoreDumps => match getrlimit(Resource::Core).maximum {
                Some(0) => Err("the hard limit of core dumps is 0".into()),
                Some(_) | None => Ok(()),
            },
            Self::Curl => starts("curl", &["--version"]),
            Self::Faketime => starts("faketime", &["--version"]),
            Self::Ipv6 => {
                TcpListener::bind("[::1]:0").map(drop).map_err(|error| format!("cannot bind to ::1: {error}"))
            }
            Self::Mount => starts("mount", &["--version"]),
            Self::Namespaces => works("unshare", &["--net", "ip", "link", "set", "lo", "up"]),
            Self::Nft => works("nft", &["-c", "add", "table", "inet", "canary_test"]),
            Self::Nss => ["certutil", "crlutil", "vfychain"].into_iter().try_for_each(|program| starts(program, &[])),
            Self::OpenFiles => match getrlimit(Resource::Nofile).maximum {
                Some(most @ ..5_000) => Err(format!("only {most} files may be open")),
                Some(_) | None => Ok(()),
            },
            Self::OpenSsl => starts("openssl", &["version"]),
            Self::PythonPackages => works("python3", &["-c", "import venv, ensurepip"]),
            Self::Strace => works("strace", &["-qq", "-o", "/dev/null", "true"]),
        }
    }
}

/// The names in a value of the setting; one that nothing has is an error, because it leaves nothing out.
pub(crate) fn named(text: &str) -> Result<Vec<&str>, String> {
    let names: Vec<&str> = text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let is_known = |name: &str| OF_SCRIPTS.contains(&name) || Need::ALL.iter().any(|need| need.name() == name);
    match names.iter().find(|name| !is_known(name)) {
        Some(name) => Err(format!("{WITHOUT}: there is no {name:?}; tests/README.md lists the names")),
        None => Ok(names),
    }
}

/// The program is there, whatever it says.
fn starts(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    output.map(drop).map_err(|error| format!("{program}: {error}"))
}

/// The program is there and may do what it is for.
pub(crate) fn works(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    output.status.success().then_some(()).ok_or_else(|| format!("{program} ended with {}: {said}", output.status))
}
