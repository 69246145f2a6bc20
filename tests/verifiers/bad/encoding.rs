//! Bad by how they are written down.

use super::super::der::Der;
use super::super::mint::{Chain, Mint};
use super::{Bad, bad};
use tls::Reason;

const INTEGER: u8 = 2;
const GENERALIZED_TIME: u8 = 24;

fn with_serial(mint: &Mint, bytes: &[u8]) -> Option<Chain> {
    mint.patched(|inner| inner.parts()[1] = Der::of(INTEGER, bytes))
}

/// The peer's certificate with another version.
fn with_version(mint: &Mint, version: u8) -> Option<Chain> {
    mint.patched(|inner| inner.parts()[0].parts()[0] = Der::of(INTEGER, &[version]))
}

/// As the first version of X.509 was: no version, no extensions.
fn of_version_1(mint: &Mint) -> Option<Chain> {
    mint.patched(|inner| {
        inner.parts().truncate(7);
        inner.parts().remove(0);
    })
}

fn changed(mint: &Mint, change: impl FnOnce(&mut Vec<u8>)) -> Option<Chain> {
    let mut bytes = mint.leaf(|_| ())?[0].to_vec();
    change(&mut bytes);
    Some(vec![bytes.into()])
}

pub(super) fn rows() -> Vec<Bad> {
    vec![
        bad(
            "bytes after the certificate",
            |m| changed(m, |bytes| bytes.extend([0, 0])),
            (Reason::BadSvid, "BadEncoding"),
            "gnp",
        ),
        bad(
            "a second certificate after the first",
            |m| changed(m, |bytes| bytes.extend(bytes.clone())),
            (Reason::BadSvid, "BadEncoding"),
            "gnp",
        ),
        bad(
            "cut short",
            |m| changed(m, |bytes| bytes.truncate(bytes.len() - 1)),
            (Reason::BadSvid, "BadEncoding"),
            "ognp",
        ),
        bad("no certificate", |_| Some(vec![b"hello".to_vec().into()]), (Reason::BadSvid, "BadEncoding"), "ognp"),
        bad(
            "bytes after the inner part's extensions",
            |m| m.patched(|inner| inner.parts().push(Der::of(5, &[]))),
            (Reason::BadSvid, "BadEncoding"),
            "ognp",
        ),
        bad("a negative serial number", |m| with_serial(m, &[0x80, 1]), (Reason::BadSvid, "serial number is not"), "p"),
        bad("serial number zero", |m| with_serial(m, &[0]), (Reason::BadSvid, "serial number is not"), ""),
        bad(
            "a serial number of 21 bytes",
            |m| with_serial(m, &[0x11; 21]),
            (Reason::BadSvid, "serial number is not"),
            "",
        ),
        bad("an empty serial number", |m| with_serial(m, &[]), (Reason::BadSvid, "serial number is not"), "onp"),
        bad(
            "a serial number with a needless zero",
            |m| with_serial(m, &[0, 1]),
            (Reason::BadSvid, "serial number is not"),
            "op",
        ),
        bad("version 1", of_version_1, (Reason::BadSvid, "UnsupportedCertVersion"), "ogp"),
        bad("version 2 with extensions", |m| with_version(m, 1), (Reason::BadSvid, "UnsupportedCertVersion"), "ogp"),
        bad("version 4", |m| with_version(m, 3), (Reason::BadSvid, "UnsupportedCertVersion"), "p"),
        bad(
            "an end on the 31st of February",
            |m| m.patched(|inner| inner.parts()[4].parts()[1] = Der::of(GENERALIZED_TIME, b"20990231000000Z")),
            (Reason::BadSvid, "BadEncoding"),
            "op",
        ),
        bad(
            "an end without a time zone",
            |m| m.patched(|inner| inner.parts()[4].parts()[1] = Der::of(GENERALIZED_TIME, b"20990228000000")),
            (Reason::BadSvid, "BadEncoding"),
            "ognp",
        ),
        bad(
            "an empty list of extensions",
            |m| m.patched(|inner| inner.extensions().clear()),
            (Reason::BadSvid, "0 URI names"),
            "ogp",
        ),
        bad(
            "no issuer",
            |m| m.patched(|inner| inner.parts()[3] = Der::sequence(Vec::new())),
            (Reason::UnknownCa, "UnknownIssuer"),
            "ognp",
        ),
        bad(
            "an extension that says critical with 0x01",
            |m| {
                m.patched(|inner| {
                    let place = inner.place(super::super::der::KEY_USAGE);
                    let value = inner.extensions()[place].parts().pop().expect("a value");
                    let oid = inner.extensions()[place].parts()[0].clone();
                    inner.extensions()[place] = Der::sequence(vec![oid, Der::of(1, &[1]), value]);
                })
            },
            (Reason::BadSvid, "BadEncoding"),
            "p",
        ),
    ]
}
