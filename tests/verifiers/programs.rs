//! Verifiers that others wrote, each asked the same question: is this a server at its address, and a client?

use super::mint::write_pem;
use super::needs::{Need, works};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The one release whose opinions stand in the tables.
const PYTHON_PACKAGE: &str = "cryptography==50.0.2";
const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";

/// A verifier. The tables call each by a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    OpenSsl,
    GnuTls,
    Nss,
    Python,
}

/// A folder with what is to be judged, and as what.
pub(crate) struct Question {
    pub(crate) folder: PathBuf,
    /// The address or name at which it must be a server; a client only, when there is none.
    pub(crate) server: Option<String>,
}

pub(crate) struct Answer {
    pub(crate) accepted: bool,
    pub(crate) said: String,
}

impl Question {
    pub(crate) fn new(
        folder: PathBuf,
        chain: &[CertificateDer<'_>],
        authority: &[u8],
        list: Option<&CertificateRevocationListDer<'_>>,
        server: Option<&str>,
    ) -> Self {
        fs::create_dir_all(&folder).expect("a folder");
        let all: Vec<&[u8]> = chain.iter().map(AsRef::as_ref).collect();
        write_pem(&folder.join("chain.pem"), "CERTIFICATE", &all);
        write_pem(&folder.join("leaf.pem"), "CERTIFICATE", &all[..1]);
        if all.len() > 1 {
            write_pem(&folder.join("between.pem"), "CERTIFICATE", &all[1..]);
        }
        write_pem(&folder.join("ca.pem"), "CERTIFICATE", &[authority]);
        if let Some(list) = list {
            write_pem(&folder.join("crl.pem"), "X509 CRL", &[list.as_ref()]);
            fs::write(folder.join("crl.der"), list).expect("written");
        }
        Self { folder, server: server.map(str::to_owned) }
    }

    fn has(&self, name: &str) -> bool {
        self.folder.join(name).exists()
    }

    /// What it must be good for: each purpose, with the name that it must have.
    fn purposes(&self) -> Vec<Option<&str>> {
        self.server.as_deref().map(Some).into_iter().chain([None]).collect()
    }
}

impl Program {
    pub(crate) const ALL: [Self; 4] = [Self::OpenSsl, Self::GnuTls, Self::Nss, Self::Python];

    pub(crate) const fn letter(self) -> char {
        match self {
            Self::OpenSsl => 'o',
            Self::GnuTls => 'g',
            Self::Nss => 'n',
            Self::Python => 'p',
        }
    }

    /// How this answer differs from what the letters say of those who refuse.
    pub(crate) fn contradicts(self, refused_by: &str, answer: &Answer, name: &str) -> Option<String> {
        let verb = if answer.accepted { "accepts" } else { "refuses" };
        let agrees = refused_by.contains(self.letter()) != answer.accepted;
        (!agrees).then(|| format!("it {verb} {name:?}: {}", answer.said))
    }

