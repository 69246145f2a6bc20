//! The smoke test of a canary's upstream before its first step: warm-ups that do not count, then measured requests.

use crate::upstream::address::{Upstream, UpstreamError};
use crate::upstream::client::Forwarder;
use http::Uri;
use service::Smoke;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Requests whose time does not count: the first ones make connections, caches and compiled code.
const WARM_UPS: usize = 3;
/// Requests whose time does. With so few the p95 is the longest but for one in twenty: of ten, the longest.
const MEASURED: usize = 10;
/// All of it together. The members wait 2 s for a vote, of which this leaves a part for the way.
const LONGEST: Duration = Duration::from_millis(1_700);

/// Puts the upstream to the test.
pub(crate) async fn smoke_test(forwarder: &Forwarder, upstream: &Upstream, smoke: &Smoke) -> Result<(), String> {
    let uri = place(upstream, smoke.path.as_deref()).map_err(|error| error.to_string())?;
    let tested = timeout(LONGEST, async {
        for _ in 0..WARM_UPS {
            forwarder.ask(&uri, LONGEST).await?;
        }
        let mut slowest = Duration::ZERO;
        for _ in 0..MEASURED {
            let asked = Instant::now();
            forwarder.ask(&uri, LONGEST).await?;
            slowest = slowest.max(asked.elapsed());
        }
        Ok::<_, String>(slowest)
    });
    let limit = smoke.max_p95.duration();
    match tested.await {
        Err(_) => Err(format!(
            "smoke test: {uri} did not answer {} requests within {:.1} s",
            WARM_UPS + MEASURED,
            LONGEST.as_secs_f64()
        )),
        Ok(Err(why)) => Err(format!("smoke test: {why}")),
        Ok(Ok(slowest)) if slowest > limit => {
            let (slowest, limit) = (slowest.as_secs_f64() * 1e3, limit.as_millis());
            Err(format!("smoke test: the p95 of {MEASURED} requests to {uri} is {slowest:.0} ms, the limit {limit} ms"))
        }
        Ok(Ok(_)) => Ok(()),
    }
}

/// The upstream's own URL, or another path of its origin.
fn place(upstream: &Upstream, path: Option<&str>) -> Result<Uri, UpstreamError> {
    let uri = upstream.uri();
    let Some(path) = path else { return Ok(uri.clone()) };
    let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
    let whole = format!("http://{authority}{path}");
    whole.parse().map_err(|_| UpstreamError::NotAUrl(whole))
}
