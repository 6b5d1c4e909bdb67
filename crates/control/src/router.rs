//! The routers of the control listener: the native API, the protocols, and what holds for all
//! requests.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::Value;

use crate::api;
use crate::document::{self, Described, DescribedProtocol, Needs, Operation, Routes};
use crate::http::caller;
use crate::http::headers::uncached;
use crate::http::problem::{Code, Problem};
use crate::http::schema::inline_schema;
use crate::http::services::Services;
use crate::http::state::{Api, ControlState};
use crate::jwks;
use crate::protocol::apifew::Apifew;
use crate::protocol::apimw::Apimw;
use crate::protocol::authforge::{Developer, Public};
use crate::protocol::better_auth::BetterAuth;
use crate::protocol::paywalls::Paywalls;
use crate::protocol::{Protocol, mount};

/// The protocols that every gate speaks.
pub static SHIPPED: &[&dyn Protocol] =
    &[&Apifew, &Apimw, &BetterAuth, &Developer, &Paywalls, &Public];

/// The path of the native API's document, below [`document::BASE`].
const DOCUMENT: &str = "/openapi.json";

/// The path of the protocols' document, below [`document::BASE`].
const PROTOCOLS: &str = "/openapi-protocols.json";

/// The type of a document, for its schema.
struct Document;

inline_schema!(Document: {"type": "object", "description": "A document of OpenAPI 3.1."});

/// The routers of a control listener, over one state.
///
/// Give the routers to [`serve`](crate::serve()), which adds the peer of the connection to each
/// request; without it every request is a 500.
#[derive(Clone, Debug)]
pub struct Surfaces {
    native: Router,
    protocols: Router,
}

/// Returns the native API and the protocols that every gate speaks, on one router.
pub fn router(state: ControlState) -> Router {
    Surfaces::new(state, SHIPPED).together()
}

impl Surfaces {
    /// Returns the native API and these protocols.
    ///
    /// # Panics
    /// If two protocols claim the same path and method.
    #[must_use]
    pub fn new(state: ControlState, protocols: &[&'static dyn Protocol]) -> Self {
        Self::over(&Services::new(state), protocols)
    }

    /// Returns the native API and these protocols, over services that are used elsewhere too.
    ///
    /// # Panics
    /// If two protocols claim the same path and method.
    #[must_use]
    pub fn over(services: &Services, protocols: &[&'static dyn Protocol]) -> Self {
        let (mut all, paths) = jwks::paths(services.api().clone()).split();
        let mut described = vec![DescribedProtocol {
            name: "keys",
            documentation: "docs/signing.md".to_owned(),
            paths,
        }];
        for protocol in protocols {
            let (router, paths) = mount(*protocol, services);
            all = all.merge(router);
            let name = protocol.name();
            described.push(DescribedProtocol {
                name,
                documentation: protocol.documentation(),
                paths,
            });
        }
        Self {
            native: native(services.api().clone(), &document::protocols(&described)),
            protocols: all,
        }
    }

    /// Returns the native API for one listener, and the protocols for another.
    pub fn apart(self) -> (Router, Router) {
        (self.native, self.protocols.fallback(path_unknown))
    }

    /// Returns the native API and the protocols for one listener.
    pub fn together(self) -> Router {
        self.native.merge(self.protocols)
    }
}

fn native(state: Arc<Api>, protocols: &Value) -> Router {
    let (api, mut described) = table(Arc::clone(&state)).split();
    described.extend(documents());
    let shown = |path: &str, document: &Value| {
        let text = Bytes::from(format!("{document:#}\n"));
        let show = move || async move { ([(header::CONTENT_TYPE, "application/json")], text) };
        let path = format!("{}{path}", document::BASE);
        (path, get(show).fallback(method_unknown))
    };
    let (native_path, native_document) = shown(DOCUMENT, &document::document(&described));
    let (protocols_path, protocols_document) = shown(PROTOCOLS, protocols);
    let api = api
        .method_not_allowed_fallback(method_unknown)
        .fallback(path_unknown)
        .layer(middleware::from_fn_with_state(
            Arc::clone(&state),
            caller::admit,
        ));
    Router::new()
        .nest(document::BASE, api)
        .route(&native_path, native_document)
        .route(&protocols_path, protocols_document)
        .fallback(path_unknown)
        .layer(middleware::from_fn(guard))
        .with_state(state)
}

/// Returns every request of the native API but those for its documents.
fn table(state: Arc<Api>) -> Routes {
    api::ROUTES
        .iter()
        .fold(Routes::new(state), |routes, add| add(routes))
}

/// Returns the descriptions of the documents themselves.
fn documents() -> [Described; 2] {
    let document = |path, id, summary| {
        let operation = Operation::new(id, summary, Needs::Nothing);
        Described::get(path, operation.answers::<Document>(200))
    };
    let protocols = "Show the document of what is served for clients of other systems";
    [
        document(DOCUMENT, "showDocument", "Show this document"),
        document(PROTOCOLS, "showProtocolsDocument", protocols),
    ]
}

async fn path_unknown(request: Request) -> Problem {
    let path = model::quoted(request.uri().path(), 200);
    Problem::new(
        Code::PathUnknown,
        format!("`{path}` is not a path of this API"),
    )
}

async fn method_unknown(request: Request) -> Problem {
    let method = model::quoted(request.method().as_str(), 20);
    Problem::new(
        Code::MethodUnknown,
        format!("this path does not take `{method}`"),
    )
}

/// Runs a request in a task of its own, to its end even if the client is gone, so that no operation
/// is left half done. A panic becomes a 500. Caches may keep nothing of the answer.
async fn guard(request: Request, next: Next) -> Response {
    let handling = tokio::spawn(next.run(request));
    uncached(match handling.await {
        Ok(response) => response,
        Err(error) => Problem::internal(&error).into_response(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::StatusCode;
    use tower::ServiceExt;

    #[tokio::test]
    async fn a_handler_that_panics_is_a_500_and_the_next_request_is_served() {
        async fn panics() {
            panic!("on purpose");
        }
        let router = Router::new()
            .route("/panics", get(panics))
            .route("/works", get(|| async { "fine" }))
            .layer(middleware::from_fn(guard));
        let ask = |path| {
            let request = Request::get(path).body(Body::empty()).expect("valid");
            router.clone().oneshot(request)
        };
        let answer = ask("/panics").await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        assert_eq!(
            ask("/works").await.expect("an answer").status(),
            StatusCode::OK
        );
    }
}
