//! The table of the native API's requests, of which both its router and its document (OpenAPI 3.1)
//! are made: what is served is described, and who may ask is enforced as described.

mod protocols;
mod refusals;
mod render;

use std::sync::Arc;

use api_types::Scope;
use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::http::caller::Caller;
use crate::http::idempotency;
use crate::http::problem::Problem;
use crate::http::state::Api;

pub(crate) use protocols::{DescribedProtocol, protocols};
pub(crate) use render::document;

/// The path below which the native API is served.
pub(crate) const BASE: &str = "/api/v1";

/// A table of requests that are served, each with its description.
pub(crate) struct Routes {
    state: Arc<Api>,
    router: Router<Arc<Api>>,
    described: Vec<Described>,
}

/// A request and its description.
pub(crate) struct Described {
    path: &'static str,
    method: &'static str,
    operation: Operation,
}

/// The description of a request without its path and method.
pub(crate) struct Operation {
    id: &'static str,
    summary: &'static str,
    needs: Needs,
    of_one_license: bool,
    path: Option<Describe>,
    query: Option<Describe>,
    body: Option<Describe>,
    status: u16,
    answer: Option<Describe>,
    streams: &'static [&'static str],
    idempotent: bool,
}

/// A function that returns the schema of a type and adds those of its parts to the generator.
type Describe = fn(&mut SchemaGenerator) -> Schema;

/// The right that a request takes. Every [`Operation`] names one, so that no route is open by omission.
#[derive(Clone, Copy)]
pub(crate) enum Needs {
    /// No credential: the request is for everybody.
    Nothing,
    /// Any management key, whatever its scopes.
    AnyKey,
    /// A management key with this scope.
    Scope(Scope),
    /// The operator on the gate's own host.
    Operator,
}

// === impl Routes ===

impl Routes {
    pub(crate) fn new(state: Arc<Api>) -> Self {
        Self {
            state,
            router: Router::new(),
            described: Vec::new(),
        }
    }

    pub(crate) fn get<H: Handler<T, Arc<Api>>, T: 'static>(
        self,
        path: &'static str,
        handler: H,
        operation: Operation,
    ) -> Self {
        self.add("get", path, on(MethodFilter::GET, handler), operation)
    }

    pub(crate) fn post<H: Handler<T, Arc<Api>>, T: 'static>(
        self,
        path: &'static str,
        handler: H,
        operation: Operation,
    ) -> Self {
        self.add("post", path, on(MethodFilter::POST, handler), operation)
    }

    pub(crate) fn patch<H: Handler<T, Arc<Api>>, T: 'static>(
        self,
        path: &'static str,
        handler: H,
        operation: Operation,
    ) -> Self {
        self.add("patch", path, on(MethodFilter::PATCH, handler), operation)
    }

    pub(crate) fn delete<H: Handler<T, Arc<Api>>, T: 'static>(
        self,
        path: &'static str,
        handler: H,
        operation: Operation,
    ) -> Self {
        self.add("delete", path, on(MethodFilter::DELETE, handler), operation)
    }

    fn add(
        mut self,
        method: &'static str,
        path: &'static str,
        mut served: MethodRouter<Arc<Api>>,
        operation: Operation,
    ) -> Self {
        if operation.idempotent {
            let state = Arc::clone(&self.state);
            served = served.layer(middleware::from_fn_with_state(state, idempotency::guard));
        }
        // This layer is the outermost, so that callers who may not ask are refused before anything
        // is read or looked up.
        let who = (operation.needs, operation.of_one_license);
        served = served.route_layer(middleware::from_fn_with_state(who, judge));
        self.router = self.router.route(path, served);
        self.described.push(Described {
            path,
            method,
            operation,
        });
        self
    }

    /// Returns the router that serves the requests, and their descriptions.
    pub(crate) fn split(self) -> (Router<Arc<Api>>, Vec<Described>) {
        (self.router, self.described)
    }
}

// === impl Described ===

impl Described {
    /// Returns the description of a `GET` that is served elsewhere.
    pub(crate) const fn get(path: &'static str, operation: Operation) -> Self {
        Self {
            path,
            method: "get",
            operation,
        }
    }
}

// === impl Operation ===

impl Operation {
    /// Returns a request that takes this right and is answered with 204.
    pub(crate) const fn new(id: &'static str, summary: &'static str, needs: Needs) -> Self {
        Self {
            id,
            summary,
            needs,
            of_one_license: false,
            path: None,
            query: None,
            body: None,
            status: 204,
            answer: None,
            streams: &[],
            idempotent: false,
        }
    }

    /// Admits keys for one license too, to which the handler shows what is that license's. They are
    /// refused every other request.
    pub(crate) const fn of_one_license(mut self) -> Self {
        self.of_one_license = true;
        self
    }

    /// Says that the path names a value of this type.
    pub(crate) fn of<T: JsonSchema>(mut self) -> Self {
        self.path = Some(describe::<T>);
        self
    }

    /// Says that the query has the members of this type as parameters.
    pub(crate) fn query<T: JsonSchema>(mut self) -> Self {
        // The schema is not a reference, because each member becomes a parameter.
        self.query = Some(T::json_schema);
        self
    }

    /// Says that the body is this type as JSON.
    pub(crate) fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(describe::<T>);
        self
    }

    /// Says that the answer has this status, and this type as JSON.
    pub(crate) fn answers<T: JsonSchema>(mut self, status: u16) -> Self {
        self.status = status;
        self.answer = Some(describe::<T>);
        self
    }

    /// Says that the answer may be a stream of these media types; its status is 200.
    pub(crate) const fn streams(mut self, kinds: &'static [&'static str]) -> Self {
        self.status = 200;
        self.streams = kinds;
        self
    }

    /// Says that the request takes an `Idempotency-Key`, which is enforced: for requests that make
    /// something.
    pub(crate) const fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }
}

/// Refuses callers who lack the right that the request takes.
async fn judge(
    State((needs, of_one_license)): State<(Needs, bool)>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if !matches!(needs, Needs::Operator) && !of_one_license {
        caller.require_more_than_one_license()?;
    }
    match needs {
        Needs::Nothing | Needs::AnyKey => {}
        Needs::Scope(scope) => caller.require(scope)?,
        Needs::Operator => caller.require_operator()?,
    }
    Ok(next.run(request).await)
}

fn describe<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
