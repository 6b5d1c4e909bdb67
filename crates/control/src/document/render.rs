//! The conversion of the table to an OpenAPI 3.1 document.

use api_types::ProblemBody;
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::refusals::{refusals, responses};
use super::{BASE, Describe, Described, Needs, Operation};

/// The place of schemas in the document.
const SCHEMAS: &str = "/components/schemas";

/// The schemas of requests and those of answers, apart: a type may read more than it writes.
pub(super) struct Schemas {
    taken: SchemaGenerator,
    answered: SchemaGenerator,
}

/// Returns the document of these requests.
///
/// # Panics
/// If two types of one name have different schemas.
pub(crate) fn document(described: &[Described]) -> Value {
    let mut schemas = Schemas::new();
    let problem = schemas.answered.subschema_for::<ProblemBody>();
    let mut paths = Map::new();
    for one in described {
        let path = paths.entry(format!("{BASE}{}", one.path));
        let path = path.or_insert_with(|| json!({}));
        path[one.method] = operation(one, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tallygate",
            "description": "The native API: licenses, keys, records of calls, and keeping the books.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": license(),
        },
        "servers": servers(),
        "security": [{"managementKey": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.all(),
            "securitySchemes": {"managementKey": {
                "type": "http", "scheme": "bearer",
                "description": "A key of `tallygate key create`. Over the gate's unix socket none is needed.",
            }},
            "parameters": {"IdempotencyKey": {
                "name": "Idempotency-Key", "in": "header", "required": false,
                "description": "Made up by the client: the same request again is done once, and answered as the first time.",
                "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
            }},
            "responses": responses(&problem),
        },
    })
}

/// Returns the license of the program, which is that of its documents.
pub(super) fn license() -> Value {
    let identifier = env!("CARGO_PKG_LICENSE");
    json!({"name": identifier, "identifier": identifier})
}

/// Returns the one server of the document: the listener that shows it.
pub(super) fn servers() -> Value {
    json!([{"url": "/", "description": "The control listener of the gate that this document is from"}])
}

fn operation(described: &Described, schemas: &mut Schemas) -> Value {
    let operation = &described.operation;
    let mut parameters = Vec::new();
    if let Some(describe) = operation.path {
        let name = described.path.split(['{', '}']).nth(1);
        parameters.push(json!({
            "name": name.expect("a path that names something has a parameter"),
            "in": "path", "required": true, "schema": describe(&mut schemas.taken),
        }));
    }
    if let Some(describe) = operation.query {
        parameters.extend(query(&describe(&mut schemas.taken)));
    }
    if operation.idempotent {
        parameters.push(json!({"$ref": "#/components/parameters/IdempotencyKey"}));
    }
    let mut value = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "responses": {
            operation.status.to_string(): answer(operation, schemas),
            "default": {"$ref": "#/components/responses/Problem"},
        },
    });
    for (status, response) in refusals(described.method, operation, &parameters) {
        value["responses"][status] = response;
    }
    if let Some(who) = who(operation) {
        value["description"] = who.into();
    }
    match operation.needs {
        Needs::Nothing => value["security"] = json!([]),
        Needs::Scope(scope) => value["security"] = json!([{"managementKey": [scope]}]),
        Needs::AnyKey | Needs::Operator => {}
    }
    if !parameters.is_empty() {
        value["parameters"] = parameters.into();
    }
    if let Some(describe) = operation.body {
        value["requestBody"] = json!({
            "content": {"application/json": {"schema": describe(&mut schemas.taken)}},
        });
    }
    value
}

/// Returns a parameter for each member of an object. Text has no `null`: a member that may be
/// `null` may be left out.
fn query(schema: &Schema) -> Vec<Value> {
    let members = schema.get("properties").and_then(Value::as_object);
    let required = schema.get("required").and_then(Value::as_array);
    let is_required =
        |name: &String| required.is_some_and(|names| names.iter().any(|other| other == name));
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = without_null(schema.clone());
        let description = schema
            .as_object_mut()
            .and_then(|schema| schema.remove("description"));
        let mut parameter = json!({
            "name": name, "in": "query", "required": is_required(name), "schema": schema,
        });
        if let Some(description) = description {
            parameter["description"] = description;
        }
        parameter
    };
    members.into_iter().flatten().map(parameter).collect()
}

fn without_null(mut schema: Value) -> Value {
    if let Some(kinds) = schema.get_mut("type").and_then(Value::as_array_mut) {
        kinds.retain(|kind| kind != "null");
        if let [only] = &kinds[..] {
            schema["type"] = only.clone();
        }
    }
    if let Some(choices) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        choices.retain(|choice| choice["type"] != "null");
        if let [Value::Object(only)] = &choices[..] {
            let only = only.clone();
            let schema = schema.as_object_mut().expect("it has a member");
            schema.remove("anyOf");
            schema.extend(only);
        }
    }
    schema
}

fn answer(operation: &Operation, schemas: &mut Schemas) -> Value {
    let mut content = Map::new();
    if let Some(describe) = operation.answer {
        let schema = describe(&mut schemas.answered);
        content.insert("application/json".to_owned(), json!({"schema": schema}));
    }
    for kind in operation.streams {
        content.insert((*kind).to_owned(), json!({}));
    }
    let description = match operation.status {
        201 => "It is made",
        204 => "It is done",
        _ => "The answer",
    };
    if content.is_empty() {
        json!({"description": description})
    } else {
        json!({"description": description, "content": content})
    }
}

fn who(operation: &Operation) -> Option<String> {
    let who = match operation.needs {
        Needs::Nothing => "Takes no credential.".to_owned(),
        Needs::AnyKey if operation.of_one_license => "Takes any key.".to_owned(),
        Needs::AnyKey => return None,
        Needs::Scope(scope) => format!("Takes a key with the scope `{scope}`."),
        Needs::Operator => "On the gate's own host only, over its unix socket.".to_owned(),
    };
    Some(if operation.of_one_license {
        format!("{who} A key for one license may ask too.")
    } else {
        who
    })
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = SCHEMAS.into();
                settings.meta_schema = None;
            })
        };
        Self {
            taken: settings().for_deserialize().into_generator(),
            answered: settings().for_serialize().into_generator(),
        }
    }

    /// Returns the schema of a type that is read.
    pub(super) fn taken(&mut self, describe: Describe) -> Schema {
        describe(&mut self.taken)
    }

    pub(super) fn all(&mut self) -> Map<String, Value> {
        let mut all = self.taken.take_definitions(true);
        for (name, schema) in self.answered.take_definitions(true) {
            let other = all.insert(name.clone(), schema.clone());
            assert!(
                other.is_none_or(|other| other == schema),
                "`{name}` is taken and answered in different forms"
            );
        }
        all
    }
}
