//! Reading a request's body without being at the mercy of who sends it.

use crate::Problem;
use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::StatusCode;
use http::header::EXPECT;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use schema::code;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::timeout;

/// Longest body of a request that changes something: a thousand times what any of them needs.
pub const MAX_BODY: usize = 1024 * 1024;
/// Time to send it; a slow link carries the few bytes of a real request in a fraction of that.
const READ_TIME: Duration = Duration::from_secs(10);
/// Of a body that is too long, this much is read and thrown away before the answer, because a connection closed with
/// unread bytes is reset, and the reset may overtake the answer that says why.
const DRAINED: usize = 16 * 1024 * 1024;
/// How long such a body may take before the answer comes anyway.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Reads what is left of a request that is refused unread, for as long as that is cheap: the answer then reaches a client
/// that sends everything before it reads.
pub async fn discard(request: Request) {
    if !request.headers().contains_key(EXPECT) {
        drain(&mut request.into_body()).await;
    }
}

/// The whole body, at most [`MAX_BODY`] bytes within [`READ_TIME`].
pub async fn read(request: Request) -> Result<Bytes, Problem> {
    // Who waits for "100 Continue" has sent nothing yet: there is nothing to drain.
    let awaits_leave = request.headers().contains_key(EXPECT);
    let mut body = request.into_body();
    let announced = http_body::Body::size_hint(&body).lower();
    if announced > MAX_BODY as u64 {
        if !awaits_leave {
            drain(&mut body).await;
        }
        return Err(Problem::too_large(MAX_BODY));
    }
    let Ok(result) = timeout(READ_TIME, Limited::new(&mut body, MAX_BODY).collect()).await else {
        let detail = format!("the body did not arrive within {} s", READ_TIME.as_secs());
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, code::BODY_TIMEOUT, "The body came too slowly", detail));
    };
    match result {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            drain(&mut body).await;
            Err(Problem::too_large(MAX_BODY))
        }
        Err(error) => Err(Problem::bad_request(format!("the body broke off: {error}"))),
    }
}

/// Read what a body says, which must be one JSON object: serde would take an array of the fields in their order, too.
pub fn parse_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let wrong = |what: String| Problem::bad_request(format!("the body is not what is expected: {what}"));
    if body.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(wrong("it must be a JSON object, { … }".into()));
    }
    serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))
}

async fn drain(body: &mut Body) {
    let discard = async {
        let mut left = DRAINED;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    // Either way the answer follows.
    let _ = timeout(DRAIN_TIME, discard).await;
}
