//! Reads records and says what is wrong with them, and what they prove. Needs the authority's certificate and no network.

use super::file::{Head, read_head};
use super::line::{Event, Line, hash, newer_format, signed_bytes};
use super::proof::{Decision, Evidence, Learned};
use jiff::Timestamp;
use model::{Digest, NodeId, NodeSet, Role, Said, Signed, SpiffeId, UnixMillis};
use rustls_pki_types::CertificateDer;
use service::RoutingState;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};
use tls::{check_issued, is_signature};
use trust::{CertificateFacts, svid};

/// One file of a record.
#[derive(Clone, Debug)]
pub struct Source {
    /// What to call it.
    pub name: String,
    text: String,
    head: Option<Head>,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, and the line in it, counted from 1.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

/// What records say.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// How many lines were read.
    pub lines: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What the records say that should not be, but is honestly told: gaps, and words of peers without their signature.
    pub notes: Vec<Finding>,
    /// Every decision on file.
    pub decisions: Vec<Decision>,
}

impl Source {
    /// Reads a file of a record, and the head beside it. Fails when it cannot be read, or is no text.
    pub fn read(path: &Path) -> io::Result<Self> {
        let head = read_head(path);
        Ok(Self { name: path.display().to_string(), text: fs::read_to_string(path)?, head })
    }
}

impl Verification {
    /// Whether nothing is wrong and every decision is proved.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty() && self.decisions.iter().all(|decision| decision.missing.is_empty())
    }
}

/// Checks the chain of each record, every signature in all of them together, and what they prove. Files of one record must
/// come oldest first.
pub fn verify(sources: &[Source], authorities: &[CertificateDer<'static>]) -> Verification {
    let mut reader = Reader::default();
    for source in sources {
        reader.read(source);
    }
    let Reader { mut verification, certificates, statements, decisions, heads, .. } = reader;
    let mut witness = Witness { authorities, certificates: &certificates, known: BTreeMap::new() };
    let mut evidence = Evidence::default();
    let mut seen = BTreeSet::new();
    for (place, signed) in statements {
        if !seen.insert((signed.serial.clone(), signed_bytes(&signed.statement), signed.signature.0.clone())) {
            continue;
        }
        match witness.check(&signed) {
            Ok(()) => evidence.add(&signed),
            Err(what) => verification.findings.push(Finding { place, what }),
        }
    }
    for (place, node, signed, learned) in decisions {
        match witness.check_decision(node, &signed, &learned.state) {
            Ok(()) => evidence.add_decision(node, learned),
            Err(what) => verification.findings.push(Finding { place, what }),
        }
    }
    for (place, node, head) in heads {
        let bytes = Head::signed_bytes(node.into(), head.seq, head.digest);
        if let Err(what) =
            witness.check_bytes(node, None, head.serial.as_str(), (head.scheme, &head.signature.0, &bytes), None)
        {
            verification.findings.push(Finding { place, what });
        }
    }
    let apart = evidence.contradictions().into_iter();
    verification.findings.extend(apart.map(|what| Finding { place: "all records together".into(), what }));
    verification.decisions = evidence.decisions();
    verification
}

/// Goes through the lines.
#[derive(Default)]
struct Reader {
    verification: Verification,
    certificates: BTreeMap<String, CertificateDer<'static>>,
    statements: Vec<(String, Signed)>,
    decisions: Vec<(String, NodeId, Signed, Learned)>,
    heads: Vec<(String, NodeId, Head)>,
    /// The last line of each node's record so far: where it stands, its number and its hash.
    ends: BTreeMap<NodeId, (String, u64, Digest)>,
}

impl Reader {
    fn read(&mut self, source: &Source) {
        let mut writer = None;
        let whole = source.text.ends_with('\n') || source.text.is_empty();
        let count = source.text.lines().count();
        for (number, text) in source.text.lines().enumerate() {
            let place = format!("{}:{}", source.name, number + 1);
            if number + 1 == count && !whole {
                self.note(place, "the last line is cut short, as a crash leaves it");
                break;
            }
            self.verification.lines += 1;
            if let Some(what) = newer_format(text) {
                self.find(place, what);
                continue;
            }
            let line = match Line::read(text) {
                Ok(line) => line,
                Err(error) => {
                    self.find(place, format!("this is no line of an audit record: {error}"));
                    continue;
                }
            };
            if *writer.get_or_insert(line.node) != line.node {
                self.find(place.clone(), format!("a line of {} in another node's record", line.node));
                continue;
            }
            self.follow(&place, &line, text);
            self.take(place, line);
        }
        if let (Some(node), Some(head)) = (writer, source.head.clone()) {
            self.meet(source, node, head);
        }
    }

    /// Whether the line is the one that comes after those before.
    fn follow(&mut self, place: &str, line: &Line, text: &str) {
        let before = self.ends.insert(line.node, (place.to_owned(), line.seq, hash(text)));
        let Some((last_place, last, digest)) = before else {
            if line.seq == 1 && line.prev != Digest::default() {
                self.find(place.to_owned(), "the first line names a line before it: it was changed".to_owned());
            } else if line.seq > 1 {
                self.note(
                    place.to_owned(),
                    &format!("the record begins with line {}: older files are not here", line.seq),
                );
            }
            return;
        };
        if line.seq <= last {
            self.find(place.to_owned(), format!("line {} comes after line {last}: the order was changed", line.seq));
        } else if line.seq > last + 1 {
            let (from, to) = (last + 1, line.seq - 1);
            let what = if from == to {
                format!("line {from} was dropped")
            } else {
                format!("lines {from} to {to} were dropped")
            };
            self.find(place.to_owned(), what);
        } else if line.prev != digest {
            self.find(last_place, format!("line {last} was changed: it is not the one that line {} follows", line.seq));
        }
    }

    /// Whether the record ends where its head says.
    fn meet(&mut self, source: &Source, node: NodeId, head: Head) {
        let Some((_, last, digest)) = self.ends.get(&node).cloned() else { return };
        let place = source.name.clone();
        if head.seq > last {
            let what = format!(
                "the record ends with line {last}, but line {} had been written: the end was dropped",
                head.seq
            );
            self.find(place.clone(), what);
        } else if head.seq == last && head.digest != digest.into() {
            self.find(place.clone(), format!("line {last} was changed: it is not the one that audit.head names"));
        }
        self.heads.push((format!("{place}, audit.head"), node, head));
    }

    fn take(&mut self, place: String, line: Line) {
        match line.event {
            Event::Certificate { serial, der, .. } => {
                let der = CertificateDer::from(der.0);
                match CertificateFacts::of(&der) {
                    Some(facts) if facts.serial == serial => drop(self.certificates.insert(serial, der)),
                    _ => self.find(place, format!("this is not the certificate {serial}")),
                }
            }
            Event::Said { signed } => self.statements.push((place, signed)),
            Event::Decided { signed, by, state, votes } => {
                let learned = Learned { by, state, has_votes: !votes.is_empty(), known_to: NodeSet::EMPTY };
                self.decisions.push((place, line.node, signed, learned));
            }
            Event::Lost { lines } => self.note(place, &format!("{lines} lines could not be written here")),
            Event::Shortened { head, found } => {
                self.find(place, format!("when the node started, the record ended at line {found} instead of {head}"));
            }
            Event::Disbelieved { peer, why } => self.note(place, &format!("{peer} handed over {why}")),
            Event::Started { .. }
            | Event::Stopped
            | Event::Aborted { .. }
            | Event::Refused { .. }
            | Event::Peer { .. }
            | Event::Rejected { .. }
            | Event::Reloaded { .. } => {}
        }
    }

    fn find(&mut self, place: String, what: String) {
        self.verification.findings.push(Finding { place, what });
    }

    fn note(&mut self, place: String, what: &str) {
        self.verification.notes.push(Finding { place, what: what.to_owned() });
    }
}

/// Says whether signatures are right.
struct Witness<'a> {
    authorities: &'a [CertificateDer<'static>],
    certificates: &'a BTreeMap<String, CertificateDer<'static>>,
    /// Certificates that an authority issued, or why they are none.
    known: BTreeMap<String, Result<(CertificateFacts, SpiffeId), String>>,
}

