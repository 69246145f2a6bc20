//! Certificates made for the purpose, good and bad, judged by this program and by verifiers that others wrote.
//!
//! The tables hold what was observed, of OpenSSL 3.0, GnuTLS 3.7, NSS 3.87 and Python's cryptography 50; each run
//! compares them with what is observed now.

mod bad;
mod der;
mod good;
#[path = "../shared/gullible.rs"]
mod gullible;
mod leaves;
mod mint;
mod mutants;
#[path = "../needs/mod.rs"]
mod needs;
mod ours;
mod programs;
mod roots;
mod scanners;
