//! A plain request as its upstream is to see it, in bytes; the other side of what [`crate::headers`] does for the server.

use crate::fast::reply::write_header;
use crate::fast::request::Plain;
use crate::headers::Remote;
use crate::upstream::address::Upstream;
use http::Uri;
use httparse::Header;
use std::io::Write;
use std::sync::Arc;

/// A request template: what all plain requests to an upstream have in common.
pub(crate) struct Template {
    /// Host and port, which tell connections apart.
    pub(crate) name: Arc<str>,
    /// Where to connect to.
    pub(crate) place: Uri,
    /// Method and target.
    start: Vec<u8>,
    /// What joins the client's query to the target.
    joint: u8,
    /// The rest of the request line, and the headers that are the same in every request.
    common: Vec<u8>,
}

impl Template {
    pub(crate) fn to(upstream: &Upstream) -> Self {
        let uri = upstream.uri();
        let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(80));
        let target = uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        let named = if port == 80 { host.to_owned() } else { format!("{host}:{port}") };
        Self {
            name: format!("{host}:{port}").into(),
            place: uri.clone(),
            joint: if uri.query().is_some() { b'&' } else { b'?' },
            start: format!("POST {target}").into_bytes(),
            common: format!(" HTTP/1.1\r\nhost: {named}\r\nx-forwarded-proto: https\r\n").into_bytes(),
        }
    }

    /// Appends the request to `output`, which is empty.
    pub(crate) fn write(&self, plain: &Plain<'_, '_>, remote: Option<Remote>, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.start);
        if !plain.query.is_empty() {
            output.push(self.joint);
            output.extend_from_slice(plain.query.as_bytes());
        }
        output.extend_from_slice(&self.common);
        for Header { name, value } in plain.headers {
            let known = |known: &str| name.eq_ignore_ascii_case(known);
            match name.len() {
                4 if known("host") => write_header("x-forwarded-host", value, output),
                14 if known("content-length") => {}
                2 if known("te") => {}
                7 if known("trailer") => {}
                10 if known("connection") || known("keep-alive") => {}
                16 if known("proxy-connection") || known("x-forwarded-host") => {}
                17 if known("x-forwarded-proto") => {}
                18 if known("proxy-authenticate") => {}
                19 if known("proxy-authorization") => {}
                15 if known("x-forwarded-for") && remote.is_some() => {}
                _ => write_header(name, value, output),
            }
        }
        if let Some(remote) = remote {
            write_forwarded_for(plain.headers, remote, output);
        }
        let length = plain.body.len();
        // Writing to a vector does not fail.
        let _ = write!(output, "content-length: {length}\r\n\r\n");
        output.extend_from_slice(plain.body);
    }
}

/// The way so far, as the client tells it, and the client itself.
fn write_forwarded_for(headers: &[Header<'_>], remote: Remote, output: &mut Vec<u8>) {
    output.extend_from_slice(b"x-forwarded-for: ");
    for before in headers.iter().filter(|header| header.name.eq_ignore_ascii_case("x-forwarded-for")) {
        output.extend_from_slice(before.value);
        output.extend_from_slice(b", ");
    }
    // Writing to a vector does not fail.
    let _ = write!(output, "{}\r\n", remote.address.ip().to_canonical());
}
