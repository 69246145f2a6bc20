//! An answer of HTTP/1.1, in the bytes that were read of its connection.

/// Status line and headers as they came, and the body.
pub(crate) struct Answer {
    pub(crate) head: Vec<String>,
    #[allow(dead_code, reason = "some tests look at the head alone")]
    pub(crate) body: String,
}

impl Answer {
    /// Takes the answer that `received` begins with, once all of it is there.
    pub(crate) fn take(received: &mut Vec<u8>) -> Option<Self> {
        let end = received.windows(4).position(|four| four == b"\r\n\r\n")?;
        let text = String::from_utf8(received[..end].to_vec()).expect("heads are text");
        let mut answer = Self { head: text.split("\r\n").map(str::to_owned).collect(), body: String::new() };
        let rest = &received[end + 4..];
        let (body, length) = if answer.header("transfer-encoding") == Some("chunked") {
            unchunk(rest)?
        } else {
            let length =
                answer.header("content-length").map_or(0, |length| length.parse().expect("a length is a number"));
            (rest.get(..length)?.to_vec(), length)
        };
        answer.body = String::from_utf8(body).expect("bodies are text");
        received.drain(..end + 4 + length);
        Some(answer)
    }

    /// The value of a header, whose name is in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.iter().skip(1).filter_map(|line| line.split_once(": "));
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    #[allow(dead_code, reason = "some tests compare the whole head")]
    pub(crate) fn is_ok(&self) -> bool {
        self.head[0].starts_with("HTTP/1.1 200")
    }
}

/// The body in `bytes`, if all chunks are there, and their length.
fn unchunk(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let line = at + bytes[at..].windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&bytes[at..line]).expect("sizes are text");
        let size = usize::from_str_radix(size, 16).expect("sizes are numbers");
        at = line + 2 + size + 2;
        body.extend_from_slice(bytes.get(line + 2..at)?.strip_suffix(b"\r\n").expect("chunks end with a line's end"));
        if size == 0 {
            return Some((body, at));
        }
    }
}
