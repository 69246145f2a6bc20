//! Certificates made for the purpose, good and bad, judged by this program and by verifiers that others wrote.
//!
//! The tables hold what was observed, of OpenSSL 3.0, GnuTLS 3.7, NSS 3.87 and Python's cryptography 50; each run
//! compares them with what is observed now.

#![expect(clippy::print_stderr, reason = "a test says whose opinion it could not ask")]

mod bad;
mod der;
mod mint;
mod ours;
mod programs;

use bad::{Bad, Verdict};
use canary::tls::Refusal;
use mint::{Chain, Mint, PEER_ADDRESS};
use programs::{Program, Question};

/// Every bad certificate that can be made here.
fn made(mint: &Mint) -> Vec<(Bad, Chain)> {
    let make = |row: Bad| match (row.made)(mint) {
        Some(chain) => Some((row, chain)),
        None => {
            eprintln!("{} needs openssl to be made: it is left out", row.name);
            None
        }
    };
    bad::all().into_iter().filter_map(make).collect()
}

#[test]
fn observe() {
    let mint = Mint::new();
    let plane = mint.plane();
    let all = made(&mint);
    let authority = canary::pki::load_ca(&mint.certs()).expect("ok");
    let base = m_base(&mint);
    eprintln!("@@ BASE {:?} {:?} {:?}", plane.judge(&base), ours::of_client(&mint, &plane, &base), ours::of_server(&mint, &plane, &base));
    let q = [Question::new(mint.dir.path().join("base"), &base, &authority[0], Some(&mint.list), Some(PEER_ADDRESS))];
    for p in [Program::OpenSsl, Program::GnuTls, Program::Nss, Program::Python] { let a = p.ask(&q).expect("x"); eprintln!("BASE {} {} {}", p.letter(), a[0].accepted, a[0].said); }
    let questions: Vec<Question> = all.iter().enumerate().map(|(at, (_, chain))| Question::new(mint.dir.path().join(format!("q{at}")), chain, &authority[0], Some(&mint.list), Some(PEER_ADDRESS))).collect();
    let answers: Vec<_> = [Program::OpenSsl, Program::GnuTls, Program::Nss, Program::Python].into_iter().map(|p| (p, p.ask(&questions))).collect();
    for (at, (row, chain)) in all.iter().enumerate() {
        eprintln!("@@ {}", row.name);
        eprintln!("   J {:?}", plane.judge(chain));
        eprintln!("   C {:?}", ours::of_client(&mint, &plane, chain));
        eprintln!("   S {:?}", ours::of_server(&mint, &plane, chain));
        let mut letters = String::new();
        for (p, a) in &answers {
            if let Some(a) = a {
                if !a[at].accepted { letters.push(p.letter()); }
                eprintln!("     {} {} {}", p.letter(), a[at].accepted, a[at].said.replace('\n', " / "));
            }
        }
        eprintln!("   = {letters}");
    }
}

fn m_base(mint: &Mint) -> Chain { mint.leaf(|_| ()).expect("x") }
