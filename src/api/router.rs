//! Every control route in one list, and what holds for their answers. The models' routes are the proxy's.

use super::state::Api;
use super::{metrics, outcomes, poll, read, rollouts, write};
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use edge::{COMMON_HEADERS, Problem};
use http::{Method, StatusCode, Uri};
use schema::code;
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
    vec![
        (Method::GET, "/routing/state", get(poll::routing_state)),
        (Method::GET, "/health/snapshot", get(read::health_snapshot)),
        (Method::GET, "/history", get(read::history)),
        (Method::GET, "/livez", get(read::livez)),
        (Method::GET, "/readyz", get(read::readyz)),
        (Method::GET, "/metrics", get(metrics::metrics)),
        (Method::GET, "/openapi.json", get(read::openapi)),
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

async fn no_such_route(uri: Uri) -> Problem {
    let detail = format!("there is no {:?} here: /openapi.json lists what there is", uri.path());
    Problem::new(StatusCode::NOT_FOUND, code::NOT_FOUND, "There is no such route", detail)
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    Problem::no_such_method(&method, &uri)
}

async fn with_common_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in COMMON_HEADERS {
        response.headers_mut().insert(name, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy::METHODS;

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
        let models = proxy::Route::PATHS.iter().flat_map(|path| METHODS.map(|method| format!("{method} {path}")));
        let mut there: Vec<String> =
            routes().iter().map(|(method, path, _)| format!("{method} {path}")).chain(models).collect();
        described.sort();
        there.sort();
        assert_eq!(described, there);
    }
}
