//! Tests of paywalls.net's protocol, spoken to as its client's requests stand in its source.

mod decisions;
mod receipts;
mod registration;
mod reports;
mod vai;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::support::{Answer, World};

/// A site of the account `default` with a key of its edge.
pub(super) struct Site {
    pub(super) world: World,
    pub(super) key: String,
}

pub(super) const GPTBOT: &str =
    "Mozilla/5.0 AppleWebKit/537.36 (compatible; GPTBot/1.2; +https://openai.com/gptbot)";

impl Site {
    pub(super) async fn start() -> Self {
        Self::of(World::speaking(control::SHIPPED).await).await
    }

    pub(super) async fn of(world: World) -> Self {
        let key = world.key("{}").await;
        Self { world, key }
    }

    /// Sends a request with the site's key.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_as(Some(&self.key), path, body).await
    }

    pub(super) async fn post_as(&self, key: Option<&str>, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut request = Request::post(path)
            .header("Host", "gate")
            .header("Content-Type", "application/json");
        if let Some(key) = key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        self.world.ask([127, 0, 0, 1], request).await
    }

    /// Asks for a path as an edge does, with more headers.
    pub(super) async fn edge(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", "gate")
            .header("User-Agent", "pw-filter-sdk/1.2.x (test)")
            .header("Authorization", format!("Bearer {}", self.key));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::new())).unwrap();
        self.world.ask([127, 0, 0, 1], request).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.edge("GET", path, &[]).await
    }

    /// Sets a rule for GPTBot.
    pub(super) async fn rule(&self, more: Value) {
        let mut rule = json!({ "operator": "OpenAI", "agent": "GPTBot" });
        rule.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let set = self
            .world
            .local("POST", "/agents/rules", rule.to_string())
            .await;
        set.json(200);
    }

    /// Makes a token of GPTBot, and returns it with its id.
    pub(super) async fn token(&self, more: Value) -> (String, String) {
        let mut wish = json!({ "operator": "OpenAI", "agent": "GPTBot", "app": "api" });
        wish.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let made = self
            .world
            .local("POST", "/agents/tokens", wish.to_string())
            .await;
        let made = made.json(201);
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("token"), text("id"))
    }

    /// Asks what to do with GPTBot, and returns the answer.
    pub(super) async fn decided(&self, token: Value) -> Value {
        let asked = json!({
            "account_id": "default", "user_agent": GPTBOT, "token": token,
            "headers": { "host": "api.test", "user-agent": GPTBOT, "cookie": "secret=1" },
        });
        self.post("/api/filter/agents/auth", &asked).await.json(200)
    }

    /// Returns the records of calls of agents.
    pub(super) async fn records(&self) -> Vec<Value> {
        let calls = self.world.get("/calls?format=json").await;
        let calls = calls["items"].as_array().unwrap().iter();
        calls
            .filter(|call| call["mode"] == "agent")
            .cloned()
            .collect()
    }
}

/// Panics unless the answer is a refusal of this kind, and returns its sentence.
pub(super) fn refused(answer: &Answer, status: u16, code: &str) -> String {
    assert_eq!(answer.status, status, "{answer:?}");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["error"], code, "{body}");
    body["error_description"].as_str().unwrap().to_owned()
}
