//! APIMW: a key and its secret for tokens, their refreshing, revocation and forgery.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use testkit::{Config, Gateway, Request, Site, assert_eventually, binary};

use crate::support::apimw::{Answer, Pair, Tokens, ask, bearer, me, post, refresh_request};

fn site() -> Site {
    Site::start(binary!())
}

/// A site whose sessions are as these lines of `[apimw]` say.
fn site_with(lines: &str) -> Site {
    let table = format!("[apimw]\n{lines}");
    Site::with(binary!(), |upstream| Config::new(upstream).table(&table))
}

/// The time since 1970.
fn now() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("it is later than 1970")
}

fn part(token: &str, number: usize) -> Value {
    let text = token
        .split('.')
        .nth(number)
        .expect("a token has three parts");
    let bytes = URL_SAFE_NO_PAD.decode(text).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn forge(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

#[test]
fn case_29_the_right_key_and_secret_give_the_four_fields() {
    let site = site();
    let pair = Pair::create(&site.gateway, &[]);
    let answer = ask(&site.gateway, &pair.request());
    let tokens = answer.tokens();
    assert_eq!(answer.body["data"]["token_type"], "Bearer");
    assert_eq!(answer.body["data"]["expires_in"], 3600);
    let header = part(&tokens.access, 0);
    assert_eq!(
        (&header["alg"], &header["typ"]),
        (&"HS256".into(), &"JWT".into())
    );
    let claims = part(&tokens.access, 1);
    let seconds = |name: &str| claims[name].as_i64().expect(name);
    assert_eq!(seconds("exp") - seconds("iat"), 3600);
    assert_eq!(claims["sub"], pair.id);
    assert!(tokens.access.starts_with("eyJ") && !tokens.access.contains(&pair.secret));
    let again = pair.log_in(&site.gateway);
    assert_ne!(again.access, tokens.access);
    assert_ne!(again.refresh, tokens.refresh);
}

#[test]
fn case_30_a_wrong_secret_and_an_unknown_key_are_answered_alike() {
    let site = site();
    let (pair, other) = (
        Pair::create(&site.gateway, &[]),
        Pair::create(&site.gateway, &[]),
    );
    let bearer_key = site.gateway.cli().json(&["key", "create"]);
    let bearer_key = bearer_key["key"].as_str().expect("a key");
    let unknown = "00000000-0000-4000-8000-000000000000";
    let attempts = [
        (pair.key.as_str(), other.secret.as_str()),
        (unknown, &pair.secret),
        (&pair.secret, &pair.key),
        (&pair.key, &pair.key),
        ("ak_live_nonsense", "sk_live_nonsense"),
        (bearer_key, bearer_key),
        ("x", "y"),
    ];
    let mut bodies = HashSet::new();
    for (key, secret) in attempts {
        let body = json!({"api_key": key, "api_secret": secret});
        let answer = ask(&site.gateway, &post("/v1/auth/token", &body));
        assert_eq!(answer.refusal(), (401, "INVALID_CREDENTIALS"), "{key}");
        bodies.insert(answer.body.to_string());
    }
    assert_eq!(
        bodies.len(),
        1,
        "nothing tells which half was wrong: {bodies:?}"
    );
}

#[test]
fn case_31_a_missing_field_and_every_bad_one_is_a_400_that_names_it() {
    let site = site();
    let pair = Pair::create(&site.gateway, &[]);
    let long = "x".repeat(2_000);
    let cases = [
        ("/v1/auth/token", json!({"api_key": pair.key}), "api_secret"),
        (
            "/v1/auth/token",
            json!({"api_secret": pair.secret}),
            "api_key",
        ),
        ("/v1/auth/token", json!({}), "api_key"),
        (
            "/v1/auth/token",
            json!({"api_key": 7, "api_secret": "x"}),
            "api_key",
        ),
        (
            "/v1/auth/token",
            json!({"api_key": "x", "api_secret": null}),
            "api_secret",
        ),
        (
            "/v1/auth/token",
            json!({"api_key": "x", "api_secret": ["x"]}),
            "api_secret",
        ),
        (
            "/v1/auth/token",
            json!({"api_key": long, "api_secret": "x"}),
            "api_key",
        ),
        (
            "/v1/auth/token",
            json!({"api_key": "", "api_secret": "x"}),
            "api_key",
        ),
        (
            "/v1/auth/token",
            json!({"api_key": "k\u{e9}y", "api_secret": "x"}),
            "api_key",
        ),
        (
            "/v1/auth/token",
            json!({"api_key": "x", "api_secret": "y", "grant": 1}),
            "grant",
        ),
        ("/v1/auth/refresh", json!({}), "refresh_token"),
        (
            "/v1/auth/refresh",
            json!({"refresh_token": {}}),
            "refresh_token",
        ),
        (
            "/v1/auth/refresh",
            json!({"refresh_token": long}),
            "refresh_token",
        ),
        (
            "/v1/auth/refresh",
            json!({"refresh_token": "x", "token": "y"}),
            "token",
        ),
    ];
    for (path, body, field) in cases {
        let answer = ask(&site.gateway, &post(path, &body));
        assert_eq!(answer.refusal(), (400, "INVALID_REQUEST"), "{body}");
        assert!(
            answer.message().contains(&format!("`{field}`")),
            "{answer:?}"
        );
        assert!(!answer.message().contains(&pair.secret), "{answer:?}");
    }
    let deep = format!("{{\"api_key\":{}", "[".repeat(100_000));
    let bodies: [&[u8]; 6] = [
        b"",
        b"not json",
        b"[]",
        b"\xff\xfe",
        b"{\"api_key\":\"\xff\"}",
        deep.as_bytes(),
    ];
    for body in bodies {
        for path in ["/v1/auth/token", "/v1/auth/refresh"] {
            let answer = ask(&site.gateway, &Request::post(path, body));
            assert_eq!(answer.refusal(), (400, "INVALID_REQUEST"));
        }
    }
    let huge = vec![b' '; (1 << 20) + 1];
    let answer = ask(&site.gateway, &Request::post("/v1/auth/token", &huge));
    assert_eq!(answer.refusal(), (413, "INVALID_REQUEST"));
    for (method, path) in [
        ("GET", "/v1/auth/token"),
        ("DELETE", "/v1/auth/refresh"),
        ("PUT", "/v1/auth/revoke"),
        ("POST", "/v1/auth/me"),
    ] {
        let answer = ask(&site.gateway, &Request::new(method, path));
        assert_eq!(
            answer.refusal(),
            (405, "METHOD_NOT_ALLOWED"),
            "{method} {path}"
        );
    }
    // Nothing of it was half done.
    pair.log_in(&site.gateway);
}

#[test]
fn case_32_a_fresh_access_token_is_accepted_and_an_expired_one_is_told_so() {
    let site = site_with("access_lifetime = \"2s\"");
    let pair = Pair::create(&site.gateway, &[]);
    let tokens = pair.log_in(&site.gateway);
    assert_eq!(tokens.me(&site.gateway).status, 200);
    let exp = part(&tokens.access, 1)["exp"].as_u64().expect("seconds");
    assert_eventually!(now().as_secs() > exp);
    assert_eq!(tokens.me(&site.gateway).refusal(), (401, "EXPIRED_TOKEN"));
    assert_eq!(
        tokens.revoke(&site.gateway).refusal(),
        (401, "EXPIRED_TOKEN")
    );
    // The refresh token outlives it.
    let next = tokens.refresh(&site.gateway).tokens();
    assert_eq!(next.me(&site.gateway).status, 200);
}

#[test]
fn case_33_a_changed_byte_no_algorithm_another_algorithm_and_another_key_are_refused() {
    for algorithm in ["HS256", "EdDSA"] {
        let site = site_with(&format!("algorithm = \"{algorithm}\""));
        let token = Pair::create(&site.gateway, &[])
            .log_in(&site.gateway)
            .access;
        assert_eq!(part(&token, 0)["alg"], algorithm);
        assert_eq!(me(&site.gateway, &token).status, 200);
        for forged in forgeries(&site.gateway, &token) {
            let answer = me(&site.gateway, &forged);
            assert_eq!(answer.refusal(), (401, "INVALID_TOKEN"), "{forged}");
        }
        for at in (0..token.len()).step_by(7) {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            let answer = me(&site.gateway, &changed);
            assert_eq!(answer.refusal(), (401, "INVALID_TOKEN"), "byte {at}");
        }
        assert_eq!(me(&site.gateway, &token).status, 200);
    }
}

/// Tokens that say the same as a good one, each signed otherwise.
fn forgeries(gateway: &Gateway, token: &str) -> Vec<String> {
    let (header, claims) = (part(token, 0), part(token, 1));
    let with = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        header
    };
    let claiming = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let mine = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).expect("32 bytes");
    let x = URL_SAFE_NO_PAD.encode(mine.public_key().as_ref());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": header["kid"]});
    let by_me = |message: &[u8]| mine.sign(message).as_ref().to_vec();
    let by_secret = |secret: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        move |message: &[u8]| hmac::sign(&key, message).as_ref().to_vec()
    };
    let nothing = |_: &[u8]| Vec::new();
    let published = testkit::client::call(
        gateway.control_addr(),
        &Request::get("/.well-known/jwks.json"),
    );
    let published = published.json();
    let mut forged = vec![
        forge(&with("alg", "none".into()), &claims, nothing),
        forge(&json!({"alg": "none"}), &claims, nothing),
        forge(&header, &claims, nothing),
        forge(&header, &claims, by_me),
        forge(&header, &claims, by_secret(b"secret")),
        forge(&header, &claims, by_secret(b"")),
        forge(&with("alg", "EdDSA".into()), &claims, by_me),
        forge(&with("alg", "HS256".into()), &claims, by_secret(b"secret")),
        forge(&with("alg", "HS512".into()), &claims, by_secret(b"secret")),
        forge(&with("alg", "RS256".into()), &claims, by_me),
        forge(
            &with("kid", "sgk_00000000000000000000000000000001".into()),
            &claims,
            by_me,
        ),
        forge(&with("kid", json!(null)), &claims, by_me),
        forge(
            &with("jku", "http://127.0.0.1:1/jwks.json".into()),
            &claims,
            by_me,
        ),
        forge(
            &with("x5u", "http://127.0.0.1:1/cert.pem".into()),
            &claims,
            by_me,
        ),
        forge(&with("jwk", jwk), &claims, by_me),
        forge(&header, &claiming("exp", json!(99_999_999_999_i64)), by_me),
        token.replace('.', ""),
        format!("{token}x"),
        "x".repeat(5_000),
    ];
    // The published keys as if they were secrets, which a verifier that trusts `alg` would believe.
    for key in published["keys"].as_array().expect("keys") {
        let public = URL_SAFE_NO_PAD
            .decode(key["x"].as_str().expect("x"))
            .expect("base64url");
        let as_key = json!({"alg": "HS256", "typ": "JWT", "kid": key["kid"]});
        forged.push(forge(&as_key, &claims, by_secret(&public)));
        forged.push(forge(&header, &claims, by_secret(&public)));
    }
    forged
}

