//! A client of HTTP/1.1.

use crate::answer::Answer;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a client does before it sends its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    Sends,
    /// It waits to be asked, with `expect: 100-continue`.
    Waits,
}

/// Uploads `length` bytes, all of them before it reads, and gives the answer's status line and body.
pub(crate) async fn upload(stream: &mut TcpStream, length: usize, first: First) -> io::Result<(String, String)> {
    let expect = if first == First::Waits { "expect: 100-continue\r\n" } else { "" };
    let head = format!("POST /v2/models/m/infer HTTP/1.1\r\nhost: a\r\n{expect}content-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut received = Vec::new();
    if first == First::Waits {
        let answer = read(stream, &mut received).await?;
        if !answer.head[0].contains(" 100 ") {
            return Ok((answer.head[0].clone(), answer.body));
        }
    }
    let piece = vec![b'x'; 64 * 1024];
    for at in (0..length).step_by(piece.len()) {
        stream.write_all(&piece[..piece.len().min(length - at)]).await?;
    }
    let answer = read(stream, &mut received).await?;
    Ok((answer.head[0].clone(), answer.body))
}

/// The next answer.
pub(crate) async fn read(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<Answer> {
    loop {
        if let Some(answer) = Answer::take(received) {
            return Ok(answer);
        }
        if stream.read_buf(received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
