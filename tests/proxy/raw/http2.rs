//! A client of HTTP/2 with one stream.

use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The window of a stream and of a connection before anybody enlarges it.
const WINDOW: i64 = 65_535;
/// The largest frame that everybody takes.
const LARGEST: usize = 16_384;
/// An error code (RFC 9113, 7).
pub(crate) const NO_ERROR: u32 = 0;

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn number(&self) -> u32 {
        self.payload.get(..4).map_or(0, |four| u32::from_be_bytes(four.try_into().expect("four bytes")))
    }
}

/// What a client has heard of its request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) status: Option<u16>,
    pub(crate) body: Vec<u8>,
    /// Whether the answer was ended.
    pub(crate) ended: bool,
    /// The error code with which the server reset the stream.
    pub(crate) reset: Option<u32>,
    /// Bytes of the body that were sent.
    pub(crate) sent: usize,
}

/// A connection with one request on it.
pub(crate) struct Client {
    writing: OwnedWriteHalf,
    frames: mpsc::UnboundedReceiver<Frame>,
    connection_window: i64,
    stream_window: i64,
    initial_window: i64,
    pub(crate) heard: Heard,
}

impl Client {
    /// Begins a request with a body of `length` bytes; of none, it is whole with its head.
    pub(crate) async fn begin(stream: TcpStream, target: &str, length: usize) -> io::Result<Self> {
        Self::begin_with(&[], stream, target, length).await
    }

    /// The same with these headers.
    pub(crate) async fn begin_with(
        headers: &[(&str, &str)],
        stream: TcpStream,
        target: &str,
        length: usize,
    ) -> io::Result<Self> {
        let (reading, mut writing) = stream.into_split();
        writing.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        let (sender, frames) = mpsc::unbounded_channel();
        tokio::spawn(read_frames(reading, sender));
        let mut client = Self {
            writing,
            frames,
            connection_window: WINDOW,
            stream_window: WINDOW,
            initial_window: WINDOW,
            heard: Heard::default(),
        };
        client.write(SETTINGS, 0, 0, &[]).await?;
        let flags = if length == 0 { END_HEADERS | END_STREAM } else { END_HEADERS };
        client.write(HEADERS, flags, 1, &head(headers, target, length)).await?;
        Ok(client)
    }

    /// Sends `length` bytes of the body, as the server takes them, and ends it if they are its last; for as long as the
    /// server does not reset the stream.
    pub(crate) async fn send(&mut self, length: usize, is_last: bool) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            while let Ok(frame) = self.frames.try_recv() {
                self.take(frame).await?;
            }
            let room = usize::try_from(self.connection_window.min(self.stream_window)).unwrap_or(0);
            if self.heard.reset.is_some() {
                break;
            }
            if room == 0 {
                self.hear().await?;
                continue;
            }
            let piece = left.min(room).min(LARGEST);
            left -= piece;
            let flags = if left == 0 && is_last { END_STREAM } else { 0 };
            self.write(DATA, flags, 1, &vec![b'x'; piece]).await?;
            self.connection_window -= piece as i64;
            self.stream_window -= piece as i64;
            self.heard.sent += piece;
        }
        Ok(())
    }

    /// Waits for something more from the server.
    pub(crate) async fn hear(&mut self) -> io::Result<()> {
        let frame = self.frames.recv().await.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.take(frame).await
    }

    /// Waits for the end of the answer.
    pub(crate) async fn hear_out(&mut self) -> io::Result<()> {
        while !self.heard.ended && self.heard.reset.is_none() {
            self.hear().await?;
        }
        Ok(())
    }

    /// Lets the server send so much more.
    pub(crate) async fn widen(&mut self, length: u32) -> io::Result<()> {
        self.write(WINDOW_UPDATE, 0, 0, &length.to_be_bytes()).await?;
        self.write(WINDOW_UPDATE, 0, 1, &length.to_be_bytes()).await
    }

    /// Resets the stream.
    pub(crate) async fn reset(&mut self, code: u32) -> io::Result<()> {
        self.write(RST_STREAM, 0, 1, &code.to_be_bytes()).await
    }

    /// Says that it goes away, and does.
    pub(crate) async fn go_away(mut self, code: u32) -> io::Result<()> {
        self.write(GOAWAY, 0, 0, &[[0; 4], code.to_be_bytes()].concat()).await
    }

    /// Goes away with a reset of the connection.
    pub(crate) fn break_off(self) {
        let stream: &TcpStream = self.writing.as_ref();
        stream.set_zero_linger().expect("a socket");
    }

    async fn take(&mut self, frame: Frame) -> io::Result<()> {
        match (frame.kind, frame.flags & ACK) {
            (SETTINGS, 0) => {
                for setting in frame.payload.chunks_exact(6) {
                    if setting[..2] == [0, 4] {
                        let size = i64::from(u32::from_be_bytes(setting[2..].try_into().expect("four bytes")));
                        self.stream_window += size - self.initial_window;
                        self.initial_window = size;
                    }
                }
                self.write(SETTINGS, ACK, 0, &[]).await?;
            }
            (PING, 0) => self.write(PING, ACK, 0, &frame.payload).await?,
            (WINDOW_UPDATE, _) if frame.stream == 0 => self.connection_window += i64::from(frame.number()),
            (WINDOW_UPDATE, _) => self.stream_window += i64::from(frame.number()),
            (HEADERS, _) => {
                self.heard.status = self.heard.status.or_else(|| status(&frame.payload));
                self.heard.ended |= frame.flags & END_STREAM != 0;
            }
            (DATA, _) => {
                self.heard.body.extend_from_slice(&frame.payload);
                self.heard.ended |= frame.flags & END_STREAM != 0;
            }
            (RST_STREAM, _) => self.heard.reset = Some(frame.number()),
            _ => {}
        }
        Ok(())
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).expect("frames are small").to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend_from_slice(&stream.to_be_bytes());
        frame.extend_from_slice(payload);
        self.writing.write_all(&frame).await
    }
}

