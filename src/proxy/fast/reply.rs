//! Recognises the plainest form of an upstream's answer in the bytes of an HTTP/1.1 connection.
//!
//! As with requests, it judges nothing: what is not plain beyond doubt is left, byte for byte, to the real HTTP client.

use crate::fast::request::{Headers, Parsed, decimal, set_once};
use http::StatusCode;
use httparse::{Header, Response, Status};
use model::RequestId;

/// Longest head that is looked at, and longest body; the real client takes longer ones.
const LONGEST_HEAD: usize = 16 * 1024;
const LONGEST_BODY: usize = 64 * 1024;

/// The head of a plain answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply<'h, 'a> {
    pub(crate) status: StatusCode,
    reason: &'a str,
    headers: &'h [Header<'a>],
    /// Bytes of the head.
    pub(crate) head: usize,
    /// Bytes of the body.
    pub(crate) body: usize,
    pub(crate) after: After,
}

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Keep,
    Close,
}

/// Whether an answer has a `date` of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dated {
    Yes,
    No,
}

/// What `bytes` begin with.
pub(crate) fn parse<'h, 'a>(bytes: &'a [u8], headers: &'h mut Headers<'a>) -> Parsed<Reply<'h, 'a>> {
    let mut response = Response::new(headers);
    let head = match response.parse(bytes) {
        Ok(Status::Complete(head)) => head,
        Ok(Status::Partial) if bytes.len() < LONGEST_HEAD => return Parsed::Unfinished,
        Ok(Status::Partial) | Err(_) => return Parsed::Other,
    };
    let headers: &'h [Header<'a>] = response.headers;
    let (Some(1), Some(status)) = (response.version, response.code.and_then(with_body)) else { return Parsed::Other };
    let Some((body, after)) = framing(headers) else { return Parsed::Other };
    Parsed::Plain(Reply { status, reason: response.reason.unwrap_or_default(), headers, head, body, after })
}

/// A status after which there is a body and nothing else: no interim one, and none that has no body.
fn with_body(code: u16) -> Option<StatusCode> {
    let status = StatusCode::from_u16(code).ok().filter(|_| (200..600).contains(&code))?;
    let empty = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
    (!empty.contains(&status)).then_some(status)
}

/// The length of the body and what follows; none when anything but one length says where it ends, when it is long, or
/// when a header is about more than this message.
fn framing(headers: &[Header<'_>]) -> Option<(usize, After)> {
    let (mut length, mut after) = (None, After::Keep);
    for Header { name, value } in headers {
        let known = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            14 if known("content-length") => set_once(&mut length, decimal(value)?)?,
            10 if known("connection") => match value {
                value if value.eq_ignore_ascii_case(b"keep-alive") => {}
                value if value.eq_ignore_ascii_case(b"close") => after = After::Close,
                _ => return None,
            },
            17 if known("transfer-encoding") => return None,
            7 if known("upgrade") || known("trailer") => return None,
            2 if known("te") => return None,
            _ => {}
        }
    }
    length.filter(|length| *length <= LONGEST_BODY).map(|length| (length, after))
}

impl Reply<'_, '_> {
    /// Appends the status line and the headers that are for the client, the length among them. What belongs to the
    /// connection only, or is this node's to say, is left out.
    pub(crate) fn write(&self, output: &mut Vec<u8>) -> Dated {
        let mut dated = Dated::No;
        output.extend_from_slice(b"HTTP/1.1 ");
        output.extend_from_slice(self.status.as_str().as_bytes());
        output.push(b' ');
        output.extend_from_slice(self.reason.as_bytes());
        output.extend_from_slice(b"\r\n");
        for Header { name, value } in self.headers {
            let known = |known: &str| name.eq_ignore_ascii_case(known);
            match name.len() {
                10 if known("connection") || known("keep-alive") => continue,
                16 if known("proxy-connection") => continue,
                18 if known("proxy-authenticate") => continue,
                19 if known("proxy-authorization") => continue,
                13 if known("x-canary-node") => continue,
                14 if known("x-canary-model") => continue,
                16 if known("x-canary-version") || known("x-canary-request") => continue,
                17 if known("x-canary-shielded") => continue,
                4 if known("date") => dated = Dated::Yes,
                _ => {}
            }
            write_header(name, value, output);
        }
        dated
    }
}

