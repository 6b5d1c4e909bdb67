//! Tests of better-auth whose cases take hours: over real sockets, with a clock that is moved by
//! hand.

use std::time::Duration;

use control::SHIPPED;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::support::World;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// A key made with server-only fields, and the answer to its verification.
struct Key<'a> {
    world: &'a World,
    owner: String,
    id: String,
    key: String,
}

impl<'a> Key<'a> {
    async fn made(world: &'a World, body: &Value) -> Self {
        let owner = world.key(r#"{"name":"owner"}"#).await;
        let made = world.local("POST", "/keys", body.to_string()).await;
        let made = made.json(201);
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        Self {
            world,
            owner,
            id: text("id"),
            key: text("key"),
        }
    }

    async fn ask(&self, method: &str, path: &str, body: String) -> Value {
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/auth/api-key/{path}"))
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", self.owner))
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        self.world.ask([127, 0, 0, 1], request).await.json(200)
    }

    async fn verify(&self) -> Value {
        let body = json!({ "key": self.key }).to_string();
        self.ask("POST", "verify", body).await
    }

    /// Returns the remaining uses after a valid use, or the reason for which the key is not valid.
    async fn left(&self) -> Result<Value, String> {
        let verified = self.verify().await;
        if verified["valid"] == true {
            return Ok(verified["key"]["remaining"].clone());
        }
        Err(verified["error"]["code"].as_str().unwrap().to_owned())
    }

    async fn record(&self) -> Value {
        let path = format!("get?id={}", self.id);
        self.ask("GET", &path, String::new()).await
    }
}

fn exceeded() -> Result<Value, String> {
    Err("USAGE_EXCEEDED".to_owned())
}

#[tokio::test]
async fn case_81_nothing_is_left_before_the_refill_and_four_of_five_after_the_first_use_of_it() {
    let world = World::by_hand(SHIPPED).await;
    let fields = json!({
        "app": "api", "remaining": 0, "refillAmount": 5, "refillInterval": 3_600_000, "rateLimitEnabled": false,
    });
    let key = Key::made(&world, &fields).await;
    assert_eq!(key.left().await, exceeded());
    world.advance(59 * MINUTE).await;
    assert_eq!(key.left().await, exceeded());
    assert!(key.record().await["lastRefillAt"].is_null());
    world.advance(MINUTE).await;
    assert_eq!(key.record().await["remaining"], 5);
    for left in [4, 3, 2, 1, 0] {
        assert_eq!(key.left().await, Ok(json!(left)));
    }
    assert_eq!(key.left().await, exceeded());
    assert_eq!(
        key.record().await["lastRefillAt"],
        "2026-03-01T01:00:10.000Z"
    );
}

#[tokio::test]
async fn case_82_intervals_that_passed_unused_give_one_refill_which_sets_or_adds() {
    let world = World::by_hand(SHIPPED).await;
    let fields = |remaining: u32, refill: &str| json!({ "app": "api", "remaining": remaining, "refill": refill, "rate_limit_enabled": false });
    let late = Key::made(&world, &fields(0, "5/1h")).await;
    let rich = Key::made(&world, &fields(50, "5/1h")).await;
    let adds = Key::made(&world, &fields(50, "5/1h,add")).await;
    assert_eq!(rich.left().await, Ok(json!(49)));
    assert_eq!(adds.left().await, Ok(json!(49)));
    world.advance(3 * HOUR).await;
    assert_eq!(late.left().await, Ok(json!(4)));
    assert_eq!(rich.left().await, Ok(json!(4)), "what is left is set");
    assert_eq!(adds.left().await, Ok(json!(53)), "what is left is kept");
    world.advance(HOUR).await;
    assert_eq!(late.left().await, Ok(json!(4)));
}

#[tokio::test]
async fn case_84_the_third_of_two_a_minute_is_told_when_to_come_back() {
    let world = World::by_hand(SHIPPED).await;
    let fields = json!({ "app": "api", "rateLimitMax": 2, "rateLimitTimeWindow": 60_000 });
    let key = Key::made(&world, &fields).await;
    for count in [1, 2] {
        let verified = key.verify().await;
        assert_eq!(verified["valid"], true, "{verified}");
        assert_eq!(verified["key"]["requestCount"], count);
    }
    let limited = key.verify().await;
    assert_eq!(limited["valid"], false);
    assert_eq!(limited["error"]["code"], "RATE_LIMITED");
    assert_eq!(limited["error"]["message"], "Rate limit exceeded.");
    let wait = limited["error"]["details"]["tryAgainIn"].as_u64().unwrap();
    assert!(wait > 0 && wait <= 60_000, "{wait}");
    world.advance(Duration::from_millis(wait)).await;
    assert_eq!(key.verify().await["valid"], true);
}

/// Each hour lets ten calls pass, whenever in it they arrive.
#[tokio::test]
async fn case_85_ten_an_hour_and_a_call_every_five_minutes_pass_ten_times_in_each_hour() {
    let world = World::by_hand(SHIPPED).await;
    let fields = json!({ "app": "api", "rate_limit": "10/1h" });
    let key = Key::made(&world, &fields).await;
    for _hour in 0..3 {
        for call in 0..12 {
            let verified = key.verify().await;
            assert_eq!(verified["valid"], call < 10, "{call}: {verified}");
            world.advance(5 * MINUTE).await;
        }
    }
}

/// The same count as in the original.
#[tokio::test]
async fn case_85_windows_of_the_original_are_locked_until_the_last_accepted_call_is_an_hour_ago() {
    let world = World::by_hand(SHIPPED).await;
    let fields = json!({ "app": "api", "rate_limit": "10/1h" });
    let key = Key::made(&world, &fields).await;
    // What `compat = "strict"` makes of new keys.
    let path = format!("/licenses/{}", key.id);
    let idle = json!({ "rate_limits": ["10/1h,idle"] }).to_string();
    world.local("PATCH", &path, idle).await.json(200);
    for minute in (0..=110).step_by(5) {
        let passes = !(50..=105).contains(&minute);
        let verified = key.verify().await;
        assert_eq!(verified["valid"], passes, "{minute}: {verified}");
        // The last accepted call comes a second late, so that at 105 minutes it is not an hour ago by any clock.
        let late = match minute {
            40 => 1,
            45 => -1,
            _ => 0,
        };
        let seconds = 300_i64 + late;
        world
            .advance(Duration::from_secs(seconds.unsigned_abs()))
            .await;
    }
}
