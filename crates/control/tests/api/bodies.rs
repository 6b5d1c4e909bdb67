//! Tests of every body of every protocol, wrong in every way: it is refused in the shape of its
//! protocol, by the name of the field, and nothing is written.

use control::SHIPPED;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::{Map, Value};

use crate::support::{Answer, World};

/// Returns everything that could have been written, to compare it before and after.
async fn written(world: &World) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [
        "/licenses",
        "/keys",
        "/management-keys",
        "/accounts",
        "/signing-keys",
        "/users?app=api",
        "/audit",
    ] {
        all.push(world.get(path).await);
    }
    all
}

/// The ways in which the value of one field is wrong.
fn wrongs(name: &str, kind: &str, others: &str) -> Vec<Vec<u8>> {
    let others = others.as_bytes();
    let field = |value: &[u8]| [b"{\"", name.as_bytes(), b"\":", value, others, b"}"].concat();
    let long = format!("\"{}\"", "x".repeat(9_000));
    let deep = "[".repeat(20_000);
    let mut values: Vec<&[u8]> = match kind {
        "string" => vec![b"7", b"{}", b"\"\xff\"", long.as_bytes(), b"\"\\u0000\""],
        "integer" => vec![b"\"x\"", b"-1", b"1.5", b"1e99", b"[]"],
        "number" => vec![b"\"x\"", b"[]", b"{}"],
        "boolean" => vec![b"\"yes\"", b"1", b"[]"],
        "array" => vec![b"7", b"\"x\"", b"{}", b"[{}]", b"[\"\xff\"]"],
        "several" => vec![b"true", b"{}", b"[7]", b"\"\xff\""],
        _ => vec![b"7", b"\"x\"", b"[7]"],
    };
    values.push(deep.as_bytes());
    values.into_iter().map(field).collect()
}

// === the native API, by its document ===

/// A request with a body, from the document.
struct Operation {
    method: String,
    path: String,
    /// The fields, each with its type.
    fields: Vec<(String, String)>,
    required: Vec<String>,
}

/// Returns the target of a reference in the document.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(path) => document.pointer(&path[1..]).expect("it leads somewhere"),
        None => schema,
    }
}

/// Returns the type of a schema: that of the value if `null` may be in its place.
fn kind(document: &Value, schema: &Value) -> String {
    let schema = resolved(document, schema);
    let some = |kind: &&Value| **kind != "null";
    match &schema["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            let kinds: Vec<_> = kinds
                .iter()
                .filter(some)
                .filter_map(Value::as_str)
                .collect();
            match kinds[..] {
                [kind] => kind.to_owned(),
                _ => "several".to_owned(),
            }
        }
        _ => {
            let either = schema["anyOf"].as_array().expect("one of several");
            let values: Vec<_> = either.iter().filter(|one| one["type"] != "null").collect();
            match values[..] {
                [value] => kind(document, value),
                _ => "several".to_owned(),
            }
        }
    }
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let content = operation.pointer("/requestBody/content/application~1json/schema");
            let Some(schema) = content.map(|schema| resolved(document, schema)) else {
                continue;
            };
            let nothing = Map::new();
            let fields = schema["properties"].as_object().unwrap_or(&nothing);
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let path = path.strip_prefix("/api/v1").expect("below the base");
            found.push(Operation {
                method: method.to_uppercase(),
                path: path.to_owned(),
                fields: fields
                    .iter()
                    .map(|(name, schema)| (name.clone(), kind(document, schema)))
                    .collect(),
                required: required
                    .iter()
                    .map(|name| name.as_str().expect("a name").to_owned())
                    .collect(),
            });
        }
    }
    found
}

