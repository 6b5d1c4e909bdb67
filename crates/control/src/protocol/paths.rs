//! The paths of a protocol, each with what is said of it: what is served is described.

use axum::Router;
use axum::http::Method;
use axum::routing::MethodRouter;
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// Requests that a protocol serves, with what its document says of them.
#[derive(Debug)]
pub struct Paths<S = ()> {
    router: Router<S>,
    described: Vec<DescribedPath>,
}

/// What is said of a request.
#[derive(Clone, Copy, Debug)]
pub struct About {
    id: &'static str,
    summary: &'static str,
    parameters: &'static [&'static str],
    body: Option<Describe>,
    credential: Option<HeadCredential>,
}

/// A credential that stands in the head of a request. One that stands in the body is described with that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadCredential {
    /// `Authorization: Bearer`.
    Bearer,
    /// `Apifew-Key`, unless it stands in the body.
    ApifewKey,
}

/// A request and what is said of it.
#[derive(Clone, Debug)]
pub(crate) struct DescribedPath {
    pub(crate) path: &'static str,
    pub(crate) methods: Vec<Method>,
    pub(crate) about: About,
}

/// The schema of a type; what it consists of goes to the generator.
pub(crate) type Describe = fn(&mut SchemaGenerator) -> Schema;

impl About {
    /// A name that no other request of any protocol has, and what it does.
    #[must_use]
    pub const fn new(id: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            summary,
            parameters: &[],
            body: None,
            credential: None,
        }
    }

    /// It takes this credential.
    #[must_use]
    pub const fn takes(mut self, credential: HeadCredential) -> Self {
        self.credential = Some(credential);
        self
    }

    /// It takes these parameters in its query.
    #[must_use]
    pub const fn query(mut self, names: &'static [&'static str]) -> Self {
        self.parameters = names;
        self
    }

    /// It takes this as JSON.
    #[must_use]
    pub fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(|generator| generator.subschema_for::<T>());
        self
    }

    pub(crate) const fn id(&self) -> &'static str {
        self.id
    }

    pub(crate) const fn summary(&self) -> &'static str {
        self.summary
    }

    pub(crate) const fn parameters(&self) -> &'static [&'static str] {
        self.parameters
    }

    pub(crate) const fn credential(&self) -> Option<HeadCredential> {
        self.credential
    }

    pub(crate) const fn taken(&self) -> Option<Describe> {
        self.body
    }
}

impl<S: Clone + Send + Sync + 'static> Default for Paths<S> {
    fn default() -> Self {
        Self {
            router: Router::new(),
            described: Vec::new(),
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Paths<S> {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves a path by these methods.
    ///
    /// # Panics
    /// If the path is there already.
    #[must_use]
    pub fn serve(
        self,
        methods: impl IntoIterator<Item = Method>,
        path: &'static str,
        served: MethodRouter<S>,
        about: About,
    ) -> Self {
        let Self {
            router,
            mut described,
        } = self;
        described.push(DescribedPath {
            path,
            methods: methods.into_iter().collect(),
            about,
        });
        let router = router.route(path, served);
        Self { router, described }
    }

    /// Serves a path by `GET`.
    ///
    /// # Panics
    /// As [`serve`](Self::serve).
    #[must_use]
    pub fn get(self, path: &'static str, served: MethodRouter<S>, about: About) -> Self {
        self.serve([Method::GET], path, served, about)
    }

    /// Serves a path by `POST`.
    ///
    /// # Panics
    /// As [`serve`](Self::serve).
    #[must_use]
    pub fn post(self, path: &'static str, served: MethodRouter<S>, about: About) -> Self {
        self.serve([Method::POST], path, served, about)
    }

    /// With what their handlers work with.
    #[must_use]
    pub fn with_state(self, state: S) -> Paths {
        Paths {
            router: self.router.with_state(state),
            described: self.described,
        }
    }
}

impl Paths {
    /// What serves the requests, and what describes them.
    pub(crate) fn split(self) -> (Router, Vec<DescribedPath>) {
        (self.router, self.described)
    }
}
