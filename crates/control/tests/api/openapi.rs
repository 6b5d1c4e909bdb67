//! Tests that the document of the native API describes what the server does.

use std::path::Path;

use control::SHIPPED;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use model::LicenseSpec;
use serde_json::Value;

use crate::support::World;

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

async fn document(world: &World) -> Value {
    let answer = world.remote(None, "GET", "/openapi.json", "").await;
    answer.json(200)
}

/// The documents of the native API and of the protocols.
const DOCUMENTS: [&str; 2] = ["openapi.json", "openapi-protocols.json"];

/// With `TALLYGATE_WRITE_OPENAPI=1` the files are written instead.
#[tokio::test]
async fn the_documents_in_the_repository_are_those_that_are_served() {
    let world = World::speaking(SHIPPED).await;
    for name in DOCUMENTS {
        let answer = world.remote(None, "GET", &format!("/{name}"), "").await;
        assert_eq!(answer.header("content-type"), "application/json");
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../docs")
            .join(name);
        if std::env::var_os("TALLYGATE_WRITE_OPENAPI").is_some() {
            std::fs::write(&file, answer.text()).unwrap();
        }
        let kept = std::fs::read_to_string(&file).unwrap();
        assert!(
            answer.text() == kept,
            "{name} has changed: run this test with TALLYGATE_WRITE_OPENAPI=1 and read the difference"
        );
    }
}

#[tokio::test]
async fn every_term_of_a_license_stands_in_the_document_and_in_the_documentation() {
    let document = document(&World::start().await).await;
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/native-api.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let row = |request: &str| {
        let found = guide.lines().find(|line| line.starts_with(request));
        found.unwrap_or_else(|| panic!("no {request}"))
    };
    let made = row("| `POST /licenses` |");
    for name in LicenseSpec::field_names() {
        for schema in ["CreateLicense", "License"] {
            let property = &document["components"]["schemas"][schema]["properties"][name];
            assert!(property["description"].is_string(), "{schema}: {name}");
        }
        assert!(made.contains(name), "{name} in {made}");
    }
    let changed = row("| `PATCH /licenses/{id}` |");
    let change = &document["components"]["schemas"]["ChangeLicense"]["properties"];
    for name in change.as_object().unwrap().keys() {
        assert!(changed.contains(name.as_str()), "{name} in {changed}");
    }
}

/// A protocol can put a path on the listener only with its description, so what is served is
/// described; and what is described is served, by these methods and no others.
#[tokio::test]
async fn every_path_of_the_protocols_is_described_and_served_as_it_is_described() {
    let world = World::speaking(SHIPPED).await;
    let protocols = world
        .remote(None, "GET", "/openapi-protocols.json", "")
        .await
        .json(200);
    let paths = protocols["paths"].as_object().unwrap();
    for known in [
        "/.well-known/jwks.json",
        "/v1/request",
        "/v2/app/user",
        "/v1/auth/me",
        "/api/auth/api-key/verify",
    ] {
        assert!(paths.contains_key(known), "{known}");
    }
    let mut served = 0;
    for (path, described) in paths {
        for method in METHODS {
            let request = Request::builder()
                .method(method.to_uppercase().as_str())
                .uri(path)
                .header("Host", "gate")
                .body(Full::new(Bytes::from_static(b"{}")));
            let answer = world.ask([127, 0, 0, 1], request.unwrap()).await;
            assert_ne!(answer.status, 404, "{method} {path}: {}", answer.text());
            let takes = answer.status != 405;
            assert_eq!(takes, described.get(method).is_some(), "{method} {path}");
            served += usize::from(takes);
        }
    }
    assert!(served > 20, "{served}");
    for described in paths
        .values()
        .flat_map(|path| path.as_object().unwrap().values())
    {
        assert!(described["tags"][0].is_string(), "{described}");
        assert!(
            !described["summary"].as_str().unwrap().is_empty(),
            "{described}"
        );
    }
}

