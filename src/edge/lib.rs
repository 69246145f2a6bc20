//! The entrance: who gets in by the HTTPS port and becomes a request.
//!
//! It knows no route and no model. It turns connections away, or hands each to a handler with what the certificate
//! proves, and says what a request may cost and how a refusal looks.

/// The writing half of a stream that is checked each time before it is used.
macro_rules! writes_after_check {
    () => {
        fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.check(context)?;
            Pin::new(&mut self.stream).poll_write(context, bytes)
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.check(context)?;
            Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
        }

        fn is_write_vectored(&self) -> bool {
            self.stream.is_write_vectored()
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.check(context)?;
            Pin::new(&mut self.stream).poll_flush(context)
        }
    };
}

mod acceptor;
mod behind;
pub mod body;
mod caller;
mod dispatch;
mod gauges;
mod handler;
mod limits;
mod prefixed;
mod problem;
mod requests;
mod serve;
mod sessions;

pub use acceptor::Entrance;
pub use behind::{client_along, client_behind};
pub use caller::{Caller, Identity, admit};
pub use gauges::Gauges;
pub use handler::{Answering, BoxError, COMMON_HEADERS, Handler, Until};
pub use limits::Limits;
pub use prefixed::Prefixed;
pub use problem::{PROBLEM_JSON, Problem};
