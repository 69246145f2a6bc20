//! Recognises the plainest form of `POST /predict` in the bytes of an HTTP/1.1 connection.
//!
//! It judges nothing: whatever is not plain beyond doubt is left, byte for byte, to the real HTTP server.

use httparse::{EMPTY_HEADER, Header, Request, Status};

/// Longest request that is looked at, head and body; the real server takes longer ones.
pub(crate) const LONGEST: usize = 16 * 1024;
/// Most headers; clients send about ten.
const MOST_HEADERS: usize = 32;

/// Where [`parse`] puts the headers that it finds.
pub(crate) type Headers<'a> = [Header<'a>; MOST_HEADERS];

/// Empty space for the headers of one request or answer.
pub(crate) const fn no_headers<'a>() -> Headers<'a> {
    [EMPTY_HEADER; MOST_HEADERS]
}

/// What the beginning of some bytes is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<T> {
    /// What was looked for.
    Plain(T),
    /// Perhaps the beginning of one.
    Unfinished,
    /// Something else, or nothing that HTTP knows.
    Other,
}

/// A plain request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plain<'h, 'a> {
    /// What follows the question mark; empty without one.
    pub(crate) query: &'a str,
    /// All headers, in their order.
    pub(crate) headers: &'h [Header<'a>],
    /// The value of `x-canary-key`.
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) body: &'a [u8],
    /// Bytes of the request, head and body.
    pub(crate) length: usize,
}

impl<'a> Plain<'_, 'a> {
    /// The values of `x-forwarded-for`, the last one first.
    pub(crate) fn ways(&self) -> impl Iterator<Item = &'a [u8]> {
        let ways = self.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("x-forwarded-for"));
        ways.rev().map(|header| header.value)
    }
}

/// What `bytes` begin with.
pub(crate) fn parse<'h, 'a>(bytes: &'a [u8], headers: &'h mut Headers<'a>) -> Parsed<Plain<'h, 'a>> {
    let mut request = Request::new(headers);
    let head = match request.parse(bytes) {
        Ok(Status::Complete(head)) => head,
        Ok(Status::Partial) if bytes.len() < LONGEST => return Parsed::Unfinished,
        Ok(Status::Partial) | Err(_) => return Parsed::Other,
    };
    let rest = request.path.and_then(|path| path.strip_prefix("/predict"));
    let query = rest.and_then(|rest| if rest.is_empty() { Some(rest) } else { rest.strip_prefix('?') });
    let (Some("POST"), Some(1), Some(query)) = (request.method, request.version, query) else { return Parsed::Other };
    if !query.bytes().all(is_plain_in_query) {
        return Parsed::Other;
    }
    let headers: &'h [Header<'a>] = request.headers;
    let Some((key, body)) = fields(headers) else { return Parsed::Other };
    let length = head + body;
    match bytes.get(head..length) {
        Some(body) => Parsed::Plain(Plain { query, headers, key, body, length }),
        None if length <= LONGEST => Parsed::Unfinished,
        None => Parsed::Other,
    }
}

/// The characters of a query about which no reader of URLs has a doubt (RFC 3986, 3.4).
fn is_plain_in_query(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%=&+,:/?@!$*;".contains(&byte)
}

/// The key and the length of the body; none when a field changes how the message or the connection is to be read, or asks
/// for more than a choice by key.
fn fields<'a>(headers: &[Header<'a>]) -> Option<(Option<&'a [u8]>, usize)> {
    let (mut key, mut length, mut host) = (None, None, None);
    for Header { name, value } in headers {
        let known = |known: &str| name.eq_ignore_ascii_case(known);
        // Nothing else is told apart, so the length of the name sorts out most headers at once.
        match name.len() {
            14 if known("content-length") => set_once(&mut length, decimal(value)?)?,
            12 if known("x-canary-key") => set_once(&mut key, *value)?,
            4 if known("host") => set_once(&mut host, ())?,
            10 if known("connection") && !value.eq_ignore_ascii_case(b"keep-alive") => return None,
            8 if known("x-canary") => return None,
            17 if known("transfer-encoding") => return None,
            6 if known("expect") => return None,
            7 if known("upgrade") => return None,
            _ => {}
        }
    }
    host?;
    Some((key.filter(|key: &&[u8]| !key.is_empty()), length?))
}

/// Fills an empty slot; none when it is not.
pub(crate) fn set_once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