#[test]
fn a_request_without_a_bearer_token_or_with_a_management_key_is_refused() {
    let site = site();
    let key = site.gateway.cli().json(&["key", "create"]);
    let key = key["key"].as_str().expect("a key");
    let pair = Pair::create(&site.gateway, &[]);
    let requests = [
        Request::get("/v1/auth/me"),
        Request::get("/v1/auth/me").header("Authorization", "Basic eA=="),
        Request::get("/v1/auth/me").header("Authorization", "Bearer"),
        bearer(bearer(Request::get("/v1/auth/me"), "a"), "b"),
        bearer(Request::get("/v1/auth/me"), key),
        bearer(Request::get("/v1/auth/me"), &pair.secret),
        bearer(
            Request::get("/v1/auth/me"),
            &pair.log_in(&site.gateway).refresh,
        ),
    ];
    for request in requests {
        let answer = ask(&site.gateway, &request);
        assert_eq!(answer.refusal(), (401, "INVALID_TOKEN"), "{request:?}");
    }
}

#[test]
fn case_34_a_refresh_gives_a_new_pair_and_the_old_refresh_token_is_dead() {
    let site = site();
    let first = Pair::create(&site.gateway, &[]).log_in(&site.gateway);
    let answer = first.refresh(&site.gateway);
    let second = answer.tokens();
    assert_eq!(answer.body["data"]["expires_in"], 3600);
    assert_ne!(second.access, first.access);
    assert_ne!(second.refresh, first.refresh);
    assert_eq!(second.me(&site.gateway).status, 200);
    let third = second.refresh(&site.gateway).tokens();
    assert_eq!(third.me(&site.gateway).status, 200);
    assert_eq!(
        first.refresh(&site.gateway).refusal(),
        (401, "INVALID_REFRESH_TOKEN")
    );
}

