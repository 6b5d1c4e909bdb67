//! The document of the protocols' requests.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::render::{Schemas, license, servers};
use crate::protocol::{DescribedPath, HeadCredential};

/// The requests of one protocol, with their descriptions.
pub(crate) struct DescribedProtocol {
    /// The name of the protocol.
    pub(crate) name: &'static str,
    /// The path of its documentation in the repository.
    pub(crate) documentation: String,
    /// The requests of the protocol.
    pub(crate) paths: Vec<DescribedPath>,
}

/// Returns the document (OpenAPI 3.1) of the protocols' requests. It has no answers: each
/// protocol's own documentation describes them.
///
/// # Panics
/// If two types of one name have different schemas.
pub(crate) fn protocols(described: &[DescribedProtocol]) -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for protocol in described {
        for one in &protocol.paths {
            let path = paths.entry(one.path).or_insert_with(|| json!({}));
            for method in &one.methods {
                let name = method.as_str().to_ascii_lowercase();
                path[name] = operation(protocol.name, one, method, &mut schemas);
            }
        }
    }
    let tags = described.iter().map(|protocol| {
        json!({ "name": protocol.name, "description": format!("See {}", protocol.documentation) })
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tallygate: the protocols",
            "description": "What is served for clients of other systems. Credentials, answers and refusals are in the words of \
                each: see docs/protocols.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": license(),
        },
        "servers": servers(),
        "tags": tags.collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas.all(),
            "securitySchemes": {
                "bearer": {
                    "type": "http", "scheme": "bearer",
                    "description": "A management key, or where the protocol knows them, an access token.",
                },
                "apifewKey": {
                    "type": "apiKey", "in": "header", "name": "Apifew-Key",
                    "description": "The provider's secret, which may also stand in the body.",
                },
            },
        },
    })
}

fn operation(protocol: &str, one: &DescribedPath, method: &Method, schemas: &mut Schemas) -> Value {
    let about = &one.about;
    let id = if one.methods.len() == 1 {
        about.id().to_owned()
    } else {
        format!("{}By{}", about.id(), method.as_str())
    };
    let mut value = json!({
        "operationId": id,
        "summary": about.summary(),
        "tags": [protocol],
        "security": about.credential().map_or_else(|| json!([]), |credential| match credential {
            HeadCredential::Bearer => json!([{ "bearer": [] }]),
            HeadCredential::ApifewKey => json!([{ "apifewKey": [] }, {}]),
        }),
        "responses": {
            "4XX": { "description": "Refused, in the words of the protocol" },
            "default": { "description": "In the words of the protocol" },
        },
    });
    let parameter =
        |name: &&str| json!({ "name": name, "in": "query", "schema": { "type": "string" } });
    let of_path = |name: &str| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
    let in_path = one.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        Some(of_path(name))
    });
    let in_query = about.parameters().iter().map(parameter);
    let parameters: Vec<_> = in_path.chain(in_query).collect();
    if !parameters.is_empty() {
        value["parameters"] = parameters.into();
    }
    if let Some(describe) = about.taken() {
        let schema = schemas.taken(describe);
        value["requestBody"] = json!({ "content": { "application/json": { "schema": schema } } });
    }
    value
}
