//! Tests of the rules for every protocol, on a protocol that no gate speaks: it is this file, and
//! nothing else knows of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use api_types::Scope;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use control::protocol::field::{Secret, Text};
use control::protocol::{About, Client, Denied, Fault, Paths, Protocol, Services, read_json};
use http_body_util::{BodyExt, Empty, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::support::{Answer, World};

/// A protocol of the telegraph age: bodies are JSON, answers are `STOP`.
#[derive(Default)]
struct Telegraph {
    waiting: AtomicBool,
    left: AtomicBool,
    ended: AtomicUsize,
}

#[derive(Clone)]
struct Desk {
    services: Services,
    telegraph: &'static Telegraph,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "UPPERCASE")]
struct Wire {
    key: Option<Secret>,
    addressee: Text<1, 20>,
}

/// The refusals of the protocol, wherever they are found.
struct Refusal(Fault);

impl<T: Into<Fault>> From<T> for Refusal {
    fn from(fault: T) -> Self {
        Self(fault.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let field = match &self.0 {
            Fault::Input(input) => input.field.clone().unwrap_or_default(),
            _ => String::new(),
        };
        let text = format!("REFUSED {field} {} STOP", self.0);
        let retry = self.0.retry_after_seconds().unwrap_or(0).to_string();
        (self.0.status(), [("retry-after", retry)], text).into_response()
    }
}

impl Protocol for Telegraph {
    fn name(&self) -> &'static str {
        "telegraph"
    }

    fn operations(&'static self, services: &Services) -> Paths {
        let about = About::new;
        Paths::new()
            .post(
                "/telegraph/send",
                post(send),
                about("send", "Send a wire").body::<Wire>(),
            )
            .post(
                "/telegraph/tear",
                post(tear),
                about("tear", "Tear the line"),
            )
            .post(
                "/telegraph/slow",
                post(slow),
                about("slow", "Take one's time"),
            )
            .with_state(Desk::new(services, self))
    }

    fn passages(&'static self, services: &Services) -> Paths {
        Paths::new()
            .get(
                "/telegraph/wait",
                get(wait),
                About::new("wait", "Wait for an answer"),
            )
            .with_state(Desk::new(services, self))
    }

    fn refuse(&self, fault: &Fault) -> Response {
        Refusal(fault.clone()).into_response()
    }
}

impl Desk {
    fn new(services: &Services, telegraph: &'static Telegraph) -> Self {
        Self {
            services: services.clone(),
            telegraph,
        }
    }
}

async fn send(
    State(desk): State<Desk>,
    client: Client,
    body: Body,
) -> Result<(StatusCode, String), Refusal> {
    let wire: Wire = read_json(body, 1_000).await?;
    let key = wire.key.as_ref().map(Secret::expose);
    let caller = desk.services.authenticate(&client, key).await?;
    if !caller.may(Scope::WriteLicenses) {
        return Err(Fault::from(Denied::Scope(Scope::WriteLicenses)).into());
    }
    let request = licensing::IssueRequest {
        spec: model::LicenseSpec {
            user: Some(wire.addressee.into_string()),
            ..model::LicenseSpec::default()
        },
        ..licensing::IssueRequest::for_app("api".parse().unwrap())
    };
    let issued = desk
        .services
        .licensing()
        .acting(model::Actor::OPERATOR)
        .issue(request)
        .await?;
    let id = issued[0].license.license.id;
    Ok((StatusCode::CREATED, format!("{id} STOP")))
}

async fn tear() -> Response {
    panic!("the wire is torn, on purpose")
}

/// Reports that it began, and ends when the test says so.
async fn slow(State(desk): State<Desk>) -> &'static str {
    desk.telegraph.waiting.store(true, Ordering::SeqCst);
    while !desk.telegraph.left.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    desk.telegraph.ended.fetch_add(1, Ordering::SeqCst);
    "STOP"
}

struct Leaves(&'static Telegraph);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.left.store(true, Ordering::SeqCst);
    }
}

