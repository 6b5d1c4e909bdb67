//! Headers that every answer of the control listener has.

use axum::http::{HeaderValue, header};
use axum::response::Response;

/// Returns the answer with headers that forbid caches to keep it and browsers to guess its type.
pub(crate) fn uncached(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
