//! The extractor of requests: the caller is authenticated first, then the content is read.

use std::fmt;
use std::marker::PhantomData;

use api_types::Scope;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::Uri;
use licensing::{ApiKeyOwner, ApiKeyPolicy, AuditedLicensing};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::body::{Create, Delete, Nothing, Update, Verify};
use super::context::Context;
use super::query::{List, Show};
use super::refusal::Refused;
use crate::http::body::{Input, read_json};
use crate::http::caller::Caller;
use crate::http::client::Client;
use crate::http::fault::Fault;

/// The length of the longest body, in bytes: no request of this protocol is longer.
const BODY_LIMIT: usize = 64 << 10;

/// A request whose caller has the scope that it takes.
pub(super) struct Authenticated<T> {
    pub(super) context: Context,
    pub(super) caller: Caller,
    pub(super) content: T,
    client: Client,
}

/// The content of a request: its body or its query.
pub(super) trait Content: Sized {
    /// The scope that the caller's key must have.
    const SCOPE: Scope;

    /// Reads the content from the request.
    fn read(uri: Uri, body: Body) -> impl Future<Output = Result<Self, Refused>> + Send;
}

macro_rules! bodies {
    ($($name:ident takes $scope:ident;)*) => {
        $(impl Content for $name {
            const SCOPE: Scope = Scope::$scope;

            async fn read(_: Uri, body: Body) -> Result<Self, Refused> {
                Ok(read_object(body).await?)
            }
        })*
    };
}

bodies! {
    Create takes WriteLicenses;
    Update takes WriteLicenses;
    Delete takes WriteLicenses;
    Nothing takes WriteLicenses;
    Verify takes ReadLicenses;
}

impl Content for Show {
    const SCOPE: Scope = Scope::ReadLicenses;

    async fn read(uri: Uri, _: Body) -> Result<Self, Refused> {
        Self::parse(&uri)
    }
}

impl Content for List {
    const SCOPE: Scope = Scope::ReadLicenses;

    async fn read(uri: Uri, _: Body) -> Result<Self, Refused> {
        Self::parse(&uri)
    }
}

impl<T> Authenticated<T> {
    /// Returns the owner of the API keys that the caller may see.
    pub(super) fn owner(&self) -> ApiKeyOwner {
        self.caller.api_key_owner()
    }

    /// Returns the rules for all API keys.
    pub(super) fn policy(&self) -> &ApiKeyPolicy {
        &self.context.services.api().api_keys
    }

    /// Returns the operations in the name of the caller, which the audit log keeps.
    pub(super) fn acting(&self) -> AuditedLicensing {
        self.context.services.acting(&self.caller, &self.client)
    }
}

impl<T: Content> FromRequest<Context> for Authenticated<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, context: &Context) -> Result<Self, Refused> {
        let (head, body) = request.into_parts();
        let client = Client::of_parts(&head).map_err(|error| Fault::internal(&error))?;
        let caller = context.caller(&client, &head.headers, T::SCOPE).await?;
        Ok(Self {
            content: T::read(head.uri, body).await?,
            context: context.clone(),
            caller,
            client,
        })
    }
}

/// Reads a JSON object. An empty body is read as `{}`.
async fn read_object<T: DeserializeOwned>(body: Body) -> Result<T, Input> {
    let Object(content) = read_json(body, BODY_LIMIT).await?;
    Ok(content)
}

/// A value that is read from an object only: serde would read a list as the fields in their order.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}