/// Appends one header, its name in small letters, as the server and HTTP/2 write it.
pub(crate) fn write_header(name: &str, value: &[u8], output: &mut Vec<u8>) {
    output.extend(name.bytes().map(|byte| byte.to_ascii_lowercase()));
    output.extend_from_slice(b": ");
    output.extend_from_slice(value);
    output.extend_from_slice(b"\r\n");
}

/// Appends the line that names an answer.
pub(crate) fn write_request_id(request: RequestId, output: &mut Vec<u8>) {
    output.extend_from_slice(b"x-canary-request: ");
    output.extend_from_slice(&request.text());
    output.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fast::request::no_headers;
    use proptest::prelude::*;

    const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\n{}";

    fn with(replaced: &str, by: &str) -> String {
        assert!(PLAIN.contains(replaced));
        PLAIN.replacen(replaced, by, 1)
    }

    #[test]
    fn a_plain_answer_is_seen_as_soon_as_its_head_is_whole() {
        let head = PLAIN.len() - 2;
        for length in 0..head {
            assert_eq!(parse(&PLAIN.as_bytes()[..length], &mut no_headers()), Parsed::Unfinished, "at {length} bytes");
        }
        let mut headers = no_headers();
        let Parsed::Plain(reply) = parse(&PLAIN.as_bytes()[..head], &mut headers) else { panic!("the head is whole") };
        assert_eq!((reply.status, reply.head, reply.body, reply.after), (StatusCode::OK, head, 2, After::Keep));
    }

    #[test]
    fn what_is_not_for_the_client_is_left_out() {
        let answer = with(
            "X-A: b",
            "X-A: b\r\nConnection: close\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nProxy-Authenticate: x\r\n\
             X-Canary-Model: x\r\nX-Canary-Version: 9\r\nX-Canary-Node: x\r\nX-Canary-Request: x\r\nX-Canary-Shielded: x\r\nDate: d\r\nx-a: C",
        );
        let mut headers = no_headers();
        let Parsed::Plain(reply) = parse(answer.as_bytes(), &mut headers) else { panic!("it is plain") };
        let mut output = Vec::new();
        assert_eq!((reply.write(&mut output), reply.after), (Dated::Yes, After::Close));
        let text = String::from_utf8(output).expect("text");
        assert_eq!(text, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\ndate: d\r\nx-a: C\r\n");
    }

    #[test]
    fn whatever_changes_the_reading_is_left_to_the_client() {
        for answer in [
            with("HTTP/1.1", "HTTP/1.0"),
            with("200 OK", "100 Continue"),
            with("200 OK", "101 Switching Protocols"),
            with("200 OK", "204 No Content"),
            with("200 OK", "304 Not Modified"),
            with("200 OK", "700 Odd"),
            with("Content-Length: 2\r\n", ""),
            with("Content-Length: 2", "Content-Length: 2\r\nContent-Length: 2"),
            with("Content-Length: 2", "Content-Length: -2"),
            with("Content-Length: 2", "Content-Length: 65537"),
            with("X-A: b", "Transfer-Encoding: chunked"),
            with("X-A: b", "Connection: x-a"),
            with("X-A: b", "Upgrade: h2c"),
            with("X-A: b", "Trailer: x"),
            with("X-A: b", " folded"),
            with("X-A: b", &"A: b\r\n".repeat(40)),
            "\u{16}\u{3}\u{1}".to_owned(),
            "SSH-2.0-x\r\n".to_owned(),
        ] {
            assert_eq!(parse(answer.as_bytes(), &mut no_headers()), Parsed::Other, "{answer}");
        }
    }

    #[test]
    fn a_head_that_never_ends_is_given_up() {
        let endless = with("X-A: b", &format!("X-A: {}", "b".repeat(LONGEST_HEAD)));
        assert_eq!(parse(&endless.as_bytes()[..LONGEST_HEAD - 1], &mut no_headers()), Parsed::Unfinished);
        assert_eq!(parse(&endless.as_bytes()[..LONGEST_HEAD], &mut no_headers()), Parsed::Other);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..PLAIN.len()) {
            let mut mixed = PLAIN.as_bytes().to_vec();
            mixed.splice(at..at, bytes);
            if let Parsed::Plain(reply) = parse(&mixed, &mut no_headers()) {
                prop_assert!(reply.head <= mixed.len() && reply.body <= LONGEST_BODY);
                reply.write(&mut Vec::new());
            }
        }
    }
}
