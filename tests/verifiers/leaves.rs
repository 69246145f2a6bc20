//! The bad certificates of a peer, before every judge.

use super::bad::{self, Bad, Verdict};
use super::mint::{Chain, Mint, PEER_ADDRESS};
use super::needs::Need;
use super::ours;
use super::programs::{Program, Question};
use std::collections::BTreeSet;
use tls::{Reason, Refusal};

/// Every bad certificate that can be made here.
fn made(mint: &Mint) -> Vec<(Bad, Chain)> {
    let make = |row: Bad| match (row.made)(mint) {
        Some(chain) => Some((row, chain)),
        None if Need::OpenSsl.is_wanted() => Need::OpenSsl.missing(&format!("{:?} could not be made", row.name)),
        None => None,
    };
    bad::all().into_iter().filter_map(make).collect()
}

/// What is wrong with this answer, if it is not the one in the table.
fn contradiction(said: &Result<(), Refusal>, wanted: Verdict) -> Option<String> {
    let agrees = match (said, wanted) {
        (Ok(()), None) => true,
        (Err(refusal), Some((reason, detail))) => refusal.reason == reason && refusal.detail.contains(detail),
        (Ok(()), Some(_)) | (Err(_), None) => false,
    };
    (!agrees).then(|| format!("{said:?} instead of {wanted:?}"))
}

#[test]
fn ours_refuses_each_for_its_own_reason() {
    let mint = Mint::new();
    let plane = mint.plane();
    let mut wrong = Vec::new();
    for (row, chain) in made(&mint) {
        let verdicts = [
            ("on a live link", plane.judge(&chain), row.as_client),
            ("from a client", ours::of_client(&mint, &plane, &chain), row.as_client),
            ("from a server", ours::of_server(&mint, &plane, &chain), row.as_server),
        ];
        for (place, said, wanted) in verdicts {
            wrong.extend(contradiction(&said, wanted).map(|text| format!("{} {place}: {text}", row.name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_enough_rows_and_each_name_once() {
    let names: BTreeSet<&str> = bad::all().iter().map(|row| row.name).collect();
    assert_eq!(names.len(), bad::all().len());
    assert!(names.len() >= 40, "{}", names.len());
}

#[test]
fn what_every_bad_certificate_was_made_of_is_good() {
    let mint = Mint::new();
    let (plane, chain) = (mint.plane(), mint.leaf(|_| ()).expect("nothing is needed"));
    assert_eq!(plane.judge(&chain), Ok(()));
    assert_eq!(ours::of_client(&mint, &plane, &chain), Ok(()));
    assert_eq!(ours::of_server(&mint, &plane, &chain), Ok(()));
    for program in Program::ALL {
        for answer in program.ask(&[question(&mint, "good", &chain)]).into_iter().flatten() {
            assert!(answer.accepted, "{program:?}: {}", answer.said);
        }
    }
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    let mint = Mint::new();
    let (plane, chain) = (mint.plane(), mint.leaf(|_| ()).expect("nothing is needed"));
    // The keys of another cluster are as good as any that are not the right one.
    let thief = Mint::new();
    let stolen = Some((Reason::BadSignature, "BadSignature"));
    assert_eq!(contradiction(&ours::of_client(&thief, &plane, &chain), stolen), None);
    assert_eq!(contradiction(&ours::of_server(&thief, &plane, &chain), stolen), None);
}

#[test]
fn openssl_says_what_the_table_says() {
    compare(Program::OpenSsl);
}

#[test]
fn gnutls_says_what_the_table_says() {
    compare(Program::GnuTls);
}

#[test]
fn nss_says_what_the_table_says() {
    compare(Program::Nss);
}

#[test]
fn python_says_what_the_table_says() {
    compare(Program::Python);
}

fn question(mint: &Mint, folder: &str, chain: &Chain) -> Question {
    let authority = trust::load_ca(&mint.certs()).expect("a good authority");
    Question::new(mint.dir.path().join(folder), chain, &authority[0], Some(&mint.list), Some(PEER_ADDRESS))
}

#[track_caller]
fn compare(program: Program) {
    let mint = Mint::new();
    let all = made(&mint);
    let questions: Vec<Question> =
        (0..).zip(&all).map(|(at, (_, chain)): (u16, _)| question(&mint, &at.to_string(), chain)).collect();
    let Some(answers) = program.ask(&questions) else { return };
    assert_eq!(answers.len(), all.len());
    let differs = |((row, _), answer): (&(Bad, Chain), _)| program.contradicts(row.refused_by, answer, row.name);
    let wrong: Vec<String> = all.iter().zip(&answers).filter_map(differs).collect();
    assert!(wrong.is_empty(), "{program:?} changed its mind:\n{}", wrong.join("\n"));
}
