//! What commands say: the `canary` program and curl, as a user types them.

use super::needs::Need;
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// How a command ended and what it printed.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Runs `command` to its end, with `input` at its stdin.
    pub(crate) fn by(mut command: Command, input: &[u8]) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the program is there");
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_vec();
        // Whoever stops reading early is not worth a complaint.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("it was started");
        writer.join().expect("nothing panics there");
        output.into()
    }

    /// The JSON that it printed to stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Asserts the exit code, and that the words for people on stderr say all of `words`.
    #[track_caller]
    pub(crate) fn fails(self, code: i32, words: &[&str]) -> Self {
        let said = self.exits(code);
        for word in words {
            assert!(said.err.contains(word), "{word:?} is not in: {}", said.err);
        }
        said
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A command of curl, without which hardly any of these tests can do.
#[track_caller]
pub(crate) fn curl() -> Command {
    static IS_THERE: OnceLock<bool> = OnceLock::new();
    let is_there = *IS_THERE.get_or_init(|| Need::Curl.is_met());
    assert!(is_there, "nothing here can be tried without curl: leave out --test cluster");
    Command::new("curl")
}

/// An HTTP answer as curl saw it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) redirect: String,
    pub(crate) body: String,
}

/// What makes curl print the status and where it was sent, after the body.
const TRAILER: &str = "\n%{http_code} %{redirect_url}";

impl Answer {
    /// Runs `curl` with `arguments`, with `input` for `--data-binary @-`; what curl complains about is the error.
    pub(crate) fn to(arguments: &[&str], input: &[u8]) -> Result<Self, String> {
        let mut curl = curl();
        curl.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--write-out", TRAILER]);
        curl.args(arguments);
        let said = Said::by(curl, input);
        let (body, trailer) = said.out.rsplit_once('\n').unwrap_or(("", ""));
        let (status, redirect) = trailer.split_once(' ').unwrap_or((trailer, ""));
        match status.parse() {
            Ok(status) if status >= 100 => Ok(Self { status, redirect: redirect.into(), body: body.into() }),
            _ => Err(format!("curl exit {:?}: {}", said.code, said.err)),
        }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// Asserts a problem's status and code.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.json()["code"].as_str()), (status, Some(code)), "{self:?}");
    }
}