impl Witness<'_> {
    fn check(&mut self, signed: &Signed) -> Result<(), String> {
        let statement = &signed.statement;
        let bytes = signed_bytes(statement);
        let signature = (signed.scheme, signed.signature.0.as_slice(), bytes.as_slice());
        self.check_bytes(statement.node, Some(&statement.cluster), &signed.serial, signature, Some(statement.at))
    }

    /// Whether `node` signed that it learned this state as decided.
    fn check_decision(&mut self, node: NodeId, signed: &Signed, state: &RoutingState) -> Result<(), String> {
        self.check(signed)?;
        let Said::Decided { txid, version, digest, .. } = signed.statement.said else {
            return Err("what is signed here is no decision".into());
        };
        if (signed.statement.node, Some(txid), version, digest) != (node, state.txid, state.version, state.digest()) {
            return Err(format!("the state is not the one that {node} signed"));
        }
        Ok(())
    }

    /// Whether the key of certificate `serial`, which must be that of `node`, signed at `at`.
    fn check_bytes(
        &mut self,
        node: NodeId,
        cluster: Option<&str>,
        serial: &str,
        (scheme, signature, bytes): (u16, &[u8], &[u8]),
        at: Option<UnixMillis>,
    ) -> Result<(), String> {
        let Some(certificate) = self.certificates.get(serial) else {
            return Err(format!("the certificate {serial} of {node} is not on file"));
        };
        let at = at.and_then(|at| i64::try_from(at.0).ok()).and_then(|at| Timestamp::from_millisecond(at).ok());
        let authorities = self.authorities;
        let known = self.known.entry(serial.to_owned()).or_insert_with(|| {
            let facts = CertificateFacts::of(certificate).ok_or("it is no certificate")?;
            let facts = check_issued(authorities, certificate, at.unwrap_or(facts.not_before))?;
            Ok((facts, svid::identity(certificate).map_err(|error| error.to_string())?))
        });
        let (facts, identity) =
            known.as_ref().map_err(|why| format!("the certificate {serial} of {node} is not good: {why}"))?;
        if identity.role != Role::Node(node) || cluster.is_some_and(|name| name != identity.trust_domain) {
            return Err(format!("the certificate {serial} is of {identity}, not of {node}"));
        }
        if at.is_some_and(|at| at < facts.not_before || at > facts.not_after) {
            return Err(format!("the certificate {serial} of {node} was not valid when this was signed"));
        }
        if is_signature(certificate, scheme, bytes, signature) {
            return Ok(());
        }
        Err(format!("the signature of {node} is wrong"))
    }
}

#[cfg(test)]
mod tests;
