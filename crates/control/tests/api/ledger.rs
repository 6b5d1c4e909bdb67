//! Tests of usage, calls, and the upkeep of the ledger.

use std::collections::HashSet;

use serde_json::Value;

use crate::support::World;

const START: i64 = 1_790_000_000_000_000;

/// Writes calls in groups that began in the same microsecond.
fn write_calls(world: &World, license: &Value, count: u32) {
    for number in 0..count {
        world.call(license, number, START + i64::from(number / 4));
    }
}

#[tokio::test]
async fn usage_is_an_array_of_rows() {
    let world = World::start().await;
    let license = world.license(r#"{"app":"api"}"#).await;
    write_calls(&world, &license, 7);
    let id = license["id"].as_str().unwrap();
    let rows = world
        .get(&format!("/usage?license={id}&by=license,status,plan,day"))
        .await;
    let row = &rows[0];
    assert_eq!(row["license_id"], id);
    assert_eq!((&row["status"], &row["plan"]), (&200.into(), &"pro".into()));
    assert_eq!(
        (&row["calls"], &row["billable_calls"], &row["units"]),
        (&7.into(), &7.into(), &7.into())
    );
    assert_eq!(
        (&row["amount"], &row["currency"]),
        (&"0.07".into(), &"EUR".into())
    );
    assert_eq!(
        world.get("/usage?from=2999-01-01T00:00:00Z&by=app").await,
        serde_json::json!([])
    );
}

#[tokio::test]
async fn calls_come_as_lines_and_as_pages_each_once() {
    let world = World::start().await;
    let license = world.license(r#"{"app":"api"}"#).await;
    write_calls(&world, &license, 23);
    let answer = world.local("GET", "/calls?format=jsonl", "").await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let lines: Vec<Value> = answer
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ids = |calls: &[Value]| {
        calls
            .iter()
            .map(|call| call["call_id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(lines.len(), 23);
    for field in [
        "call_id",
        "license_id",
        "app",
        "route",
        "method",
        "status",
        "outcome",
        "mode",
        "billable",
        "units",
        "plan",
        "request_bytes",
        "response_bytes",
        "duration_us",
        "upstream_us",
        "attempts",
        "started_at",
        "node",
    ] {
        assert!(lines[0].get(field).is_some(), "{field} is missing");
    }
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/calls?limit=5{cursor}")).await;
        paged.extend(ids(page["items"].as_array().unwrap()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, ids(&lines), "the same calls in the same order");
    assert_eq!(paged.iter().collect::<HashSet<_>>().len(), 23);
    let few = world.local("GET", "/calls?format=jsonl&limit=3", "").await;
    assert_eq!(few.text().lines().count(), 3);
    // Not a page of lines from there on, and not all lines either.
    let last = ids(&lines).pop().unwrap();
    let path = format!("/calls?cursor=1790000000000000.{last}");
    let accepts = [("Accept", "application/x-ndjson")];
    let refused = world.local_with(&accepts, "GET", &path, "").await.json(400);
    assert_eq!(refused["field"], "cursor");
    assert!(refused["detail"].as_str().unwrap().contains("`from`"));
}

#[tokio::test]
async fn answers_that_would_lack_a_call_that_has_ended_are_refused_or_say_so() {
    let world = World::start().await;
    let license = world.license(r#"{"app":"api"}"#).await;
    write_calls(&world, &license, 3);
    let before = world.get("/calls/closed").await;
    assert_eq!(before["items"].as_array().unwrap().len(), 3);
    world.call_without_a_disk(&license, 900, 1_790_000_000_000_000);
    let next = before["next"].as_str().unwrap();
    let follow = format!("/calls/closed?cursor={next}");
    for (method, path) in [
        ("GET", "/calls"),
        ("GET", "/calls?format=jsonl"),
        ("GET", "/stamps"),
        ("GET", "/ledger/export?format=jsonl"),
        ("GET", "/ledger/export?format=csv"),
        ("GET", "/ledger/export?format=parquet"),
        ("GET", &follow),
        ("POST", "/ledger/ship"),
    ] {
        let answer = world.local(method, path, "").await;
        assert_eq!(answer.code(503), "journal_unavailable", "{path}");
        assert_eq!(answer.header("retry-after"), "1", "{path}");
        assert!(answer.text().contains("look at the disk"), "{path}");
    }
    let usage = world.local("GET", "/usage", "").await;
    assert_eq!(usage.json(200)[0]["calls"], 3);
    assert_eq!(usage.header("tallygate-records-behind"), "1");
    let verified = world.local("POST", "/ledger/verify", "").await.json(200);
    assert_eq!(verified["clean"], false);
    assert_eq!(verified["problems"][0]["fault"], "not_shipped");
}

#[tokio::test]
async fn a_key_of_another_account_sees_no_calls() {
    let world = World::start().await;
    world
        .local("POST", "/accounts", r#"{"name":"acme"}"#)
        .await
        .json(201);
    let license = world.license(r#"{"app":"api"}"#).await;
    write_calls(&world, &license, 3);
    let key = world.key(r#"{"account":"acme"}"#).await;
    let id = license["id"].as_str().unwrap();
    let calls = world
        .remote(Some(&key), "GET", &format!("/calls?license={id}"), "")
        .await
        .json(200);
    assert_eq!(calls["items"], serde_json::json!([]));
    let usage = world
        .remote(Some(&key), "GET", "/usage?by=license", "")
        .await
        .json(200);
    assert_eq!(usage, serde_json::json!([]));
    let own = world.key("{}").await;
    let calls = world
        .remote(Some(&own), "GET", "/calls", "")
        .await
        .json(200);
    assert_eq!(calls["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn the_books_are_verified_shipped_exported_and_rebuilt() {
    let world = World::start().await;
    let license = world.license(r#"{"app":"api"}"#).await;
    write_calls(&world, &license, 9);
    let shipped = world.local("POST", "/ledger/ship", "").await.json(200);
    assert_eq!(shipped, serde_json::json!({"anew": true, "pending": 0}));
    let verified = world.local("POST", "/ledger/verify", "").await.json(200);
    let expected = serde_json::json!({
        "clean": true, "accepted": 9, "stored": 9, "pending": 0, "lost": 0, "duplicated": 0, "problems": [],
    });
    assert_eq!(verified, expected);
    let lines = async |format: &str| {
        let answer = world
            .local("GET", &format!("/ledger/export?format={format}"), "")
            .await;
        assert_eq!(answer.status, 200);
        answer
    };
    assert_eq!(lines("jsonl").await.text().lines().count(), 9);
    assert_eq!(lines("csv").await.text().lines().count(), 10);
    let parquet = lines("parquet").await.body;
    assert_eq!(
        (&parquet[..4], &parquet[parquet.len() - 4..]),
        (&b"PAR1"[..], &b"PAR1"[..])
    );
    let answer = world.local("GET", "/ledger/export?format=xml", "").await;
    assert_eq!(answer.json(400)["field"], "format");
    world.local("POST", "/ledger/rebuild", "").await.json(200);
    assert_eq!(world.get("/usage").await[0]["calls"], 9);
    let nowhere = world
        .local("POST", "/ledger/ship", r#"{"dir":"/nowhere/at/all"}"#)
        .await;
    assert_eq!(nowhere.code(409), "conflict");
}
