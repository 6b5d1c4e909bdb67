//! The middleware around the handlers of a protocol, which puts it on the listener.

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use tokio::task::{JoinError, JoinHandle};

use super::{DescribedPath, Protocol};
use crate::http::client::{Client, may_send_plain};
use crate::http::fault::Fault;
use crate::http::headers::uncached;
use crate::http::serve::Peer;
use crate::http::services::Services;

/// A protocol with its services.
#[derive(Clone)]
struct Mounted {
    protocol: &'static dyn Protocol,
    services: Services,
}

/// Returns the router of a protocol, ready to be merged with those of others, and the descriptions
/// of its paths.
///
/// # Panics
/// If two of its paths are the same.
pub(crate) fn mount(
    protocol: &'static dyn Protocol,
    services: &Services,
) -> (Router, Vec<DescribedPath>) {
    let mounted = Mounted {
        protocol,
        services: services.clone(),
    };
    let refused = move || async move { protocol.refuse(&Fault::MethodUnknown) };
    let mut router = Router::new();
    let (operations, mut described) = protocol.operations(services).split();
    if operations.has_routes() {
        let guard = middleware::from_fn_with_state(mounted.clone(), run_detached);
        router = router.merge(
            operations
                .method_not_allowed_fallback(refused)
                .route_layer(guard),
        );
    }
    let (passages, passing) = protocol.passages(services).split();
    described.extend(passing);
    if passages.has_routes() {
        let guard = middleware::from_fn_with_state(mounted.clone(), run_while_connected);
        router = router.merge(
            passages
                .method_not_allowed_fallback(refused)
                .route_layer(guard),
        );
    }
    if router.has_routes() {
        router = router.route_layer(middleware::from_fn_with_state(mounted, admit));
    }
    (router, described)
}

/// Refuses unencrypted requests from networks that are not named, and adds the [`Client`] as an
/// extension.
async fn admit(State(mounted): State<Mounted>, mut request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>() else {
        let fault = Fault::internal(&"a request came in without a peer");
        return mounted.protocol.refuse(&fault);
    };
    if !may_send_plain(peer) {
        return mounted.protocol.refuse(&Fault::PlainHttp);
    }
    let trusted = &mounted.services.api().trusted_proxies;
    let client = Client::of(peer, request.headers(), trusted);
    request.extensions_mut().insert(client);
    next.run(request).await
}

/// Runs a request in a task of its own, to its end even if the client is gone, so that no operation
/// is left half done. A panic becomes an answer.
async fn run_detached(State(mounted): State<Mounted>, request: Request, next: Next) -> Response {
    let handling = tokio::spawn(next.run(request));
    uncached(mounted.answer(handling.await))
}

/// Runs a request in a task that is aborted when the client is gone. A panic becomes an answer.
async fn run_while_connected(
    State(mounted): State<Mounted>,
    request: Request,
    next: Next,
) -> Response {
    let mut handling = AbortOnDrop(tokio::spawn(next.run(request)));
    let answer = (&mut handling.0).await;
    mounted.answer(answer)
}

/// A task that is aborted when its handle is dropped.
pub(crate) struct AbortOnDrop<T>(pub(crate) JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Mounted {
    fn answer(&self, handled: Result<Response, JoinError>) -> Response {
        handled.unwrap_or_else(|error| {
            let name = self.protocol.name();
            tracing::error!(protocol = name, %error, "a handler panicked");
            self.protocol.refuse(&Fault::Internal)
        })
    }
}