#[tokio::test]
async fn what_is_described_is_served_and_nothing_else() {
    let world = World::start().await;
    let document = document(&world).await;
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 25, "{}", paths.len());
    for (path, methods) in paths {
        let path = path.strip_prefix("/api/v1").unwrap();
        let path = path.replace("{id}", "nothing").replace("{name}", "nothing");
        for method in METHODS {
            // A field that nobody knows, so that nothing is done.
            let body = r#"{"nobody_knows_this_field":1}"#;
            let asked = format!("{path}?nobody_knows_this_parameter=1");
            let answer = world.local(&method.to_uppercase(), &asked, body).await;
            let text = answer.text();
            let served = answer.status != 405 && !text.contains(r#""code":"path_unknown""#);
            assert_eq!(
                served,
                methods.get(method).is_some(),
                "{method} {path}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn every_operation_has_a_name_of_its_own_and_every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let world = World::speaking(SHIPPED).await;
    for (name, least) in DOCUMENTS.into_iter().zip([100, 10]) {
        let document = world
            .remote(None, "GET", &format!("/{name}"), "")
            .await
            .json(200);
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > least, "{name} has {}", found.len());
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        let operations = document["paths"].as_object().unwrap().values();
        let operations = operations.flat_map(|path| path.as_object().unwrap().values());
        let mut ids: Vec<&str> = operations
            .map(|operation| operation["operationId"].as_str().unwrap())
            .collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }
}

/// The faults over which programs and linters stumble that read the documents; `make check` runs
/// one of those.
#[tokio::test]
async fn the_documents_say_where_they_hold_who_may_ask_and_how_requests_are_refused() {
    fn no_schema_is_a_boolean(value: &Value, at: &str) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    let at = format!("{at}/{name}");
                    assert!(name != "schema" || value.is_object(), "{at}: {value}");
                    let of_schemas = name == "properties" || name == "schemas";
                    let mut schemas = value.as_object().into_iter().flatten();
                    assert!(
                        !of_schemas || schemas.all(|(_, one)| one.is_object()),
                        "{at}"
                    );
                    no_schema_is_a_boolean(value, &at);
                }
            }
            Value::Array(items) => items
                .iter()
                .for_each(|value| no_schema_is_a_boolean(value, at)),
            _ => {}
        }
    }
    let world = World::speaking(SHIPPED).await;
    for name in DOCUMENTS {
        let path = format!("/{name}");
        let document = world.remote(None, "GET", &path, "").await.json(200);
        assert!(document["servers"][0]["url"].is_string());
        assert_eq!(document["info"]["license"]["identifier"], "Apache-2.0");
        no_schema_is_a_boolean(&document, name);
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let secured = operation.get("security").or(document.get("security"));
                assert!(secured.is_some_and(Value::is_array), "{method} {path}");
                let responses = operation["responses"].as_object().unwrap();
                let refusals = responses
                    .iter()
                    .filter(|(status, _)| status.starts_with('4'));
                let said = refusals.map(|(status, response)| {
                    let at = response["$ref"].as_str().map(|reference| &reference[1..]);
                    let response = at.map_or(Some(response), |at| document.pointer(at));
                    let said = response.unwrap()["description"].as_str().unwrap();
                    assert!(said.len() > 10, "{method} {path} {status}: {said}");
                });
                assert!(said.count() > 0, "{method} {path}");
            }
        }
    }
}

/// Each refusal that a request can be answered with is among those of its description.
#[tokio::test]
async fn a_request_is_refused_with_the_statuses_that_are_said() {
    let world = World::start().await;
    let document = document(&world).await;
    let narrow = world.key(r#"{"scopes":[]}"#).await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let said = operation["responses"].as_object().unwrap();
            let path = path.strip_prefix("/api/v1").unwrap();
            let path = path.replace("{id}", "nothing").replace("{name}", "nothing");
            let method = method.to_uppercase();
            for (key, asked, body) in [
                (None, path.clone(), "{}"),
                (Some("nonsense"), path.clone(), "{}"),
                (Some(narrow.as_str()), path.clone(), "{"),
                (Some(narrow.as_str()), path.clone(), "{}"),
                (
                    Some(narrow.as_str()),
                    format!("{path}?nobody_knows_this=1"),
                    "{}",
                ),
                (Some(narrow.as_str()), format!("{path}?app=nobody"), "{}"),
            ] {
                let answer = world.remote(key, &method, &asked, body).await;
                let status = answer.status.to_string();
                assert!(
                    said.contains_key(&status),
                    "{method} {asked} {body}: {}",
                    answer.text()
                );
            }
        }
    }
}

#[tokio::test]
async fn creations_take_an_idempotency_key_and_say_so() {
    let world = World::start().await;
    let document = document(&world).await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let parameters = operation["parameters"].as_array();
            let takes = parameters.is_some_and(|parameters| {
                let key = "#/components/parameters/IdempotencyKey";
                parameters.iter().any(|parameter| parameter["$ref"] == key)
            });
            // What is done twice by a repetition that was not meant takes one, too.
            let repeats = ["/rotate", "/credit", "/debit"];
            let repeats = repeats.iter().any(|end| path.ends_with(end));
            let makes = operation["responses"].get("201").is_some() || repeats;
            assert_eq!(takes, makes, "{method} {path}");
        }
    }
}