/// Returns the path with ids of things, which are made for it.
async fn with_ids(world: &World, method: &str, path: &str) -> String {
    let id = async |path: &str, body: &str| {
        let made = world.local("POST", path, body).await.json(201);
        made["id"].as_str().expect("an id").to_owned()
    };
    let id = match path.split('/').nth(1).expect("a path") {
        "licenses" => id("/licenses", r#"{"app":"api"}"#).await,
        "keys" => id("/keys", r#"{"app":"api"}"#).await,
        "management-keys" => id("/management-keys", "{}").await,
        "webhooks" => id("/webhooks", r#"{"url":"https://192.0.1.1/"}"#).await,
        "users" => {
            let body = format!(r#"{{"app":"api","login":"{method} {path}"}}"#);
            id("/users", &body).await
        }
        _ => "unknown".to_owned(),
    };
    path.replace("{id}", &id)
}

#[tokio::test]
async fn every_body_of_the_native_api_is_refused_by_the_name_of_its_wrong_field() {
    let world = World::start().await;
    let document = world.remote(None, "GET", "/openapi.json", "").await;
    let operations = operations(&document.json(200));
    assert!(operations.len() > 25, "{}", operations.len());
    for operation in operations {
        let path = with_ids(&world, &operation.method, &operation.path).await;
        let before = written(&world).await;
        let refused = async |body: Vec<u8>, field: &str| {
            let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
            let answer = world.local(&operation.method, &path, body).await;
            let what = format!("{} {path} {shown}: {}", operation.method, answer.text());
            assert_eq!(answer.status, 400, "{what}");
            let named = answer.json(400)["field"].as_str().unwrap_or("").to_owned();
            let named = named.split(['[', '.']).next().unwrap_or("");
            assert_eq!(named, field, "{what}");
        };
        for (name, kind) in &operation.fields {
            for body in wrongs(name, kind, "") {
                // A text that is too long is found after the fields that are not there, and a folder only by looking.
                let strange =
                    (8_000..11_000).contains(&body.len()) || body.ends_with(b"\\u0000\"}");
                // A row of an import is answered for, and does not refuse the request.
                let is_row = operation.path == "/licenses/import" && body.ends_with(b"[{}]}");
                if is_row {
                    continue;
                }
                // Whatever an agent calls itself can be asked about.
                let looked_at = ["dir", "user_agent"].contains(&name.as_str());
                if !strange || operation.required.is_empty() && !looked_at {
                    refused(body, name).await;
                }
            }
        }
        if let Some(first) = operation.required.first() {
            refused(b"{}".to_vec(), first).await;
        }
        refused(br#"{"nobody_knows":1}"#.to_vec(), "nobody_knows").await;
        for body in [b"{".as_slice(), b"[]", b"7", b"\xff\xfe", b"{} {}"] {
            let answer = world.local(&operation.method, &path, body).await;
            assert_eq!(answer.status, 400, "{path} {body:?}");
        }
        assert_eq!(written(&world).await, before, "{} {path}", operation.method);
    }
}

// === the protocols ===

/// A body of a protocol: its path, its fields with their types, and the required ones.
struct Body {
    path: &'static str,
    fields: &'static [(&'static str, &'static str)],
    required: &'static [&'static str],
}

const APIFEW: &[Body] = &[
    Body {
        path: "/v1/app/user/license/check",
        fields: &[("LICENSE_KEY", "string"), ("APIFEW_KEY", "string")],
        required: &["LICENSE_KEY"],
    },
    Body {
        path: "/v2/app/user",
        fields: &[("USER_LOGIN", "string")],
        required: &["USER_LOGIN"],
    },
    Body {
        path: "/v2/app/user/create",
        fields: &[("USER_LOGIN", "string")],
        required: &["USER_LOGIN"],
    },
    Body {
        path: "/v2/app/user/update",
        fields: &[("USER_LOGIN", "string")],
        required: &["USER_LOGIN"],
    },
    Body {
        path: "/v1/request",
        fields: &[
            ("APP_NAME", "string"),
            ("ROUTE", "string"),
            ("METHOD", "string"),
            ("PARAMS", "object"),
            ("HEADERS", "object"),
            ("RESPONSE_AS_RESULT", "boolean"),
        ],
        required: &["APP_NAME"],
    },
    Body {
        path: "/v1/token",
        fields: &[
            ("USER_LICENSE_KEY", "string"),
            ("API_URL", "string"),
            ("API_METHOD", "string"),
        ],
        required: &["USER_LICENSE_KEY"],
    },
    Body {
        path: "/v1/token/consume",
        fields: &[
            ("TOKEN", "string"),
            ("REQUEST_STATUS_CODE", "integer"),
            ("SHOW_PRICING", "boolean"),
        ],
        required: &["TOKEN"],
    },
    Body {
        path: "/v1/token/confirm",
        fields: &[
            ("USER_LICENSE_KEY", "string"),
            ("TOKEN", "string"),
            ("REQUEST_STATUS_CODE", "integer"),
        ],
        required: &["USER_LICENSE_KEY"],
    },
    Body {
        path: "/v1/stamp",
        fields: &[
            ("ID", "string"),
            ("USER_LICENSE_KEY", "string"),
            ("API_URL", "string"),
            ("API_METHOD", "string"),
            ("REQUEST_STATUS_CODE", "integer"),
        ],
        required: &["USER_LICENSE_KEY"],
    },
];

const APIMW: &[Body] = &[
    Body {
        path: "/v1/auth/token",
        fields: &[("api_key", "string"), ("api_secret", "string")],
        required: &["api_key"],
    },
    Body {
        path: "/v1/auth/refresh",
        fields: &[("refresh_token", "string")],
        required: &["refresh_token"],
    },
];

const BETTER_AUTH: &[Body] = &[
    Body {
        path: "/api/auth/api-key/create",
        fields: &[
            ("name", "string"),
            ("expiresIn", "number"),
            ("prefix", "string"),
            ("configId", "string"),
        ],
        required: &[],
    },
    Body {
        path: "/api/auth/api-key/update",
        fields: &[
            ("keyId", "string"),
            ("name", "string"),
            ("enabled", "boolean"),
            ("expiresIn", "number"),
        ],
        required: &["keyId"],
    },
    Body {
        path: "/api/auth/api-key/delete",
        fields: &[("keyId", "string")],
        required: &["keyId"],
    },
    Body {
        path: "/api/auth/api-key/verify",
        fields: &[("key", "string"), ("permissions", "object")],
        required: &["key"],
    },
];

/// Returns the part of an answer that names the field, if it has the shape of its protocol.
fn told(path: &str, answer: &Answer) -> String {
    let body = answer.json(400);
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    if path.starts_with("/v1/auth/") {
        assert_eq!(body["success"], false, "{body}");
        assert_eq!(body["error"]["code"], "INVALID_REQUEST", "{body}");
        return text(&body["error"]["message"]);
    }
    if path.starts_with("/api/auth/") {
        let code = text(&body["code"]);
        // Words of the original stand for the length of a name and of a prefix.
        return match code.as_str() {
            "INVALID_NAME_LENGTH" => "`name`".to_owned(),
            "INVALID_PREFIX_LENGTH" => "`prefix`".to_owned(),
            "EXPIRES_IN_IS_TOO_SMALL" | "EXPIRES_IN_IS_TOO_LARGE" => "`expiresIn`".to_owned(),
            "VALIDATION_ERROR" => text(&body["message"]),
            _ => panic!("{body}"),
        };
    }
    assert!(text(&body["error_msg"]).starts_with("ERROR_"), "{body}");
    format!("`{}`", text(&body["data"]["field"]))
}

#[tokio::test]
async fn every_body_of_every_protocol_is_refused_by_the_name_of_its_wrong_field() {
    let world = World::speaking(SHIPPED).await;
    let owner = world.key(r#"{"app":"api"}"#).await;
    let license = world.license(r#"{"app":"api"}"#).await;
    let license = license["key"].as_str().expect("a key").to_owned();
    let ask = async |path: &str, body: Vec<u8>| {
        let mut request = Request::post(path)
            .header("host", "localhost")
            .header("apifew-user-license-key", &license);
        request = match path.starts_with("/api/") {
            true => request.header("authorization", format!("Bearer {owner}")),
            false if path.starts_with("/v1/auth/") => request,
            false => request.header("apifew-key", &owner),
        };
        let request = request.body(Full::new(Bytes::from(body)));
        world.ask([127, 0, 0, 1], request.expect("a request")).await
    };
    let before = written(&world).await;
    for body in [APIFEW, APIMW, BETTER_AUTH].into_iter().flatten() {
        let refused = async |text: Vec<u8>, field: &str| {
            let shown = String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned();
            let answer = ask(body.path, text).await;
            let what = format!("{} {shown}: {}", body.path, answer.text());
            assert_eq!(answer.status, 400, "{what}");
            let named = told(body.path, &answer);
            assert!(named.contains(field), "{what}");
        };
        // What the value of a field may be is looked at when all that must be there is.
        let others = match body.path {
            "/v1/request" => r#","APP_NAME":"api","ROUTE":"/a","METHOD":"GET""#,
            _ => "",
        };
        for (name, kind) in body.fields {
            for text in wrongs(name, kind, others) {
                // Too long, a NUL, or too small: found when all that must be there is.
                let strange = (8_000..11_000).contains(&text.len())
                    || [&b"\\u0000\""[..], b":-1"]
                        .iter()
                        .any(|part| text.windows(part.len()).any(|window| window == *part));
                if !strange {
                    refused(text, name).await;
                }
            }
        }
        for name in body.required {
            refused(b"{}".to_vec(), name).await;
        }
        refused(br#"{"nobody_knows":1}"#.to_vec(), "nobody_knows").await;
        for text in [b"{".as_slice(), b"[]", b"7", b"\xff\xfe", b"{} {}"] {
            let answer = ask(body.path, text.to_vec()).await;
            assert_eq!(answer.status, 400, "{} {text:?}", body.path);
            let _named = told(body.path, &answer);
        }
        // An envelope of a call may be longer than other bodies.
        let longest = if body.path == "/v1/request" {
            8 << 20
        } else {
            1 << 20
        };
        let large = vec![b' '; longest + 1];
        assert_eq!(ask(body.path, large).await.status, 413, "{}", body.path);
    }
    assert_eq!(written(&world).await, before);
}
