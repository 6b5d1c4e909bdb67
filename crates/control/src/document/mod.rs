//! The native API as a table, of which both its router and its document (OpenAPI 3.1) are made: what is served is described.

mod protocols;
mod refusals;
mod render;
mod table;

use std::sync::Arc;

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
use crate::wire::Scope;

pub(crate) use protocols::{DescribedProtocol, protocols};
pub(crate) use render::document;
pub(crate) use table::{BASE, DOCUMENT, PROTOCOLS, documents, table};

/// Requests that are served, each with its description.
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

/// What is said about a request.
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
    once: bool,
}

/// The schema of a type; what it consists of goes to the generator.
type Describe = fn(&mut SchemaGenerator) -> Schema;

/// Who may ask.
#[derive(Clone, Copy)]
enum Needs {
    /// Everybody, without a credential.
    Nothing,
    /// Any management key.
    Key,
    /// A management key that was made for this.
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

    fn get<H: Handler<T, Arc<Api>>, T: 'static>(
        self,
        path: &'static str,
        handler: H,
        operation: Operation,
    ) -> Self {
        self.add("get", path, on(MethodFilter::GET, handler), operation)
    }

    fn post<H: Handler<T, Arc<Api>>, T: 'static>(
        self,
        path: &'static str,
        handler: H,
        operation: Operation,
    ) -> Self {
        self.add("post", path, on(MethodFilter::POST, handler), operation)
    }

    fn patch<H: Handler<T, Arc<Api>>, T: 'static>(
        self,
        path: &'static str,
        handler: H,
        operation: Operation,
    ) -> Self {
        self.add("patch", path, on(MethodFilter::PATCH, handler), operation)
    }

    fn delete<H: Handler<T, Arc<Api>>, T: 'static>(
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
        if operation.once {
            let state = Arc::clone(&self.state);
            served = served.layer(middleware::from_fn_with_state(state, idempotency::guard));
        }
        // Outermost, so that whoever may not ask is told so before anything is read or looked up.
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

    /// What serves the requests, and what describes them.
    pub(crate) fn split(self) -> (Router<Arc<Api>>, Vec<Described>) {
        (self.router, self.described)
    }
}

// === impl Operation ===

impl Operation {
    /// A request for the holder of any management key, answered with 204.
    const fn new(id: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            summary,
            needs: Needs::Key,
            of_one_license: false,
            path: None,
            query: None,
            body: None,
            status: 204,
            answer: None,
            streams: &[],
            once: false,
        }
    }

    /// Everybody may ask.
    const fn open(mut self) -> Self {
        self.needs = Needs::Nothing;
        self
    }

    /// Takes a key with this scope.
    const fn scope(mut self, scope: Scope) -> Self {
        self.needs = Needs::Scope(scope);
        self
    }

    /// Also for keys for one license, which see what is that license's: the handler looks to that. They are refused
    /// everything else.
    const fn of_one_license(mut self) -> Self {
        self.of_one_license = true;
        self
    }

    /// For the operator alone.
    const fn operator(mut self) -> Self {
        self.needs = Needs::Operator;
        self
    }

    /// Its path names one of these.
    fn of<T: JsonSchema>(mut self) -> Self {
        self.path = Some(describe::<T>);
        self
    }

    /// Takes these parameters.
    fn query<T: JsonSchema>(mut self) -> Self {
        // Not by reference: each member becomes a parameter.
        self.query = Some(T::json_schema);
        self
    }

    /// Takes this as JSON.
    fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(describe::<T>);
        self
    }

    /// Is answered with this as JSON.
    fn answers<T: JsonSchema>(mut self, status: u16) -> Self {
        self.status = status;
        self.answer = Some(describe::<T>);
        self
    }

    /// Is also answered with streams of these media types.
    const fn streams(mut self, kinds: &'static [&'static str]) -> Self {
        self.status = 200;
        self.streams = kinds;
        self
    }

    /// Makes something, and takes an `Idempotency-Key`.
    const fn once(mut self) -> Self {
        self.once = true;
        self
    }
}

/// Lets those in who may ask, as the document says.
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
        Needs::Nothing | Needs::Key => {}
        Needs::Scope(scope) => caller.require(scope)?,
        Needs::Operator => caller.require_operator()?,
    }
    Ok(next.run(request).await)
}

fn describe<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