    /// Its answers; none where this run does without.
    pub(crate) fn ask(self, questions: &[Question]) -> Option<Vec<Answer>> {
        let (need, ask): (Need, fn(&Question) -> Answer) = match self {
            Self::OpenSsl => (Need::OpenSsl, openssl),
            Self::GnuTls => (Need::Certtool, gnutls),
            Self::Nss => (Need::Nss, nss),
            Self::Python => return python(questions),
        };
        need.is_met().then(|| questions.iter().map(ask).collect())
    }
}

fn openssl(question: &Question) -> Answer {
    all(question, |server| {
        let mut command = Command::new("openssl");
        command.args(["verify", "-x509_strict", "-CAfile", "ca.pem"]);
        if question.has("between.pem") {
            command.args(["-untrusted", "between.pem"]);
        } else if question.has("crl.pem") {
            command.args(["-crl_check", "-CRLfile", "crl.pem"]);
        }
        match server {
            Some(name) if name.parse::<std::net::IpAddr>().is_ok() => {
                command.args(["-purpose", "sslserver", "-verify_ip", name])
            }
            Some(name) => command.args(["-purpose", "sslserver", "-verify_hostname", name]),
            None => command.args(["-purpose", "sslclient"]),
        };
        answer(run(command.arg("leaf.pem"), &question.folder))
    })
}

fn gnutls(question: &Question) -> Answer {
    all(question, |server| {
        let mut command = Command::new("certtool");
        command.args(["--verify", "--load-ca-certificate", "ca.pem", "--infile", "chain.pem"]);
        if question.has("crl.pem") {
            command.args(["--load-crl", "crl.pem"]);
        }
        match server {
            Some(name) => command.args(["--verify-purpose", SERVER_AUTH, "--verify-hostname", name]),
            None => command.args(["--verify-purpose", CLIENT_AUTH]),
        };
        answer(run(&mut command, &question.folder))
    })
}

/// NSS judges chain, purpose and revocation; its programs know no way to ask for a name.
fn nss(question: &Question) -> Answer {
    let folder = &question.folder;
    fs::create_dir_all(folder.join("db")).expect("a folder");
    run(Command::new("certutil").args(["-N", "-d", "sql:db", "--empty-password"]), folder);
    let authority = ["-A", "-d", "sql:db", "-n", "ca", "-t", "TC,C,C", "-a", "-i", "ca.pem"];
    let trusted = answer(run(Command::new("certutil").args(authority), folder));
    if !trusted.accepted {
        return trusted;
    }
    if question.has("crl.der") {
        let listed = answer(run(Command::new("crlutil").args(["-I", "-d", "sql:db", "-i", "crl.der"]), folder));
        assert!(listed.accepted, "NSS takes the list: {}", listed.said);
    }
    all(question, |server| {
        let mut command = Command::new("vfychain");
        command.args(["-d", "sql:db", "-u", if server.is_some() { "1" } else { "0" }, "-a", "leaf.pem"]);
        if question.has("between.pem") {
            command.args(["-a", "between.pem"]);
        }
        answer(run(&mut command, folder))
    })
}

fn python(questions: &[Question]) -> Option<Vec<Answer>> {
    let python = python_with("python", &[PYTHON_PACKAGE])?.join("python");
    let asked: Vec<Value> = questions
        .iter()
        .map(|question| {
            let (chain, authority) = (question.folder.join("chain.pem"), question.folder.join("ca.pem"));
            json!({ "chain": chain, "authority": authority, "server": question.server })
        })
        .collect();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/verifiers/judge.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the interpreter was just tried");
    child.stdin.take().expect("piped").write_all(Value::from(asked).to_string().as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let answers: Vec<(bool, String)> = serde_json::from_slice(&output.stdout).expect("a list of answers");
    Some(answers.into_iter().map(|(accepted, said)| Answer { accepted, said }).collect())
}

/// The programs of an interpreter that has these packages, each pinned; made once and kept with what cargo built. None where
/// this run does without.
pub(crate) fn python_with(name: &str, packages: &[&str]) -> Option<PathBuf> {
    static MAKING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    if !Need::PythonPackages.is_met() {
        return None;
    }
    let _alone = MAKING.lock();
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let (programs, python) = (place.join("bin"), place.join("bin/python"));
    let (place, python) = (place.to_str().expect("cargo gave it as text"), python.to_str().expect("so is this"));
    let has = |package: &&str| {
        let (name, version) = package.split_once("==").expect("pinned");
        let check = format!("from importlib.metadata import version; assert version({name:?}) == {version:?}");
        works(python, &["-c", &check])
    };
    if packages.iter().all(|package| has(package).is_ok()) {
        return Some(programs);
    }
    let install = [&["-m", "pip", "install", "--quiet"], packages].concat();
    let made = works("python3", &["-m", "venv", "--clear", place])
        .and_then(|()| works(python, &install))
        .and_then(|()| packages.iter().try_for_each(has));
    if let Err(why) = made {
        Need::PythonPackages.missing(&format!("{packages:?} cannot be installed: {why}"));
    }
    Some(programs)
}

/// Accepted for every purpose, or the first refusal.
fn all(question: &Question, ask: impl Fn(Option<&str>) -> Answer) -> Answer {
    let mut last = Answer { accepted: false, said: "there is no purpose".into() };
    for purpose in question.purposes() {
        last = ask(purpose);
        if !last.accepted {
            break;
        }
    }
    last
}

pub(crate) fn run(command: &mut Command, folder: &Path) -> Output {
    command.current_dir(folder).stdin(Stdio::null()).env("LC_ALL", "C").output().expect("the program was just tried")
}

fn answer(output: Output) -> Answer {
    let said = [output.stdout, output.stderr].concat();
    Answer { accepted: output.status.success(), said: String::from_utf8_lossy(&said).trim().to_owned() }
}