/// A decimal number of at most six digits: more than [`LONGEST`] has.
pub(crate) fn decimal(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 6 {
        return None;
    }
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + usize::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: &str = "POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nX-Canary-Key: bob\r\n\r\n{}";

    fn with(replaced: &str, by: &str) -> String {
        assert!(PLAIN.contains(replaced));
        PLAIN.replacen(replaced, by, 1)
    }

    #[test]
    fn a_plain_request_is_seen_as_soon_as_it_is_whole() {
        let mut headers = no_headers();
        let Parsed::Plain(plain) = parse(PLAIN.as_bytes(), &mut headers) else { panic!("it is whole") };
        assert_eq!(
            (plain.key, plain.body, plain.query, plain.length),
            (Some(&b"bob"[..]), &b"{}"[..], "", PLAIN.len())
        );
        assert_eq!(
            plain.headers.iter().map(|header| header.name).collect::<Vec<_>>(),
            ["Host", "Content-Length", "X-Canary-Key"]
        );
        for length in 0..PLAIN.len() {
            assert_eq!(parse(&PLAIN.as_bytes()[..length], &mut no_headers()), Parsed::Unfinished, "at {length} bytes");
        }
        let two = format!("{PLAIN}GET / HTTP/1.1\r\n");
        let mut headers = no_headers();
        let Parsed::Plain(first) = parse(two.as_bytes(), &mut headers) else { panic!("it is whole") };
        assert_eq!(first.length, PLAIN.len());
    }

    #[test]
    fn harmless_variations_are_plain() {
        for request in [
            with("/predict", "/predict?key=1"),
            with("Host: a\r\n", "Host: a\r\nConnection: Keep-Alive\r\nAccept: */*\r\n"),
            with("X-Canary-Key: bob\r\n", ""),
            with("Content-Length: 2", "content-length: 0002"),
        ] {
            assert!(matches!(parse(request.as_bytes(), &mut no_headers()), Parsed::Plain(_)), "{request}");
        }
    }

    #[test]
    fn whatever_changes_the_reading_is_left_to_the_server() {
        for request in [
            with("POST", "GET"),
            with("/predict", "/predictions"),
            with("/predict", "/predict/"),
            with("/predict", "/predict?a<b"),
            with("/predict", "http://a/predict"),
            with("HTTP/1.1", "HTTP/1.0"),
            with("Host: a\r\n", ""),
            with("Host: a\r\n", "Host: a\r\nHost: b\r\n"),
            with("Content-Length: 2\r\n", ""),
            with("Content-Length: 2", "Content-Length: 2\r\nContent-Length: 2"),
            with("Content-Length: 2", "Content-Length: +2"),
            with("Content-Length: 2", "Content-Length: 2, 2"),
            with("Content-Length: 2", "Content-Length: 0x2"),
            with("Content-Length: 2", "Content-Length:"),
            with("Content-Length: 2", "Content-Length: 99999"),
            with("Content-Length: 2", "Content-Length: 18446744073709551618"),
            with("Content-Length: 2", "Content-Length : 2"),
            with("X-Canary-Key: bob", "X-Canary-Key: bob\r\nX-Canary-Key: eve"),
            with("Host: a", "Host: a\r\nTransfer-Encoding: chunked"),
            with("Host: a", "Host: a\r\nTransfer-Encoding: identity"),
            with("Host: a", "Host: a\r\nExpect: 100-continue"),
            with("Host: a", "Host: a\r\nConnection: close"),
            with("Host: a", "Host: a\r\nConnection: keep-alive, upgrade"),
            with("Host: a", "Host: a\r\nUpgrade: h2c"),
            with("Host: a", "Host: a\r\nX-Canary: never"),
            with("Host: a", "Host: a\r\n folded: b"),
            with("Host: a", &format!("Host: a{}", "\r\nA: b".repeat(MOST_HEADERS))),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            "\u{16}\u{3}\u{1}".to_owned(),
        ] {
            assert_eq!(parse(request.as_bytes(), &mut no_headers()), Parsed::Other, "{request}");
        }
    }

    #[test]
    fn what_never_ends_is_given_up() {
        let endless = with("Host: a", &format!("Host: {}", "a".repeat(LONGEST)));
        assert_eq!(parse(&endless.as_bytes()[..LONGEST - 1], &mut no_headers()), Parsed::Unfinished);
        assert_eq!(parse(&endless.as_bytes()[..LONGEST], &mut no_headers()), Parsed::Other);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..PLAIN.len()) {
            let mut mixed = PLAIN.as_bytes().to_vec();
            mixed.splice(at..at, bytes);
            if let Parsed::Plain(plain) = parse(&mixed, &mut no_headers()) {
                prop_assert!(plain.length <= mixed.len());
                prop_assert!(plain.body.len() <= plain.length);
            }
        }
    }
}
