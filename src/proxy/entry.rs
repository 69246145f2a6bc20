//! The one way in for requests to the models: `/predict` and `/v2` are answered here, all else by the other routes.
//!
//! Requests to the models are most of the traffic, so they are told apart before any router looks at a request.

use crate::body::Body;
use crate::fast::connection::FastPath;
use crate::fast::relay::Underway;
use crate::headers::Remote;
use crate::predict::Proxy;
use crate::route::Route;
use crate::upload::RequestBody;
use bytes::Bytes;
use edge::{Answering, BoxError, COMMON_HEADERS, Caller, Handler, Prefixed, Problem, Until};
use http::header::{ALLOW, HeaderValue};
use http::{Request, Response};
use http_body_util::Either;
use hyper::body::Incoming;
use member::unix_millis;
use std::convert::Infallible;
use std::future::{Future, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::Service;

/// Serves the connections of a node: requests to the models by a proxy, and others by a service of routes, which find the
/// [`Caller`] in a request's extensions.
#[derive(Clone)]
pub struct Entry<R> {
    fast: FastPath,
    routes: R,
}

impl<R> Entry<R> {
    /// An entry to `proxy`, and to `routes` for what is not the models'.
    pub fn new(proxy: Proxy, routes: R) -> Self {
        Self { fast: FastPath::new(proxy, &COMMON_HEADERS), routes }
    }

    /// Answers one request, of which the fast way may have begun something.
    pub fn answer<B, A>(
        &mut self,
        caller: &Arc<Caller>,
        begun: Option<Underway>,
        mut request: Request<B>,
    ) -> Answering<Either<Body, A>>
    where
        B: RequestBody + Send + 'static,
        R: Service<Request<B>, Response = Response<A>, Error = Infallible, Future: Send + 'static>,
        A: Send + 'static,
    {
        let path = request.uri().path();
        if let Some(route) = Route::of(request.method(), path) {
            let (proxy, remote) = (self.fast.proxy().clone(), Some(remote(caller)));
            return Box::pin(async move {
                let response = match begun {
                    Some(underway) => proxy.carry_on(underway, route, remote, request).await,
                    None => proxy.answer(route, remote, request).await,
                };
                with_common_headers(response).map(Either::Left)
            });
        }
        if Route::is_at(path) {
            return Box::pin(ready(no_such_method(&request).map(Either::Left)));
        }
        request.extensions_mut().insert(Arc::clone(caller));
        let answer = self.routes.call(request);
        Box::pin(async move {
            match answer.await {
                Ok(response) => response.map(Either::Right),
                Err(never) => match never {},
            }
        })
    }
}

impl<R, A> Handler for Entry<R>
where
    R: Service<Request<Incoming>, Response = Response<A>, Error = Infallible, Future: Send + 'static>,
    R: Clone + Send + Sync + 'static,
    A: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Begun = Underway;
    type Body = Either<Body, A>;

    fn fast<S>(
        &self,
        stream: S,
        remote: SocketAddr,
        until: Until,
    ) -> impl Future<Output = (Prefixed<S>, Option<Underway>)> + Send
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.fast.serve(stream, Some(Remote::unknown(remote)), until)
    }

    fn answer(
        &mut self,
        caller: &Arc<Caller>,
        begun: Option<Underway>,
        request: Request<Incoming>,
    ) -> Answering<Self::Body> {
        Self::answer(self, caller, begun, request)
    }
}

fn remote(caller: &Caller) -> Remote {
    Remote { address: caller.remote, is_certified: caller.is_certified(unix_millis()) }
}

/// The answer to a method that is not passed on.
fn no_such_method<B>(request: &Request<B>) -> Response<Body> {
    let problem = Problem::no_such_method(request.method(), request.uri());
    let mut response = problem.into_answer().map(Body::whole);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET,POST,PUT,DELETE,PATCH,HEAD,OPTIONS"));
    with_common_headers(response)
}

fn with_common_headers<B>(mut response: Response<B>) -> Response<B> {
    response.headers_mut().extend(COMMON_HEADERS);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::METHODS;
    use http::{Method, StatusCode};

    #[test]
    fn the_methods_that_are_passed_on_are_those_that_are_allowed() {
        let request = Request::builder().method(Method::TRACE).uri("/v2").body(()).expect("a request");
        let response = no_such_method(&request);
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        let allowed = response.headers()[ALLOW].to_str().expect("text");
        assert_eq!(allowed.split(',').collect::<Vec<_>>(), METHODS.each_ref().map(Method::as_str));
    }
}
