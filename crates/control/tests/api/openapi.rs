//! The document of the native API: it is what the server does.

use std::path::Path;

use serde_json::Value;

use crate::support::World;

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

async fn document(world: &World) -> Value {
    let answer = world.remote(None, "GET", "/openapi.json", "").await;
    answer.json(200)
}

/// With `TALLYGATE_WRITE_OPENAPI=1` the file is written instead.
#[tokio::test]
async fn the_document_in_the_repository_is_the_one_that_is_served() {
    let world = World::start().await;
    let answer = world.remote(None, "GET", "/openapi.json", "").await;
    assert_eq!(answer.header("content-type"), "application/json");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var_os("TALLYGATE_WRITE_OPENAPI").is_some() {
        std::fs::write(&file, answer.text()).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(
        answer.text() == kept,
        "the API has changed: run this test with TALLYGATE_WRITE_OPENAPI=1 and read the difference"
    );
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
            let served = answer.status != 405 && !text.contains("path_unknown");
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
    let world = World::start().await;
    let document = document(&world).await;
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100);
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
            let makes = operation["responses"].get("201").is_some() || path.ends_with("/rotate");
            assert_eq!(takes, makes, "{method} {path}");
        }
    }
}
