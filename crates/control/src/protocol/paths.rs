//! The paths of a protocol, each with its description: what is served is described.

use axum::Router;
use axum::http::Method;
use axum::routing::MethodRouter;
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// The requests that a protocol serves, with their descriptions.
#[derive(Debug)]
pub struct Paths<S = ()> {
    router: Router<S>,
    described: Vec<DescribedPath>,
}

/// The description of a request without its path and methods.
#[derive(Clone, Copy, Debug)]
pub struct About {
    id: &'static str,
    summary: &'static str,
    parameters: &'static [&'static str],
    body: Option<Describe>,
    credential: Option<HeadCredential>,
}

/// A credential in the head of a request. One in the body is described with the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadCredential {
    /// The header `Authorization: Bearer`.
    Bearer,
    /// The header `Apifew-Key`, unless the credential is in the body.
    ApifewKey,
}

/// The path and methods of a request with their description.
#[derive(Clone, Debug)]
pub(crate) struct DescribedPath {
    pub(crate) path: &'static str,
    pub(crate) methods: Vec<Method>,
    pub(crate) about: About,
}

/// A function that returns the schema of a type and adds those of its parts to the generator.
pub(crate) type Describe = fn(&mut SchemaGenerator) -> Schema;

impl About {
    /// Returns the description of a request by a name that no other request of any protocol has,
    /// and a summary.
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

    /// Says that the request takes this credential.
    #[must_use]
    pub const fn takes(mut self, credential: HeadCredential) -> Self {
        self.credential = Some(credential);
        self
    }

    /// Says that the query has these parameters.
    #[must_use]
    pub const fn query(mut self, names: &'static [&'static str]) -> Self {
        self.parameters = names;
        self
    }

    /// Says that the body is this type as JSON.
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
    /// Returns a table without a path.
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

    /// Describes a request to a path that is served already, by other methods of the same router.
    #[must_use]
    pub fn describe(
        mut self,
        methods: impl IntoIterator<Item = Method>,
        path: &'static str,
        about: About,
    ) -> Self {
        self.described.push(DescribedPath {
            path,
            methods: methods.into_iter().collect(),
            about,
        });
        self
    }

    /// Serves a path that no document shows, to answer in the protocol's words that there is
    /// nothing.
    ///
    /// # Panics
    /// If the path is there already.
    #[must_use]
    pub fn hidden(mut self, path: &'static str, served: MethodRouter<S>) -> Self {
        self.router = self.router.route(path, served);
        self
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

    /// Returns the paths with the state that their handlers take.
    #[must_use]
    pub fn with_state(self, state: S) -> Paths {
        Paths {
            router: self.router.with_state(state),
            described: self.described,
        }
    }
}

impl Paths {
    /// Returns the router that serves the requests, and their descriptions.
    pub(crate) fn split(self) -> (Router, Vec<DescribedPath>) {
        (self.router, self.described)
    }
}
