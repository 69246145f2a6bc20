//! Bytes on their way out, nearly always without a timer.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// A client that does not take a piece of an answer within this time, of some 16 KiB at most, is not there any more.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes to a client.
pub(super) async fn write<S: AsyncWrite + Unpin>(stream: &mut S, output: &[u8]) -> io::Result<()> {
    let mut writing = pin!(async {
        stream.write_all(output).await?;
        stream.flush().await
    });
    match at_once(writing.as_mut()).await {
        Some(written) => written,
        None => timeout(WRITE_TIMEOUT, writing).await?,
    }
}

/// What comes of `future` if it is there at once. Nearly everything fits into a socket's buffer, and needs no timer.
pub(super) async fn at_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
