//! `GET /routing/state`: the state, its entity tag, and waiting for the next.

use super::shown;
use super::state::Api;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use edge::Problem;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use member::{View, boottime};
use model::Time;
use schema::{ServedState, parse_span};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Longest wait of one request: below the idle limits of common proxies. A longer one is shortened to it.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(60);
/// A proposal that is not decided for so long is news to those who wait: the protocol's bound for a silent question.
const OPEN_FOR_LONG: Duration = Duration::from_secs(2);
/// Of a tag's hash, enough that two states never share one.
const TAG_BYTES: usize = 16;

#[derive(Debug, Deserialize)]
pub(super) struct WaitQuery {
    wait: Option<String>,
}

/// Shows the state, or, where the client names the tag of what it has, waits for another.
pub(super) async fn routing_state(
    State(api): State<Arc<Api>>,
    query: Result<Query<WaitQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_request(error.body_text()))?;
    let wait = query.wait.as_deref().map(parse_wait).transpose()?.unwrap_or_default();
    let deadline = Instant::now() + wait;
    let mut changes = api.handle.changes();
    loop {
        let (shown, lease_end) = {
            let view = changes.borrow_and_update();
            (Shown::of(&view, boottime(), &api), view.lease_end)
        };
        if !is_known(&headers, &shown.tag) {
            return Ok(shown.into_response(StatusCode::OK));
        }
        if Instant::now() >= deadline {
            return Ok(shown.into_response(StatusCode::NOT_MODIFIED));
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() {
                return Ok(shown.into_response(StatusCode::NOT_MODIFIED));
            },
            () = sleep_until(deadline) => {}
            () = lease_over(lease_end) => {}
            () = api.stopping.cancelled() => return Ok(shown.into_response(StatusCode::NOT_MODIFIED)),
        }
    }
}

/// Ends when a running lease does; a lease that is over already changes nothing any more.
async fn lease_over(end: Time) {
    let now = boottime();
    if end <= now {
        return std::future::pending().await;
    }
    // A timer counts whole milliseconds and no suspended time; the state is looked at anew after it either way.
    tokio::time::sleep(end.since(now) + Duration::from_millis(1)).await;
}

/// Reads `30s`, `1m30s` or a plain number of seconds.
fn parse_wait(text: &str) -> Result<Duration, Problem> {
    let wrong = || Problem::bad_request("wait must be a duration of at most a minute, such as 30s");
    let seconds = text.parse().ok().map(Duration::from_secs);
    Ok(seconds.or_else(|| parse_span(text)).ok_or_else(wrong)?.min(MAX_WAIT))
}

/// The document as it is sent, and its tag, which covers all of it but a proposal that has only just been made.
struct Shown {
    body: String,
    tag: String,
}

impl Shown {
    fn of(view: &View, now: Time, api: &Api) -> Self {
        let document = shown::served(view, now, |time| api.date(time), |model| api.proxy.own_upstream(model));
        let body = serde_json::to_string(&document).expect("strings, numbers and maps with string keys are JSON");
        // A proposal that is open for a moment is no news: everyone who waits would wake twice for each change.
        let is_news = view.pending.is_some_and(|pending| now.since(pending.since) >= OPEN_FOR_LONG);
        let quiet = ServedState { pending: if is_news { document.pending.clone() } else { None }, ..document };
        let told = serde_json::to_string(&quiet).expect("strings, numbers and maps with string keys are JSON");
        let hash = Sha256::digest(told.as_bytes());
        let tag = HEXLOWER.encode(&hash[..TAG_BYTES]);
        Self { body, tag: format!("\"{tag}\"") }
    }

    fn into_response(self, status: StatusCode) -> Response {
        let tag = HeaderValue::try_from(self.tag).expect("hexadecimal digits in quotes are a header value");
        // Caches may keep it and must ask each time whether it still holds.
        let headers = [(ETAG, tag), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
        if status == StatusCode::NOT_MODIFIED {
            return (status, headers).into_response();
        }
        let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        (status, headers, kind, self.body).into_response()
    }
}

/// Whether the client has the document with this tag; weak tags compare as strong ones do, RFC 9110 §13.1.2.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let listed = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    listed.flat_map(|list| list.split(',')).map(str::trim).any(|known| known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_duration_and_never_longer_than_a_minute() {
        for (text, seconds) in [("30s", 30), ("30", 30), ("1m", 60), ("2h", 60), ("0", 0), ("1m30s", 60)] {
            assert_eq!(parse_wait(text).ok(), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "soon", "-5s", "30x", "1 month", "99999999999999999999"] {
            assert!(parse_wait(text).is_err(), "{text:?} must be refused");
        }
    }

    #[test]
    fn tags_are_found_in_lists_and_weak_forms() {
        let known = |value: &'static str| {
            is_known(&HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(value))]), "\"ab\"")
        };
        assert!(known("\"ab\"") && known("\"x\", W/\"ab\""));
        assert!(!known("\"x\"") && !known("ab") && !known(""));
    }
}