/// Waits as long as the client does.
async fn wait(State(desk): State<Desk>) -> Response {
    let _leaves = Leaves(desk.telegraph);
    desk.telegraph.waiting.store(true, Ordering::SeqCst);
    std::future::pending().await
}

async fn world() -> (World, &'static Telegraph) {
    let telegraph: &Telegraph = Box::leak(Box::default());
    (World::speaking(&[telegraph]).await, telegraph)
}

fn post_to(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::post(format!("/telegraph/{path}")).header("host", "gate");
    request.body(Full::new(body.into())).unwrap()
}

async fn wire(world: &World, body: impl Into<Bytes>) -> Answer {
    world.ask([127, 0, 0, 1], post_to("send", body)).await
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    waited.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn a_protocol_that_is_one_file_uses_the_operations_of_all() {
    let (world, _) = world().await;
    let key = world.key("{}").await;
    let answer = wire(&world, format!(r#"{{"KEY":"{key}","ADDRESSEE":"ada"}}"#)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    let text = answer.text();
    let id = text.strip_suffix(" STOP").unwrap();
    assert_eq!(world.get(&format!("/licenses/{id}")).await["user"], "ada");
    world.stop().await;
}

#[tokio::test]
async fn bad_input_is_answered_in_the_words_of_the_protocol_and_names_the_field() {
    let (world, _) = world().await;
    let key = world.key("{}").await;
    let long = format!(r#"{{"KEY":"{key}","ADDRESSEE":"{}"}}"#, "x".repeat(21));
    let deep = format!(
        r#"{{"KEY":"{key}","ADDRESSEE":{}1"#,
        r#"{"a":"#.repeat(10_000)
    );
    let cases: [(Vec<u8>, u16, &str); 9] = [
        (b"{}".to_vec(), 400, "REFUSED ADDRESSEE "),
        (b"".to_vec(), 400, "REFUSED ADDRESSEE "),
        (br#"{"ADDRESSEE":7}"#.to_vec(), 400, "REFUSED ADDRESSEE "),
        (long.into_bytes(), 400, "REFUSED ADDRESSEE "),
        (
            b"{\"ADDRESSEE\":\"\xff\"}".to_vec(),
            400,
            "REFUSED ADDRESSEE ",
        ),
        (
            br#"{"ADDRESSEE":"a","COLOUR":1}"#.to_vec(),
            400,
            "REFUSED COLOUR ",
        ),
        (
            br#"{"ADDRESSEE":"a","KEY":"a b"}"#.to_vec(),
            400,
            "REFUSED KEY ",
        ),
        (deep.into_bytes(), 413, "REFUSED  send at most 1000 bytes"),
        (b"hello".to_vec(), 400, "REFUSED  no JSON value stands"),
    ];
    for (body, status, beginning) in cases {
        let answer = wire(&world, body).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().starts_with(beginning), "{}", answer.text());
    }
    let list = world.get("/licenses").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 0, "nothing made");
    world.stop().await;
}

#[tokio::test]
async fn unknown_and_wrong_keys_are_answered_alike_and_none_is_told_apart() {
    let (world, _) = world().await;
    let made = world
        .local("POST", "/management-keys", "{}")
        .await
        .json(201);
    let (id, revoked) = (
        made["id"].as_str().unwrap(),
        made["key"].as_str().unwrap().to_owned(),
    );
    let path = format!("/management-keys/{id}/revoke");
    world.local("POST", &path, "").await.json(200);
    let pair = world.key(r#"{"pair":true}"#).await;
    let mut altered = world.key("{}").await;
    altered.push('x');
    let answer = async |key: &str| {
        let answer = wire(&world, format!(r#"{{"KEY":"{key}","ADDRESSEE":"a"}}"#)).await;
        (answer.status, answer.text())
    };
    let unknown = answer("nobody").await;
    assert_eq!(unknown.0, 401);
    for wrong in [&revoked, &pair, &altered] {
        assert_eq!(answer(wrong).await, unknown);
    }
    let missing = wire(&world, r#"{"ADDRESSEE":"a"}"#).await;
    assert_eq!(missing.status, 401);
    assert_ne!(missing.text(), unknown.1);
    let narrow = world.key(r#"{"scopes":["read:usage"]}"#).await;
    assert_eq!(answer(&narrow).await.0, 403);
    world.stop().await;
}

#[tokio::test]
async fn an_address_with_too_many_failures_waits_and_others_do_not() {
    let (world, _) = world().await;
    let key = world.key("{}").await;
    let from = async |address: &str, key: &str| {
        let mut request = post_to("send", format!(r#"{{"KEY":"{key}","ADDRESSEE":"a"}}"#));
        let headers = request.headers_mut();
        headers.insert("x-forwarded-for", address.parse().unwrap());
        // The one address that may say whose requests it passes on.
        world.ask([127, 0, 0, 2], request).await
    };
    let mut refused = None;
    // A minute may end in between, which begins a new count.
    for _ in 0..250 {
        let answer = from("192.0.2.1", "wrong").await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status, 401);
    }
    let refused = refused.expect("100 failures a minute are enough");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(from("192.0.2.2", &key).await.status, 201);
    assert_eq!(
        wire(&world, r#"{"KEY":"bad","ADDRESSEE":"a"}"#)
            .await
            .status,
        401
    );
    world.stop().await;
}

#[tokio::test]
async fn a_handler_that_panics_and_a_wrong_method_are_answers_of_the_protocol() {
    let (world, _) = world().await;
    let torn = world.ask([127, 0, 0, 1], post_to("tear", "")).await;
    assert_eq!(torn.status, 500);
    assert_eq!(torn.text(), "REFUSED  something went wrong here STOP");
    let request = Request::get("/telegraph/send").header("host", "gate");
    let request = request.body(Full::default()).unwrap();
    let wrong = world.ask([127, 0, 0, 1], request).await;
    assert_eq!(wrong.status, 405);
    assert!(wrong.text().starts_with("REFUSED"), "{}", wrong.text());
    let elsewhere = world.ask([127, 0, 0, 1], post_to("nowhere", "")).await;
    assert_eq!(elsewhere.code(404), "path_unknown");
    world.stop().await;
}

/// Sends a request, and closes the connection when the handler has begun.
async fn hang_up(world: &World, telegraph: &Telegraph, request: Request<Empty<Bytes>>) {
    let stream = TcpStream::connect(world.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let answer = tokio::spawn(async move {
        let answer = sender.send_request(request).await;
        answer.map(|answer| answer.into_body().collect())
    });
    eventually("the handler begins", || {
        telegraph.waiting.load(Ordering::SeqCst)
    })
    .await;
    connection.abort();
    answer.abort();
}

#[tokio::test]
async fn an_operation_is_done_to_its_end_and_a_passage_ends_with_its_client() {
    let (world, telegraph) = world().await;
    let world = Arc::new(world);
    let request = |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path);
        request
            .header("host", "gate")
            .body(Empty::<Bytes>::new())
            .unwrap()
    };
    hang_up(&world, telegraph, request("GET", "/telegraph/wait")).await;
    eventually("the passage ends", || telegraph.left.load(Ordering::SeqCst)).await;

    telegraph.waiting.store(false, Ordering::SeqCst);
    telegraph.left.store(false, Ordering::SeqCst);
    hang_up(&world, telegraph, request("POST", "/telegraph/slow")).await;
    assert_eq!(telegraph.ended.load(Ordering::SeqCst), 0);
    telegraph.left.store(true, Ordering::SeqCst);
    eventually("the operation is done", || {
        telegraph.ended.load(Ordering::SeqCst) == 1
    })
    .await;
}
