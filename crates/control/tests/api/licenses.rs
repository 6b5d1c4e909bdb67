//! Tests of licenses, from creation to revocation.

use std::collections::HashSet;

use crate::support::World;

#[tokio::test]
async fn a_license_goes_through_its_life() {
    let world = World::start().await;
    let made = world
        .license(
            r#"{"app":"api","plan":"pro","user":"u1","label":"l","remaining":10,"refill":"5/1h,add",
            "rate_limits":["10/1m","100/1h"],"concurrency":3,"permissions":["GET /reports"],
            "allow_ips":["10.0.0.0/8"],"expires_at":"2099-01-01T00:00:00Z"}"#,
        )
        .await;
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("tg_"), "{made}");
    assert_eq!(made["remaining"], 10);
    let path = format!("/licenses/{}", made["id"].as_str().unwrap());
    let shown = world.local("GET", &path, "").await;
    assert!(!shown.text().contains(key), "a key is shown once");
    let shown = shown.json(200);
    assert_eq!(shown["refill"], "5/1h,add");
    assert_eq!(shown["permissions"][0], "GET /reports");
    assert_eq!(shown["balance"]["granted"], 10);

    let act = async |action: &str, body: &str| {
        world
            .local("POST", &format!("{path}/{action}"), body)
            .await
            .json(200)
    };
    assert_eq!(act("disable", "").await["status"], "disabled");
    assert_eq!(act("enable", "{}").await["status"], "active");
    assert_eq!(
        act("extend", r#"{"by":"1d"}"#).await["expires_at"],
        "2099-01-02T00:00:00Z"
    );
    assert_eq!(
        act("extend", r#"{"expires_at":"2098-01-01T00:00:00Z"}"#).await["expires_at"],
        "2098-01-01T00:00:00Z"
    );
    let rotated = act("rotate", r#"{"overlap":"1h"}"#).await;
    assert_ne!(rotated["key"], made["key"]);
    assert_eq!(rotated["credentials"].as_array().unwrap().len(), 2);
    assert!(
        rotated["credentials"][0]["expires_at"].is_string(),
        "{rotated}"
    );

    let change = r#"{"label":null,"remaining":3,"rate_limits":[],"expires_at":null}"#;
    let changed = world.local("PATCH", &path, change).await.json(200);
    assert_eq!(
        (&changed["label"], &changed["expires_at"]),
        (&().into(), &().into())
    );
    assert_eq!(
        (&changed["remaining"], &changed["concurrency"]),
        (&3.into(), &3.into())
    );
    let answer = world
        .local("POST", &format!("{path}/extend"), r#"{"by":"1d"}"#)
        .await;
    assert_eq!(answer.json(400)["field"], "by");
    let change = r#"{"permissions":["GET /a"],"allow_ips":["192.0.2.0/24"]}"#;
    let narrowed = world.local("PATCH", &path, change).await.json(200);
    assert_eq!(narrowed["permissions"], serde_json::json!(["GET /a"]));
    assert_eq!(narrowed["allow_ips"], serde_json::json!(["192.0.2.0/24"]));

    let change = r#"{"device_slots":2,"unlimited_devices":true,"variables":{"tier":"pro"}}"#;
    let bound = world.local("PATCH", &path, change).await.json(200);
    let terms = |license: &serde_json::Value| {
        let fields = ["device_slots", "unlimited_devices", "variables", "devices"];
        fields.map(|name| license[name].clone())
    };
    let said = serde_json::json!([2, true, {"tier": "pro"}, []]);
    assert_eq!(serde_json::json!(terms(&bound)), said);
    assert_eq!(terms(&act("reset-devices", "").await), terms(&bound));
    let exact = r#""variables":{"rate":97.45365320034685}"#;
    let change = format!("{{{exact}}}");
    let exactly = world.local("PATCH", &path, change).await;
    assert!(exactly.text().contains(exact), "{exactly:?}");
    assert!(world.local("GET", &path, "").await.text().contains(exact));
    let change = r#"{"device_slots":null,"unlimited_devices":null,"variables":null}"#;
    let emptied = world.local("PATCH", &path, change).await.json(200);
    let said = serde_json::json!([null, false, {}, []]);
    assert_eq!(serde_json::json!(terms(&emptied)), said);

    assert_eq!(act("revoke", "").await["status"], "revoked");
    assert_eq!(act("revoke", "").await["status"], "revoked");
    for action in ["enable", "rotate", "reset-devices"] {
        let answer = world.local("POST", &format!("{path}/{action}"), "").await;
        assert_eq!(answer.code(409), "conflict");
    }
}

#[tokio::test]
async fn a_change_that_is_refused_in_one_field_changes_none() {
    let world = World::start().await;
    let made = world.license(r#"{"app":"api","label":"first"}"#).await;
    let path = format!("/licenses/{}", made["id"].as_str().unwrap());
    let before = world.local("GET", &path, "").await.json(200);
    for (field, value) in [
        ("plan", r#""no-such-plan""#),
        ("remaining", "9223372036854775808"),
        ("permissions", r#"["nonsense"]"#),
        ("allow_ips", r#"["192.0.2.0/33"]"#),
        ("allow_ips", r#"["192.0.2.7/0"]"#),
        ("rate_limits", r#"["5/0s"]"#),
        ("device_slots", "17"),
        ("variables", r#"{"a":[1]}"#),
        ("nothing", "1"),
    ] {
        let change = format!(r#"{{"label":"second","expires_at":null,"{field}":{value}}}"#);
        let answer = world.local("PATCH", &path, change.as_str()).await;
        assert_eq!(answer.status, 400, "{field}: {}", answer.text());
        assert!(answer.text().contains(field), "{}", answer.text());
    }
    assert_eq!(world.local("GET", &path, "").await.json(200), before);
}

#[tokio::test]
async fn keys_come_in_the_shape_that_is_asked_for_and_keep_it() {
    let world = World::start().await;
    for (format, length) in [
        ("tallygate", 52),
        ("uuid", 36),
        ("apifew", 40),
        ("authforge", 19),
    ] {
        let body = format!(r#"{{"app":"api","key_format":"{format}"}}"#);
        let made = world.license(&body).await;
        assert_eq!(made["key"].as_str().unwrap().len(), length, "{format}");
        let path = format!("/licenses/{}/rotate", made["id"].as_str().unwrap());
        let rotated = world.local("POST", &path, "").await.json(200);
        assert_eq!(rotated["key"].as_str().unwrap().len(), length, "{format}");
    }
}

#[tokio::test]
async fn an_existing_key_is_taken_over_once() {
    let world = World::start().await;
    let body = r#"{"app":"api","key":"legacy-key-0123456789"}"#;
    assert_eq!(world.license(body).await["key"], "legacy-key-0123456789");
    assert_eq!(
        world.local("POST", "/licenses", body).await.code(409),
        "exists"
    );
}

#[tokio::test]
async fn pages_hold_every_license_once() {
    let world = World::start().await;
    let mut made = HashSet::new();
    for user in ["a", "a", "b", "a", "a", "a"] {
        let license = world
            .license(&format!(r#"{{"app":"api","user":"{user}"}}"#))
            .await;
        if user == "a" {
            made.insert(license["id"].as_str().unwrap().to_owned());
        }
    }
    let (mut listed, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let page = world
            .get(&format!("/licenses?user=a&limit=2{cursor}"))
            .await;
        listed.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        pages += 1;
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((pages, listed.len()), (3, 5));
    assert_eq!(listed.into_iter().collect::<HashSet<_>>(), made);
    let even = world.get("/licenses?user=b&limit=1").await;
    assert!(even["next"].is_null(), "the last page names no next one");
}

#[tokio::test]
async fn many_licenses_are_made_by_one_request() {
    let world = World::start().await;
    let one = r#"{"app":"api"}"#;
    let body = format!(r#"{{"licenses":[{}]}}"#, vec![one; 500].join(","));
    let made = world.local("POST", "/licenses/bulk", body).await.json(201);
    let keys: HashSet<_> = made["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys.len(), 500);
    let body = format!(r#"{{"licenses":[{}]}}"#, vec![one; 10_001].join(","));
    assert_eq!(
        world.local("POST", "/licenses/bulk", body).await.json(400)["field"],
        "licenses"
    );
    let bad = r#"{"licenses":[{"app":"api"},{"app":"api","key":"short"}]}"#;
    let problem = world.local("POST", "/licenses/bulk", bad).await.json(400);
    assert_eq!(problem["field"], "licenses[1].key");
    let list = world.get("/licenses?limit=1000").await;
    assert_eq!(
        list["items"].as_array().unwrap().len(),
        500,
        "a request that cannot be read makes nothing"
    );
}

#[tokio::test]
async fn a_bulk_whose_last_entry_is_refused_makes_nothing() {
    let world = World::start().await;
    let _ = world
        .local(
            "POST",
            "/licenses",
            r#"{"app":"api","key":"there-already"}"#,
        )
        .await
        .json(201);
    let different: Vec<_> = (0..40)
        .map(|number| format!(r#"{{"app":"api","label":"l{number}","key":"imported-{number}"}}"#))
        .collect();
    let bulk = |last: &[&str]| {
        let all = different
            .iter()
            .map(String::as_str)
            .chain(last.iter().copied());
        format!(r#"{{"licenses":[{}]}}"#, all.collect::<Vec<_>>().join(","))
    };
    let refused = [
        (
            &[r#"{"app":"api","key":"there-already"}"#][..],
            409,
            "licenses[40]",
        ),
        (
            &[r#"{"app":"api"}"#, r#"{"app":"api","key":"imported-7"}"#],
            409,
            "licenses[41]",
        ),
        (&[r#"{"app":"nowhere"}"#], 404, "licenses[40].app"),
        (
            &[r#"{"app":"api","plan":"nothing"}"#],
            400,
            "licenses[40].plan",
        ),
        (
            &[r#"{"app":"api","label":"\u0000"}"#],
            400,
            "licenses[40].label",
        ),
    ];
    for (last, status, field) in refused {
        let answer = world.local("POST", "/licenses/bulk", bulk(last)).await;
        assert_eq!(answer.json(status)["field"], field, "{last:?}");
        let list = world.get("/licenses?limit=1000").await;
        assert_eq!(list["items"].as_array().unwrap().len(), 1, "{last:?}");
    }
    let audit = world.get("/audit?action=license.&limit=1000").await;
    assert_eq!(
        audit["items"].as_array().unwrap().len(),
        1,
        "nor is it noted"
    );
    // What was refused left nothing in the way of the same entries.
    let made = world.local("POST", "/licenses/bulk", bulk(&[])).await;
    assert_eq!(made.json(201)["items"].as_array().unwrap().len(), 40);
}

#[tokio::test]
async fn a_further_key_has_the_shape_of_the_last_one_unless_another_is_named() {
    let world = World::start().await;
    let body = r#"{"app":"api","key_format":"authforge"}"#;
    let made = world.local("POST", "/licenses", body).await.json(201);
    let path = format!("/licenses/{}/credentials", made["id"].as_str().unwrap());
    for (body, kind) in [
        ("{}", "authforge"),
        (r#"{"key_format":"uuid"}"#, "uuid"),
        ("{}", "uuid"),
    ] {
        let added = world.local("POST", &path, body).await.json(201);
        let last = added["credentials"].as_array().unwrap().last().unwrap();
        assert_eq!(last["kind"], kind, "{body}");
    }
}
