//! `GET /openapi.json`: the routes, for people and for generators of clients.

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use schema::openapi::DOCUMENT;

pub(super) async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}
