//! The headers that go with a request and an answer, and tell an upstream of the way that a request came.

use crate::route::Route;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Method, Request, Uri};
use std::net::SocketAddr;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Nodes serve nothing else.
const HTTPS: HeaderValue = HeaderValue::from_static("https");

/// The other end of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Where it connects from.
    pub address: SocketAddr,
    /// Whether it has shown a client certificate of the cluster that is valid.
    pub is_certified: bool,
}

impl Remote {
    /// One that has shown nothing.
    pub const fn unknown(address: SocketAddr) -> Self {
        Self { address, is_certified: false }
    }
}

/// The head of a request as upstreams are to see it; only the URL differs from one to the other.
#[derive(Clone)]
pub(super) struct Outbound {
    pub(super) route: Route,
    method: Method,
    /// What the client asked for.
    pub(super) asked: Uri,
    headers: HeaderMap,
}

impl Outbound {
    pub(super) fn new(route: Route, remote: Option<Remote>, mut parts: Parts) -> Self {
        let headers = to_upstream(&mut parts, remote);
        Self { route, method: parts.method, asked: parts.uri, headers }
    }

    /// Whether a model that is asked twice does no more than one that is asked once: by its method (RFC 9110, 9.2.2), or
    /// because an inference is one by contract.
    pub(super) fn is_repeatable(&self) -> bool {
        match self.route {
            Route::Prediction => true,
            Route::BesidePrediction => self.method.is_idempotent(),
            Route::Inference => self.method.is_idempotent() || self.asked.path().ends_with("/infer"),
        }
    }

    pub(super) fn with_body<B>(self, url: Uri, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = url;
        *request.headers_mut() = self.headers;
        request
    }
}

/// The headers of a request as its upstream is to see them.
fn to_upstream(parts: &mut Parts, remote: Option<Remote>) -> HeaderMap {
    let mut headers = std::mem::take(&mut parts.headers);
    let host = host(&headers, parts);
    strip_hop_by_hop(&mut headers);
    // The client of the upstream sets host and length itself; `expect` was settled with our own client.
    for name in [HOST, CONTENT_LENGTH, EXPECT] {
        headers.remove(name);
    }
    if let Some(remote) = remote {
        let way = way(&headers, remote.address);
        headers.insert(FORWARDED_FOR, way);
    }
    headers.insert(FORWARDED_PROTO, HTTPS);
    if let Some(host) = host {
        headers.insert(FORWARDED_HOST, host);
    }
    headers
}

/// What the client called this node: in HTTP/2 that is in the target, in HTTP/1.1 in a header.
fn host(headers: &HeaderMap, parts: &Parts) -> Option<HeaderValue> {
    match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => headers.get(HOST).cloned(),
    }
}

/// The way so far, as the client tells it, and the client itself.
fn way(headers: &HeaderMap, remote: SocketAddr) -> HeaderValue {
    let mut way = Vec::new();
    for before in headers.get_all(FORWARDED_FOR) {
        way.extend_from_slice(before.as_bytes());
        way.extend_from_slice(b", ");
    }
    way.extend_from_slice(remote.ip().to_canonical().to_string().as_bytes());
    HeaderValue::from_bytes(&way).expect("header values with a comma and an address between are one")
}

/// Removes what belongs to one connection only (RFC 9110, 7.6.1), that which `connection` names included.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let lists = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named = lists.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse().ok());
    let named: Vec<HeaderName> = named.collect();
    for name in named {
        headers.remove(name);
    }
    for name in [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection"] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn sent(target: &str, remote: Option<&str>, headers: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).expect("a request").into_parts();
        let headers =
            to_upstream(&mut parts, remote.map(|remote| Remote::unknown(remote.parse().expect("an address"))));
        let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
        let mut sent: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        sent.sort_unstable();
        sent
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_end_to_end_headers_are_passed_on() {
        let headers = [
            ("connection", "close, X-Private"),
            ("connection", "x-second"),
            ("keep-alive", "timeout=5"),
            ("x-private", "1"),
            ("x-second", "2"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("host", "front.example"),
            ("content-length", "3"),
            ("expect", "100-continue"),
            ("content-type", "application/json"),
            ("authorization", "Bearer kept"),
            ("x-canary-key", "alice"),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("tracestate", "a=1,b=2"),
        ];
        let expected = [
            ("authorization", "Bearer kept"),
            ("content-type", "application/json"),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("tracestate", "a=1,b=2"),
            ("x-canary-key", "alice"),
            ("x-forwarded-host", "front.example"),
            ("x-forwarded-proto", "https"),
        ];
        assert_eq!(sent("/predict", None, &headers), pairs(&expected));
    }

    #[test]
    fn the_upstream_is_told_the_way() {
        let headers = [("x-forwarded-for", "10.0.0.1"), ("x-forwarded-for", "10.0.0.2"), ("x-forwarded-proto", "http")];
        let expected = [
            ("x-forwarded-for", "10.0.0.1, 10.0.0.2, 192.168.1.7"),
            ("x-forwarded-host", "front:50051"),
            ("x-forwarded-proto", "https"),
        ];
        assert_eq!(sent("https://front:50051/v2", Some("[::ffff:192.168.1.7]:4711"), &headers), pairs(&expected));
        let told = sent("/v2", Some("[2001:db8::1]:1"), &[]);
        assert_eq!(told, pairs(&[("x-forwarded-for", "2001:db8::1"), ("x-forwarded-proto", "https")]));
        let hidden = [("connection", "x-forwarded-for"), ("x-forwarded-for", "10.0.0.1")];
        assert_eq!(sent("/v2", Some("127.0.0.1:1"), &hidden)[0].1, "127.0.0.1");
    }
}
