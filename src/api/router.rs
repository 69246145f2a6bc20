//! Every route in one list, and what holds for all answers.

use super::state::Api;
use super::{metrics, openapi, outcomes, poll, read, rollouts, write};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, get, on, post};
use edge::Caller;
use edge::Problem;
use http::header::{HeaderName, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, StatusCode, Uri};
use proxy::{self, METHODS};
use std::sync::Arc;

/// One route: its method, its path, and what answers it.
type Route = (Method, &'static str, MethodRouter<Arc<Api>>);

/// The routes of one node.
pub fn router(api: Arc<Api>) -> Router {
    let routes = routes().into_iter().fold(Router::new(), |router, (_, path, handler)| router.route(path, handler));
    routes
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn(with_common_headers))
        .with_state(api)
}

fn routes() -> Vec<Route> {
    let mut routes = own_routes();
    for path in ["/predict", "/v2", "/v2/{*path}"] {
        routes.extend(METHODS.map(|method| {
            let filter =
                MethodFilter::try_from(method.clone()).expect("the methods that are passed on are common ones");
            (method, path, on(filter, models))
        }));
    }
    routes
}

fn own_routes() -> Vec<Route> {
    vec![
        (Method::GET, "/routing/state", get(poll::routing_state)),
        (Method::GET, "/health/snapshot", get(read::health_snapshot)),
        (Method::GET, "/history", get(read::history)),
        (Method::GET, "/livez", get(read::livez)),
        (Method::GET, "/readyz", get(read::readyz)),
        (Method::GET, "/metrics", get(metrics::metrics)),
        (Method::GET, "/openapi.json", get(openapi::document)),
        (Method::POST, "/routing/weights", post(write::weights)),
        (Method::POST, "/rollouts", post(rollouts::start)),
        (Method::GET, "/rollouts", get(rollouts::list)),
        (Method::GET, "/rollouts/current", get(rollouts::current)),
        (Method::POST, "/rollouts/current/{verb}", post(rollouts::say)),
        (Method::POST, "/rollouts/undo", post(rollouts::undo)),
        (Method::POST, "/models", post(rollouts::set_model)),
        (Method::POST, "/outcomes", post(outcomes::outcomes)),
        (Method::POST, "/members/{id}/drain", post(write::drain)),
        (Method::POST, "/members/{id}/undrain", post(write::undrain)),
    ]
}

/// [`serve`](super::serve) answers these without coming here; this is for other servers.
async fn models(State(api): State<Arc<Api>>, request: Request) -> Response {
    let Some(route) = proxy::Route::of(request.method(), request.uri().path()) else {
        return no_such_route(request.uri().clone()).await.into_response();
    };
    let remote = request.extensions().get::<Arc<Caller>>().map(|caller| proxy::Remote(caller.remote));
    api.proxy.answer(route, remote, request).await.map(Body::new)
}

async fn no_such_route(uri: Uri) -> Problem {
    let detail = format!("there is no {:?} here: /openapi.json lists what there is", uri.path());
    Problem::new(StatusCode::NOT_FOUND, "not_found", "There is no such route", detail)
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{method} is not a method of {:?}: the Allow header lists what is", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "The route has no such method", detail)
}

async fn with_common_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in COMMON_HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}

/// On every answer: no browser may take it for anything else than it says it is.
pub(super) const COMMON_HEADERS: [(HeaderName, HeaderValue); 1] =
    [(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_describes_exactly_the_routes_there_are() {
        let document: serde_json::Value =
            serde_json::from_str(schema::openapi::DOCUMENT).expect("the document is JSON");
        let paths = document["paths"].as_object().expect("a map of paths");
        let described = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("a map of methods");
            methods.keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        });
        let mut described: Vec<String> = described.collect();
        let mut there: Vec<String> =
            routes().iter().map(|(method, path, _)| format!("{method} {}", path.replace('*', ""))).collect();
        described.sort();
        there.sort();
        assert_eq!(described, there);
    }
}