async fn read_frames(mut reading: OwnedReadHalf, frames: mpsc::UnboundedSender<Frame>) {
    loop {
        let mut head = [0; 9];
        if reading.read_exact(&mut head).await.is_err() {
            return;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        if reading.read_exact(&mut payload).await.is_err() {
            return;
        }
        let stream = u32::from_be_bytes(head[5..].try_into().expect("four bytes"));
        if frames.send(Frame { kind: head[3], flags: head[4], stream, payload }).is_err() {
            return;
        }
    }
}

/// A request's head in HPACK, without an index or Huffman's code.
fn head(headers: &[(&str, &str)], target: &str, length: usize) -> Vec<u8> {
    let length = length.to_string();
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "a"),
        (":path", target),
        ("content-length", &length),
    ];
    let mut block = Vec::new();
    for (name, value) in fields.iter().chain(headers) {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("texts are short"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// The status, which is the first field of an answer's head: one of the static table (RFC 7541, A), or one with a name of it.
fn status(block: &[u8]) -> Option<u16> {
    let indexed = [200, 204, 206, 304, 400, 404, 500];
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20)?;
    match block[start..] {
        [byte @ 0x88..=0x8e, ..] => Some(indexed[usize::from(byte - 0x88)]),
        [0x48 | 0x08 | 0x18, length, ..] => {
            let text = &block[start + 2..start + 2 + usize::from(length & 0x7f)];
            if length & 0x80 == 0 { std::str::from_utf8(text).ok()?.parse().ok() } else { digits(text) }
        }
        _ => None,
    }
}

/// Digits in Huffman's code (RFC 7541, B): 0, 1 and 2 have five bits, the others six.
fn digits(text: &[u8]) -> Option<u16> {
    let bits: Vec<u8> = text.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let value = |bits: &[u8]| bits.iter().fold(0, |value, bit| value << 1 | u16::from(*bit));
    let (mut at, mut number) = (0, 0);
    while bits.len() - at >= 8 || bits[at..].contains(&0) {
        let (digit, length) = match value(bits.get(at..at + 5)?) {
            digit @ 0..=2 => (digit, 5),
            _ => (value(bits.get(at..at + 6)?).checked_sub(0x16)?, 6),
        };
        number = number * 10 + digit;
        at += length;
    }
    Some(number)
}
