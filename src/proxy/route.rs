//! The routes of requests to the models: by which of them one comes, and where it goes at an upstream.

use crate::body::{Ahead, NO_LIMIT, Reading};
use crate::upload::BODY_LIMIT;
use crate::upstream::address::Upstream;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::uri::PathAndQuery;
use http::{Method, Uri};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The methods that are passed on. What is left out says nothing to a model: TRACE and CONNECT are about the way there.
pub const METHODS: [Method; 7] =
    [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::HEAD, Method::OPTIONS];

/// The path of predictions.
pub(super) const PREDICT: &str = "/predict";
const INFERENCE: &str = "/v2";

/// A way in to the models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `POST /predict`: a JSON body, and an answer even without an upstream.
    Prediction,
    /// Another method of `/predict`, for an upstream that knows what it means.
    BesidePrediction,
    /// The Open Inference Protocol: `/v2` and all below it.
    Inference,
}

impl Route {
    /// The paths of the ways in, as patterns of which the last stands for all paths below one.
    pub const PATHS: [&str; 3] = [PREDICT, INFERENCE, "/v2/{path}"];

    /// Whether `path` leads to the models, with whatever method.
    pub(crate) fn is_at(path: &str) -> bool {
        path == PREDICT || is_inference(path)
    }

    /// The way in that `method` and `path` name, if they name one.
    pub fn of(method: &Method, path: &str) -> Option<Self> {
        if path == PREDICT {
            return if *method == Method::POST {
                Some(Self::Prediction)
            } else {
                passed(method, Self::BesidePrediction)
            };
        }
        if is_inference(path) { passed(method, Self::Inference) } else { None }
    }

    /// Whether a request is one that users make for the model's work, and so says something about it. Probes and metadata
    /// are answered by other code, and asked for by machines: a canary that does nothing else well would look good by them.
    pub(super) fn is_work(self, method: &Method, path: &str) -> bool {
        if [Method::OPTIONS, Method::HEAD].contains(method) {
            return false;
        }
        match self {
            Self::Prediction => true,
            // Of an upstream this is the readiness probe, and whoever looks from outside asks the same.
            Self::BesidePrediction => *method != Method::GET,
            // Servers decode paths before they look at them.
            Self::Inference => *method != Method::GET || !is_metadata(&decoded(path)),
        }
    }

    /// How a request's body is read.
    pub(super) fn reading(self, headers: &HeaderMap) -> Reading {
        let ahead = if self == Self::Prediction || is_json(headers) { Ahead::Always } else { Ahead::IfSmall };
        let limit = match self {
            Self::Prediction | Self::BesidePrediction => BODY_LIMIT,
            Self::Inference => NO_LIMIT,
        };
        Reading { ahead, limit }
    }

    /// Whether `path` would leave `/v2` at an upstream that resolves it.
    pub(super) fn is_left_by(self, path: &str) -> bool {
        self == Self::Inference && climbs(path)
    }

    /// Where a request for `asked` goes: `/predict` to the upstream's URL with the client's query added, all else to the
    /// upstream's origin. None when the query is too long.
    pub(super) fn url(self, upstream: &Upstream, asked: &Uri) -> Option<Uri> {
        let path_and_query = match self {
            Self::Prediction | Self::BesidePrediction => {
                let Some(query) = asked.query().filter(|query| !query.is_empty()) else {
                    return Some(upstream.uri().clone());
                };
                let joint = if upstream.uri().query().is_some() { '&' } else { '?' };
                let own = upstream.uri().path_and_query().map_or("/", PathAndQuery::as_str);
                // Each part is a good one, so it is only the length that can be wrong.
                Some(format!("{own}{joint}{query}").parse().ok()?)
            }
            Self::Inference => asked.path_and_query().cloned(),
        };
        let mut parts = upstream.uri().clone().into_parts();
        parts.path_and_query = path_and_query;
        Uri::from_parts(parts).ok()
    }
}