#[test]
fn case_35_a_replayed_refresh_token_revokes_the_whole_family() {
    let site = site();
    let pair = Pair::create(&site.gateway, &[]);
    let first = pair.log_in(&site.gateway);
    let stranger = pair.log_in(&site.gateway);
    let second = first.refresh(&site.gateway).tokens();
    let third = second.refresh(&site.gateway).tokens();
    assert_eq!(
        first.refresh(&site.gateway).refusal(),
        (401, "INVALID_REFRESH_TOKEN")
    );
    for tokens in [&first, &second, &third] {
        assert_eq!(tokens.me(&site.gateway).refusal(), (401, "REVOKED_TOKEN"));
        assert_eq!(
            tokens.refresh(&site.gateway).refusal(),
            (401, "INVALID_REFRESH_TOKEN")
        );
    }
    assert_eq!(
        stranger.me(&site.gateway).status,
        200,
        "another log-in is another family"
    );
    assert_eq!(stranger.refresh(&site.gateway).status, 200);
}

#[test]
fn case_36_exactly_one_of_twenty_parallel_refreshes_succeeds() {
    let site = site();
    let pair = Pair::create(&site.gateway, &[]);
    for _ in 0..3 {
        let tokens = pair.log_in(&site.gateway);
        let barrier = std::sync::Barrier::new(20);
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let one = || {
                barrier.wait();
                tokens.refresh(&site.gateway)
            };
            let threads: Vec<_> = (0..20).map(|_| scope.spawn(one)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!(won.len(), 1);
        for answer in lost {
            assert_eq!(answer.refusal(), (401, "INVALID_REFRESH_TOKEN"));
        }
    }
}

#[test]
fn case_37_a_refresh_token_that_is_too_old_is_refused_and_ends_nothing() {
    let site = site_with("access_lifetime = \"2s\"\nrefresh_lifetime = \"2s\"");
    let pair = Pair::create(&site.gateway, &[]);
    let old = pair.log_in(&site.gateway);
    let logged_in = now();
    assert_eventually!(now() >= logged_in + Duration::from_secs(2));
    // Used this once, so that nothing but its age can be wrong with it.
    let refused = old.refresh(&site.gateway);
    assert_eq!(refused.refusal(), (401, "INVALID_REFRESH_TOKEN"));
    // One that is refused for its age is no replay.
    let replays = ["audit", "--action", "session.replay", "--json"];
    assert_eq!(site.gateway.cli().text(&replays), "");
    // Thirty days hold where the file says nothing else.
    assert!(include_str!("../../gateway.toml").contains("\nrefresh_lifetime = \"30d\"\n"));
}

#[test]
fn what_is_no_refresh_token_is_refused() {
    let site = site();
    let tokens = Pair::create(&site.gateway, &[]).log_in(&site.gateway);
    for text in [
        "rt_",
        "rt_00",
        "x",
        &tokens.access,
        &tokens.refresh.to_uppercase(),
        &format!("{}0", tokens.refresh),
    ] {
        let answer = ask(&site.gateway, &refresh_request(text));
        assert_eq!(answer.refusal(), (401, "INVALID_REFRESH_TOKEN"), "{text}");
    }
    assert_eq!(tokens.refresh(&site.gateway).status, 200);
}

#[test]
fn case_38_a_revoked_access_token_is_dead_at_once_with_its_family() {
    let site = site();
    let pair = Pair::create(&site.gateway, &[]);
    let first = pair.log_in(&site.gateway);
    let second = first.refresh(&site.gateway).tokens();
    let stranger = pair.log_in(&site.gateway);
    let answer = first.revoke(&site.gateway);
    assert_eq!(
        (answer.status, &answer.body["data"]["revoked"]),
        (200, &true.into())
    );
    for tokens in [&first, &second] {
        assert_eq!(tokens.me(&site.gateway).refusal(), (401, "REVOKED_TOKEN"));
        assert_eq!(
            tokens.revoke(&site.gateway).refusal(),
            (401, "REVOKED_TOKEN")
        );
        assert_eq!(
            tokens.refresh(&site.gateway).refusal(),
            (401, "INVALID_REFRESH_TOKEN")
        );
    }
    assert_eq!(stranger.me(&site.gateway).status, 200);
    assert_eq!(pair.log_in(&site.gateway).me(&site.gateway).status, 200);
}

#[test]
fn a_revocation_outlives_a_crash() {
    let mut site = site();
    let tokens = Pair::create(&site.gateway, &[]).log_in(&site.gateway);
    let alive = Pair::create(&site.gateway, &[]).log_in(&site.gateway);
    assert_eq!(tokens.revoke(&site.gateway).status, 200);
    site.gateway.kill9();
    site.gateway.restart();
    assert_eq!(tokens.me(&site.gateway).refusal(), (401, "REVOKED_TOKEN"));
    assert_eq!(
        alive.me(&site.gateway).status,
        200,
        "the signing keys are those of the store"
    );
    assert_eq!(alive.refresh(&site.gateway).status, 200);
}

#[test]
fn case_39_tokens_and_refreshes_of_a_disabled_key_fail() {
    let site = site();
    let pair = Pair::create(&site.gateway, &[]);
    let tokens = pair.log_in(&site.gateway);
    let _ = site.gateway.cli().text(&["key", "revoke", &pair.id]);
    assert_eq!(tokens.me(&site.gateway).refusal(), (401, "REVOKED_TOKEN"));
    assert_eq!(
        tokens.refresh(&site.gateway).refusal(),
        (401, "INVALID_REFRESH_TOKEN")
    );
    let answer = ask(&site.gateway, &pair.request());
    assert_eq!(answer.refusal(), (401, "INVALID_CREDENTIALS"));
}

#[test]
fn case_40_me_tells_user_tenant_and_permissions() {
    let site = Site::with(binary!(), |upstream| {
        let plan = "[[plan]]\nname = \"pro\"\nrate_limits = [\"60/1m\"]";
        let app = testkit::App::new("api", upstream).line("plan = \"pro\"");
        Config::default().table(plan).app(app)
    });
    let license = site.gateway.license(&["--user", "ann@example.test"]);
    let arguments = [
        "--name",
        "robot",
        "--license",
        &license.id,
        "--scope",
        "read:usage",
        "--scope",
        "read:licenses",
    ];
    let pair = Pair::create(&site.gateway, &arguments);
    let answer = pair.log_in(&site.gateway).me(&site.gateway);
    let expected = json!({
        "user": {"id": pair.id, "email": "ann@example.test", "name": "robot"},
        "tenant": {"id": "default", "name": "default", "plan": "pro", "status": "active"},
        "permissions": ["licenses:read", "usage:read"],
    });
    assert_eq!((answer.status, &answer.body["data"]), (200, &expected));
    let plain = Pair::create(&site.gateway, &[])
        .log_in(&site.gateway)
        .me(&site.gateway);
    assert_eq!(plain.body["data"]["tenant"]["plan"], Value::Null);
    let all = plain.body["data"]["permissions"]
        .as_array()
        .expect("a list");
    assert!(
        all.iter()
            .all(|word| word.as_str().is_some_and(|word| word.contains(':')))
            && all.len() >= 6
    );
}

#[test]
fn no_secret_of_a_session_is_in_a_log_or_a_file() {
    let site = Site::with(binary!(), |upstream| {
        Config::new(upstream).table("[log]\nlevel = \"trace\"")
    });
    let license = site.gateway.license(&[]);
    let pair = Pair::create(&site.gateway, &["--license", &license.id]);
    let first = pair.log_in(&site.gateway);
    let second = first.refresh(&site.gateway).tokens();
    assert_eq!(second.me(&site.gateway).status, 200);
    let call = bearer(Request::get("/echo"), &second.access);
    assert_eq!(site.gateway.call(&call).status, 200);
    let _ = first.refresh(&site.gateway);
    let signature = |tokens: &Tokens| {
        tokens
            .access
            .rsplit('.')
            .next()
            .expect("a signature")
            .to_owned()
    };
    let secrets = [
        pair.secret.clone(),
        pair.key.clone(),
        first.refresh.clone(),
        second.refresh.clone(),
        signature(&first),
        signature(&second),
    ];
    let log = site.gateway.log();
    for secret in &secrets {
        assert!(!log.contains(secret.as_str()), "{secret} is in the log");
        assert_eq!(
            files_with(&site.gateway.data_dir(), secret),
            Vec::<String>::new()
        );
    }
}

/// Files under a folder that contain the text.
fn files_with(folder: &std::path::Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let bytes = std::fs::read(&path).unwrap_or_default();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}
