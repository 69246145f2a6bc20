//! The errors and warnings of the room that issues certificates, each with what to type instead.

use crate::cluster::exit_of;
use crate::failure::{Exit, Failure};
use issue::{IssueError, Part, PlanError, Problem, Refusal, Stage, Warning};
use model::Host;
use std::error::Error;
use std::fmt;
use trust::{FileError, TrustError, shell_word};

/// An error as one sentence with what to do about it; its causes stay as they are.
#[derive(Debug)]
struct Told {
    text: String,
    error: IssueError,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Told {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl From<IssueError> for Failure {
    fn from(error: IssueError) -> Self {
        Self::new(exit(&error), Told { text: told(&error), error })
    }
}

impl From<TrustError> for Failure {
    fn from(error: TrustError) -> Self {
        IssueError::from(error).into()
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        IssueError::from(error).into()
    }
}

const fn exit(error: &IssueError) -> Exit {
    match error {
        IssueError::Plan(_) => Exit::Usage,
        IssueError::Refused(_) | IssueError::Exists { .. } | IssueError::Interrupted { .. } => Exit::Refused,
        IssueError::Busy { .. } | IssueError::Generate(_) | IssueError::Random(_) => Exit::Failed,
        IssueError::Peers(_) | IssueError::NotADirectory(_) | IssueError::Missing { .. } => Exit::Configuration,
        IssueError::Trust(TrustError::File(FileError::Io { .. })) => Exit::Failed,
        IssueError::Trust(error) => exit_of(error, Exit::Configuration),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the others say enough")]
fn told(error: &IssueError) -> String {
    let advice = match error {
        IssueError::Plan(error) => of_plan(error).map(str::to_owned),
        IssueError::Refused(Refusal::LeftBehind(_)) => {
            let advice = "issue others with `canary pki node`, `operator` or `sign`, or `canary pki revoke` them";
            return format!("{error}; {advice}");
        }
        IssueError::Refused(error) => of_refusal(error),
        IssueError::Missing { part, .. } => Some(of_missing(part)),
        IssueError::Exists { .. } => Some("use --force to replace them (they are kept as *.bak-<time>)".to_owned()),
        IssueError::Interrupted { dir } => {
            let dir = dir.display();
            return format!(
                "an earlier `canary pki init` in {dir} was interrupted while it moved its files into place: run it again \
                 with --force (what is there is kept as *.bak-<time>)"
            );
        }
        IssueError::Busy { dir } => {
            return format!("another `canary pki` is writing to {}: wait for it to end", dir.display());
        }
        _ => None,
    };
    with_advice(&error.to_string(), advice)
}

fn with_advice(text: &str, advice: Option<String>) -> String {
    advice.map_or_else(|| text.to_owned(), |advice| format!("{text}: {advice}"))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the others say themselves what to give")]
const fn of_plan(error: &PlanError) -> Option<&'static str> {
    match error {
        PlanError::NoAddress(_) => Some("give one with --addr 10.0.0.4"),
        PlanError::ListLength => Some("use --next-update 90d"),
        PlanError::NodeAmongClients => Some("use `canary pki node`"),
        PlanError::AddressOfClient => Some("leave --addr out"),
        _ => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the others say themselves what to do")]
fn of_refusal(error: &Refusal) -> Option<String> {
    let advice = match error {
        Refusal::Outside { host, .. } => {
            let flag = match host {
                Host::Ip(address) => format!("--permit-cidr {}", ipnet::IpNet::from(*address)),
                Host::Name(name) => format!("--permit-dns {name}"),
            };
            format!(
                "use an address within, or make a new authority that permits it with `canary pki rotate-ca --stage prepare \
                 {flag}`"
            )
        }
        Refusal::NoCertificate(..) => {
            "sign the request in it with `canary pki sign`, or use --force to begin anew".to_owned()
        }
        Refusal::Unusable { name, .. } => format!("`canary pki renew {name}` issues another"),
        Refusal::OtherAddresses { .. } => {
            "use --force to issue another (the folder is kept as *.bak-<time>)".to_owned()
        }
        Refusal::OtherFile(_) => "use --force to replace it, or another --out".to_owned(),
        Refusal::KeyElsewhere(_) => "renew it with --same-key, or make a new request there".to_owned(),
        Refusal::OtherKey { name, .. } => {
            format!("move it away first, or renew it here with `canary pki renew {name}`")
        }
        Refusal::Unknown(_) => "`canary pki list` shows what was issued".to_owned(),
        Refusal::Authority => "`canary pki rotate-ca --stage prepare` begins that".to_owned(),
        Refusal::Stage { first, .. } => format!("`canary pki rotate-ca --stage {}` comes first", stage(*first)),
        _ => return None,
    };
    Some(advice)
}

const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Prepare => "prepare",
        Stage::Activate => "activate",
        Stage::Retire => "retire",
    }
}

fn of_missing(part: &Part) -> String {
    let advice = match part {
        Part::AuthorityKey => {
            "this needs the authority's key: run it where `canary pki init` ran, or name that directory with --certs"
        }
        Part::NewestKey => "it is the key of the newest authority in ca.pem: put it back from a backup",
        Part::Index => {
            "it lists what the authority issued: run this where `canary pki init` ran, or put it back from a backup"
        }
        Part::OwnCertificate => "name the authority's certificate with --ca-cert",
        Part::OwnKey => "name the authority's private key with --ca-key",
        Part::Renewed => {
            "copy the folder here, or issue a first certificate with `canary pki node` or `canary pki operator`"
        }
        Part::Request => "name the request that `canary pki csr` made",
        Part::Folder(name) => return format!("name the directory that holds {name}/ with --certs"),
        Part::InFolder(name) => return format!("`canary pki renew {name}` makes it anew"),
    };
    advice.to_owned()
}

/// A warning about a new tree, as a sentence.
pub(super) fn warning(warning: &Warning) -> String {
    match warning {
        Warning::Replaceable { dir, mode } => {
            let dir = shell_word(dir);
            format!("others can replace what is in {dir} (its mode is {mode:04o}); type: chmod 755 {dir}")
        }
        Warning::SharedAddress(nodes) => format!("{nodes} share an address: it does not tell them apart"),
        Warning::Loopback => "some members have a loopback address, which other machines cannot reach".to_owned(),
        Warning::EndsWithAuthority(until) => format!("certificates end with their authority, at {until}"),
        Warning::EndsAfterDays(days) => format!("certificates end with their authority, after {days} days"),
        Warning::DevNames => "with --dev every member can answer as localhost: not for production".to_owned(),
        Warning::Unconstrained => "without name constraints this authority can issue for any name".to_owned(),
    }
}

/// Why something would not be accepted, with its causes, as a sentence.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others say enough")]
pub(super) fn problem(problem: &Problem) -> String {
    let advice = match problem {
        Problem::Nothing(_) => Some("run `canary pki init`, or copy ca.pem and a node's folder here"),
        Problem::NoAuthority(_) => Some("name the directory that holds it with --certs"),
        Problem::NotNamed => Some("use --as node-a to say whose folder it is"),
        _ => None,
    };
    let causes = std::iter::successors(problem.source(), |cause: &&dyn Error| (*cause).source());
    let text = causes.fold(problem.to_string(), |text, cause| format!("{text}: {cause}"));
    with_advice(&text, advice.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use issue::Flaw;
    use jiff::Timestamp;
    use model::NodeId;
    use std::path::{Path, PathBuf};

    fn says(error: impl Into<IssueError>, wanted: (Exit, &str)) {
        let failure = Failure::from(error.into());
        assert_eq!((failure.exit(), failure.to_string().as_str()), wanted);
    }

    #[test]
    fn plans_that_cannot_be_made_say_which_option_to_use() {
        let usage = |text| (Exit::Usage, text);
        says(PlanError::NoAddress(NodeId::A), usage("node-a has no address: give one with --addr 10.0.0.4"));
        says(PlanError::Unaddressed(NodeId::A), usage("node-a has no address"));
        says(
            PlanError::ListLength,
            usage("a revocation list can be current for an hour to ten years: use --next-update 90d"),
        );
        says(PlanError::NodeAmongClients, usage("a node's certificate needs its addresses: use `canary pki node`"));
        says(PlanError::AddressOfClient, usage("only a node's certificate has addresses: leave --addr out"));
        says(PlanError::Days(0), usage("certificates cannot be valid for 0 days: use 1 to 3650"));
        says(PlanError::AuthorityDays(0), usage("an authority cannot be valid for 0 days: use 1 to 36500"));
        says(
            PlanError::ClientName("/".into()),
            usage("\"/\" cannot be the name of a client: use 1 to 64 of A-Z, a-z, 0-9, '.', '-' and '_'"),
        );
    }

    #[test]
    fn refusals_say_which_command_helps() {
        let refused = |text| (Exit::Refused, text);
        let outside = |host: &str| Refusal::Outside {
            host: host.parse().expect("an address"),
            authority: "CN=x".into(),
            permitted: "IP:127.0.0.0/8".into(),
        };
        says(
            outside("10.0.0.4"),
            refused(
                "10.0.0.4 is outside of what CN=x may issue for (IP:127.0.0.0/8), so every member would refuse the \
                 certificate: use an address within, or make a new authority that permits it with `canary pki rotate-ca \
                 --stage prepare --permit-cidr 10.0.0.4/32`",
            ),
        );
        let failure = Failure::from(IssueError::from(outside("a.example")));
        assert!(failure.to_string().ends_with("--stage prepare --permit-dns a.example`"), "{failure}");
        let addresses =
            Refusal::OtherAddresses { name: "node-d".into(), present: "127.0.0.4".into(), wanted: "127.0.0.5".into() };
        says(
            addresses,
            refused(
                "node-d has a certificate for 127.0.0.4, not for 127.0.0.5: use --force to issue another (the folder is \
                 kept as *.bak-<time>)",
            ),
        );
        says(
            Refusal::Unusable { name: "app-shop".into(), why: Flaw::Revoked },
            refused("the certificate of app-shop is revoked: `canary pki renew app-shop` issues another"),
        );
        says(
            Refusal::NoCertificate("certs/node-d".into(), "node.pem"),
            refused(
                "certs/node-d is there without node.pem: sign the request in it with `canary pki sign`, or use --force to \
                 begin anew",
            ),
        );
        says(
            Refusal::OtherFile("x.tar".into()),
            refused("x.tar is there and holds something else: use --force to replace it, or another --out"),
        );
        says(
            Refusal::KeyElsewhere("node-a".into()),
            refused(
                "the key of node-a is not here but on its machine: renew it with --same-key, or make a new request there",
            ),
        );
        says(
            Refusal::OtherKey { key: "node.key".into(), request: "node.csr".into(), name: "node-a".into() },
            refused(
                "node.key is another key than that of node.csr: move it away first, or renew it here with `canary pki \
                 renew node-a`",
            ),
        );
        says(
            Refusal::Unknown("node-d".into()),
            refused(
                "nothing was issued under the name or serial number \"node-d\", and there is no such file: `canary pki \
                 list` shows what was issued",
            ),
        );
        says(
            Refusal::Authority,
            refused("an authority is not revoked but replaced: `canary pki rotate-ca --stage prepare` begins that"),
        );
        for (first, word) in [(Stage::Prepare, "prepare"), (Stage::Activate, "activate"), (Stage::Retire, "retire")] {
            let text = format!("no: `canary pki rotate-ca --stage {word}` comes first");
            says(Refusal::Stage { why: "no".into(), first }, (Exit::Refused, &text));
        }
        says(
            Refusal::LeftBehind("node-c (01)".into()),
            refused(
                "these certificates are of the old authority, and their folders are not here: node-c (01); issue others \
                 with `canary pki node`, `operator` or `sign`, or `canary pki revoke` them",
            ),
        );
        says(
            Refusal::Ambiguous("a".into(), "app-a".into(), "operator-a".into()),
            refused("a is both app-a and operator-a: type one of these names"),
        );
    }

    #[test]
    fn what_is_there_or_missing_says_what_to_do_about_it() {
        let dir = || PathBuf::from("certs");
        says(
            IssueError::Exists { dir: dir(), entries: "ca, ca.pem".into() },
            (
                Exit::Refused,
                "certs already holds ca, ca.pem: use --force to replace them (they are kept as *.bak-<time>)",
            ),
        );
        says(
            IssueError::Interrupted { dir: dir() },
            (
                Exit::Refused,
                "an earlier `canary pki init` in certs was interrupted while it moved its files into place: run it again \
                 with --force (what is there is kept as *.bak-<time>)",
            ),
        );
        says(
            IssueError::Busy { dir: dir() },
            (Exit::Failed, "another `canary pki` is writing to certs: wait for it to end"),
        );
        for (part, advice) in [
            (
                Part::AuthorityKey,
                "this needs the authority's key: run it where `canary pki init` ran, or name that directory with --certs",
            ),
            (Part::NewestKey, "it is the key of the newest authority in ca.pem: put it back from a backup"),
            (
                Part::Index,
                "it lists what the authority issued: run this where `canary pki init` ran, or put it back from a backup",
            ),
            (Part::OwnCertificate, "name the authority's certificate with --ca-cert"),
            (Part::OwnKey, "name the authority's private key with --ca-key"),
            (Part::Folder("node-a".into()), "name the directory that holds node-a/ with --certs"),
            (Part::InFolder("node-a".into()), "`canary pki renew node-a` makes it anew"),
            (
                Part::Renewed,
                "copy the folder here, or issue a first certificate with `canary pki node` or `canary pki operator`",
            ),
            (Part::Request, "name the request that `canary pki csr` made"),
        ] {
            let text = format!("certs is missing: {advice}");
            says(IssueError::Missing { path: dir(), part }, (Exit::Configuration, &text));
        }
    }

    #[test]
    fn warnings_and_problems_are_sentences() {
        assert_eq!(
            warning(&Warning::Replaceable { dir: "my certs".into(), mode: 0o777 }),
            "others can replace what is in 'my certs' (its mode is 0777); type: chmod 755 'my certs'"
        );
        assert_eq!(warning(&Warning::EndsAfterDays(30)), "certificates end with their authority, after 30 days");
        assert_eq!(
            problem(&Problem::Nothing(Path::new("certs/ca.pem").into())),
            "certs/ca.pem is missing: run `canary pki init`, or copy ca.pem and a node's folder here"
        );
        assert_eq!(
            problem(&Problem::NotNamed),
            "it is not named after a member: use --as node-a to say whose folder it is"
        );
        assert_eq!(
            problem(&Problem::NoAuthority("certs/ca.pem".into())),
            "certs/ca.pem is missing: name the directory that holds it with --certs"
        );
        assert_eq!(problem(&Problem::Expires(Timestamp::UNIX_EPOCH)), "it expires at 1970-01-01T00:00:00Z");
        let nobody = TrustError::Svid { path: "node.pem".into(), source: trust::SvidError::Malformed };
        assert_eq!(
            problem(&nobody.into()),
            "the certificate node.pem is not an identity: the certificate cannot be read as DER"
        );
    }
}