/// Whether `path` is that of the protocol, or below it.
fn is_inference(path: &str) -> bool {
    path.strip_prefix(INFERENCE).is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// Whether a `GET` of `path`, which is one of the protocol, asks for health, readiness or metadata (Open Inference Protocol,
/// version 2).
fn is_metadata(path: &str) -> bool {
    let below = path.strip_prefix(INFERENCE).unwrap_or(path).trim_matches('/');
    let segments: Vec<&str> = below.split('/').filter(|segment| !segment.is_empty()).collect();
    matches!(
        segments.as_slice(),
        [] | ["health", ..]
            | ["models", _]
            | ["models", _, "ready"]
            | ["models", _, "versions", _]
            | ["models", _, "versions", _, "ready"]
    )
}

/// A path as servers read it.
pub(super) fn decoded(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
}

fn passed(method: &Method, route: Route) -> Option<Route> {
    METHODS.contains(method).then_some(route)
}

/// Whether the headers say that the body is JSON: `application/json`, or a type whose name ends in `+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let named = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = named.and_then(|named| named.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

/// Whether a path has a segment `..`, in whatever way servers may read one.
fn climbs(path: &str) -> bool {
    if !path.contains(['.', '%']) {
        return false;
    }
    let plain =
        path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").replace('\\', "/");
    plain.split('/').any(|segment| segment == "..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn models_have_two_ways_in() {
        let of = |method: Method, path| Route::of(&method, path);
        assert_eq!(of(Method::POST, "/predict"), Some(Route::Prediction));
        for method in METHODS {
            assert!(of(method.clone(), "/predict").is_some(), "{method}");
            for path in ["/v2", "/v2/", "/v2/models/m/infer"] {
                assert_eq!(of(method.clone(), path), Some(Route::Inference), "{method} {path}");
            }
        }
        assert_eq!(of(Method::GET, "/predict"), Some(Route::BesidePrediction));
        for path in ["/", "/predict/", "/predictions", "/v1/models", "/v2x", "/v20/models", "v2", "*"] {
            assert_eq!(of(Method::POST, path), None, "{path}");
        }
        assert_eq!(of(Method::TRACE, "/v2"), None);
        assert_eq!(of(Method::CONNECT, "/predict"), None);
    }

    #[test]
    fn probes_and_metadata_are_no_work() {
        let is_work = |method: Method, path| Route::of(&method, path).is_some_and(|route| route.is_work(&method, path));
        for path in ["/predict", "/v2/models/m/infer", "/v2/models/m/versions/1/infer", "/v2/health/live"] {
            assert!(
                is_work(Method::POST, path) && !is_work(Method::OPTIONS, path) && !is_work(Method::HEAD, path),
                "{path}"
            );
        }
        let about =
            ["/v2", "/v2/", "/v2/health/ready", "/v2/models/m", "/v2/models/m/ready", "/v2/models/m/versions/1"];
        for path in about.into_iter().chain(["/predict", "/v2/models/m/versions/1/ready"]) {
            assert!(!is_work(Method::GET, path), "{path}");
        }
        for path in ["/v2/models/m/answers", "/v2/files/7", "/v2/models/m/versions/1/answers"] {
            assert!(is_work(Method::GET, path), "{path}");
        }
    }

    #[test]
    fn each_way_has_its_url() {
        let url = |route: Route, upstream: &str, asked: &str| {
            let upstream: Upstream = upstream.parse().expect("a URL");
            route.url(&upstream, &asked.parse().expect("a target")).map(|url| url.to_string()).expect("it is short")
        };
        let predict = |upstream, asked| url(Route::Prediction, upstream, asked);
        assert_eq!(predict("http://m:1/p", "/predict"), "http://m:1/p");
        assert_eq!(predict("http://m:1/p", "/predict?"), "http://m:1/p");
        assert_eq!(predict("http://m:1/p", "/predict?a=1&b=%2F"), "http://m:1/p?a=1&b=%2F");
        assert_eq!(predict("http://m:1/p?t=1", "/predict?a=1"), "http://m:1/p?t=1&a=1");
        assert_eq!(predict("http://m:1", "https://h/predict?a=1"), "http://m:1/?a=1");
        assert_eq!(url(Route::BesidePrediction, "http://m:1/p", "/predict?a"), "http://m:1/p?a");
        let inference = |asked| url(Route::Inference, "http://m:1/predict?t=1", asked);
        assert_eq!(inference("/v2"), "http://m:1/v2");
        assert_eq!(inference("/v2/models/a%20b/infer?x=1&y="), "http://m:1/v2/models/a%20b/infer?x=1&y=");
        assert_eq!(inference("https://front/v2/health/ready"), "http://m:1/v2/health/ready");
        let long: Uri = format!("/predict?{}", "x".repeat(65_000)).parse().expect("a target");
        let upstream: Upstream = format!("http://m/{}", "y".repeat(1_000)).parse().expect("a URL");
        assert_eq!(Route::Prediction.url(&upstream, &long), None);
    }

    #[test]
    fn a_path_is_what_servers_read_in_it() {
        let is_work = |path| Route::Inference.is_work(&Method::GET, path);
        for path in ["/v2/health/live", "/v2/%68ealth/live", "/v2/models/m", "/v2/models/m/%72eady", "/v2//health/live"]
        {
            assert!(!is_work(path), "{path}");
        }
        assert!(is_work("/v2/models/m/stats"));
    }

    #[test]
    fn no_path_leads_out_of_the_protocol() {
        for path in ["/v2/../admin", "/v2/..", "/v2/%2e%2E/admin", "/v2/.%2e/x", "/v2/a%2f..%2fx", "/v2/..\\x"] {
            assert!(Route::Inference.is_left_by(path), "{path}");
        }
        for path in ["/v2", "/v2/models/resnet..50/infer", "/v2/models/a.b/versions/1", "/v2/%20/x"] {
            assert!(!Route::Inference.is_left_by(path), "{path}");
        }
    }

    #[test]
    fn json_is_told_by_its_type() {
        let json =
            |value: &'static str| is_json(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]));
        assert!(json("application/json") && json("Application/JSON; charset=utf-8") && json("application/ld+json"));
        assert!(!json("application/octet-stream") && !json("text/json-ish") && !is_json(&HeaderMap::new()));
    }
}
