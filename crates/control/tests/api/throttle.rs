//! Tests that guesses are slowed down, on every surface and in its shape, and other callers are
//! not.

use std::time::Duration;

use control::SHIPPED;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::{Value, json};

use crate::support::{Answer, World};

/// A guess at a credential: its path, its header, and the place of the code in its refusal.
struct Guess {
    name: &'static str,
    path: &'static str,
    header: Option<(&'static str, &'static str)>,
    body: &'static str,
    code: &'static str,
    /// The codes before and after there were too many guesses.
    codes: (&'static str, &'static str),
}

const GUESSES: [Guess; 6] = [
    Guess {
        name: "a management key at the native API",
        path: "/api/v1/licenses",
        header: Some((
            "authorization",
            "Bearer 0f1c1d7e-0f2b-4c39-9a51-3d9f5a7b1c2d",
        )),
        body: r#"{"app":"api"}"#,
        code: "/code",
        codes: ("key_unknown", "too_many_failures"),
    },
    Guess {
        name: "a provider key of apifew",
        path: "/v1/app/user/license/check",
        header: Some(("apifew-key", "0f1c1d7e-0f2b-4c39-9a51-3d9f5a7b1c2d")),
        body: r#"{"LICENSE_KEY":"x"}"#,
        code: "/error_msg",
        codes: ("ERROR_KEY_UNKNOWN", "ERROR_TOO_MANY_FAILURES"),
    },
    Guess {
        name: "a license key at apifew's tokens",
        path: "/v1/token",
        header: None,
        body: r#"{"USER_LICENSE_KEY":"0f1c1d7e-0f2b-4c39-9a51-3d9f5a7b1c2d","API_URL":"/a","API_METHOD":"GET"}"#,
        code: "/error_msg",
        codes: ("ERROR_LICENSE_UNKNOWN", "ERROR_TOO_MANY_FAILURES"),
    },
    Guess {
        name: "a key and its secret at APIMW",
        path: "/v1/auth/token",
        header: None,
        body: r#"{"api_key":"ak_live_x","api_secret":"sk_live_x"}"#,
        code: "/error/code",
        codes: ("INVALID_CREDENTIALS", "RATE_LIMIT_EXCEEDED"),
    },
    Guess {
        name: "an access token of APIMW",
        path: "/v1/auth/revoke",
        header: Some(("authorization", "Bearer a.b.c")),
        body: "",
        code: "/error/code",
        codes: ("INVALID_TOKEN", "RATE_LIMIT_EXCEEDED"),
    },
    Guess {
        name: "a management key at better-auth",
        path: "/api/auth/api-key/create",
        header: Some((
            "authorization",
            "Bearer 0f1c1d7e-0f2b-4c39-9a51-3d9f5a7b1c2d",
        )),
        body: "{}",
        code: "/code",
        codes: ("UNAUTHORIZED_SESSION", "TOO_MANY_REQUESTS"),
    },
];

impl Guess {
    /// Sends guesses from an address that a trusted proxy names.
    async fn from(&self, world: &World, address: &str) -> Answer {
        let mut request = Request::post(self.path)
            .header("host", "localhost")
            .header("x-forwarded-for", address);
        if let Some((name, value)) = self.header {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(self.body)));
        world.ask([127, 0, 0, 2], request.expect("a request")).await
    }

    fn code(&self, answer: &Answer) -> String {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or(json!(null));
        let code = body.pointer(self.code).and_then(Value::as_str);
        code.unwrap_or_else(|| panic!("{}: {}", self.name, answer.text()))
            .to_owned()
    }
}

#[tokio::test]
async fn an_address_that_guesses_is_slowed_down_on_every_surface_until_its_minute_ends() {
    let world = World::by_hand(SHIPPED).await;
    for (number, guess) in GUESSES.iter().enumerate() {
        let address = format!("192.0.2.{}", number + 1);
        for _ in 0..100 {
            let answer = guess.from(&world, &address).await;
            assert_eq!(answer.status, 401, "{}: {}", guess.name, answer.text());
            assert_eq!(guess.code(&answer), guess.codes.0, "{}", guess.name);
        }
        let slowed = guess.from(&world, &address).await;
        assert_eq!(slowed.status, 429, "{}: {}", guess.name, slowed.text());
        assert_eq!(guess.code(&slowed), guess.codes.1, "{}", guess.name);
        let wait: u64 = slowed.header("retry-after").parse().expect(guess.name);
        assert!((1..=60).contains(&wait), "{}: {wait}", guess.name);
        // Another address is another guesser, and this one is not one on this surface only.
        assert_eq!(guess.from(&world, "198.51.100.1").await.status, 401);
        let elsewhere = &GUESSES[(number + 1) % GUESSES.len()];
        assert_eq!(elsewhere.from(&world, &address).await.status, 429);
    }
    world.advance(Duration::from_secs(60)).await;
    for (number, guess) in GUESSES.iter().enumerate() {
        let address = format!("192.0.2.{}", number + 1);
        assert_eq!(guess.from(&world, &address).await.status, 401);
    }
}
