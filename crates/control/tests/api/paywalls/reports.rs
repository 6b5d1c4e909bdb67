//! Accesses of agents that a site reports.

use serde_json::{Value, json};

use super::{GPTBOT, Site, refused};

const LOGS: &str = "/api/filter/access/logs";

/// A report as a client sends it.
fn report(status: &Value, resource: &str) -> Value {
    json!({
        "account_id": "default", "status": status, "method": "GET", "hostname": "api.test", "resource": resource,
        "user_agent": GPTBOT,
        "headers": { "host": "api.test", "user-agent": GPTBOT, "cookie": "session=c00kie", "authorization": "Bearer s3cret" },
    })
}

fn allowed() -> Value {
    json!({ "accountId": "default", "agentId": "OpenAI/GPTBot", "token": null, "access": "allow", "reason": "usage_allowed" })
}

#[tokio::test]
async fn case_58_a_report_is_a_record_of_the_app_whose_host_it_names() {
    let site = Site::start().await;
    let answer = site
        .post(LOGS, &report(&allowed(), "/articles/1?a=b"))
        .await;
    assert_eq!(answer.json(202), json!({ "message": "Accepted" }));
    let records = site.records().await;
    assert_eq!(records.len(), 1, "{records:?}");
    let record = &records[0];
    for (field, value) in [
        ("app", json!("api")),
        ("method", json!("GET")),
        ("status", json!(200)),
        ("outcome", json!("delivered")),
        ("license_id", Value::Null),
    ] {
        assert_eq!(record[field], value, "{field} of {record}");
    }
    let usage = site.world.get("/usage?by=mode").await;
    assert!(usage.to_string().contains("agent"), "{usage}");
}

#[tokio::test]
async fn case_58_a_denied_access_is_a_refusal_by_its_reason() {
    let site = Site::start().await;
    for (reason, code) in [
        ("usage_not_allowed", "agent_denied"),
        ("missing_user_agent", "agent_denied"),
        ("token_expired", "payment_required"),
    ] {
        let status = json!({ "token": null, "access": "deny", "reason": reason });
        site.post(LOGS, &report(&status, &format!("/{reason}")))
            .await
            .json(202);
        let records = site.records().await;
        let last = records.last().unwrap();
        assert_eq!(
            (&last["outcome"], &last["refusal"]),
            (&json!("refused"), &json!(code)),
            "{last}"
        );
        assert_eq!(last["billable"], false);
    }
}

#[tokio::test]
async fn case_58_the_license_of_a_token_pays_for_an_access() {
    let site = Site::start().await;
    let (token, id) = site.token(json!({ "plan": "pro", "remaining": 2 })).await;
    let status = json!({ "token": token, "access": "allow", "reason": "token_active", "time_remaining": 900 });
    for number in 0..3 {
        site.post(LOGS, &report(&status, &format!("/{number}")))
            .await
            .json(202);
    }
    let records = site.records().await;
    assert_eq!(records.len(), 3);
    for record in &records {
        assert_eq!(record["license_id"], json!(id), "{record}");
        assert_eq!(
            record["amount"], "0.01",
            "the work was done, beyond its units too: {record}"
        );
    }
    let token = site.world.get(&format!("/agents/tokens/{id}")).await;
    assert_eq!(token["remaining"], 0);
}

#[tokio::test]
async fn case_58_the_payer_that_a_token_names_pays_in_its_place() {
    let site = Site::start().await;
    let payer = site.world.license(r#"{"app":"api","remaining":5}"#).await;
    let (token, _) = site.token(json!({ "payer": payer["id"] })).await;
    let status = json!({ "token": token, "access": "allow", "reason": "token_active" });
    site.post(LOGS, &report(&status, "/a")).await.json(202);
    let path = format!("/licenses/{}", payer["id"].as_str().unwrap());
    assert_eq!(site.world.get(&path).await["remaining"], 4);
}

#[tokio::test]
async fn case_59_a_report_that_cannot_be_meant_is_refused_and_leaves_nothing() {
    let site = Site::start().await;
    let good = allowed();
    let with = |field: &str, value: Value| {
        let mut status = good.clone();
        match value {
            Value::Null => drop(status.as_object_mut().unwrap().remove(field)),
            value => status[field] = value,
        }
        report(&status, "/a")
    };
    let mut without_status = report(&good, "/a");
    without_status.as_object_mut().unwrap().remove("status");
    for (report, field) in [
        (with("access", json!("maybe")), "access"),
        (with("access", json!("ALLOW")), "access"),
        (with("access", Value::Null), "access"),
        (with("reason", Value::Null), "reason"),
        (with("reason", json!("because")), "reason"),
        (without_status, "status"),
        (json!({ "status": good }), "account_id"),
    ] {
        let text = refused(&site.post(LOGS, &report).await, 400, "invalid_request");
        assert!(text.contains(field), "{field} in {text}");
    }
    let mut foreign = report(&good, "/a");
    foreign["account_id"] = json!("acme");
    refused(&site.post(LOGS, &foreign).await, 403, "access_denied");
    refused(
        &site.post_as(None, LOGS, &report(&good, "/a")).await,
        401,
        "invalid_token",
    );
    assert_eq!(site.records().await, Vec::<Value>::new());
}

#[tokio::test]
async fn case_60_a_report_without_a_token_is_taken() {
    let site = Site::start().await;
    let least = json!({ "account_id": "default", "status": { "token": null, "access": "allow", "reason": "usage_allowed" } });
    assert_eq!(
        site.post(LOGS, &least).await.json(202),
        json!({ "message": "Accepted" })
    );
    assert_eq!(site.records().await.len(), 1);
}

#[tokio::test]
async fn case_61_the_same_report_at_the_same_time_is_one_record_and_so_is_the_same_id() {
    let site = Site::of(crate::support::World::by_hand(control::SHIPPED).await).await;
    let one = report(&allowed(), "/a");
    let (first, second) = tokio::join!(site.post(LOGS, &one), site.post(LOGS, &one));
    assert_eq!((first.status, second.status), (202, 202));
    assert_eq!(site.records().await.len(), 1);
    site.world.advance(std::time::Duration::from_secs(11)).await;
    site.post(LOGS, &one).await.json(202);
    assert_eq!(
        site.records().await.len(),
        2,
        "a later access of the same kind"
    );

    let named = |id: &str, resource: &str| {
        let mut report = report(&allowed(), resource);
        report["id"] = json!(id);
        report
    };
    for _ in 0..2 {
        site.post(LOGS, &named("1", "/a")).await.json(202);
        site.world.advance(std::time::Duration::from_secs(60)).await;
    }
    site.post(LOGS, &named("2", "/a")).await.json(202);
    assert_eq!(site.records().await.len(), 4);
    refused(&site.post(LOGS, &named("1", "/b")).await, 409, "conflict");
}

#[tokio::test]
async fn case_66_nothing_of_a_visitors_headers_is_kept() {
    let site = Site::start().await;
    site.post(LOGS, &report(&allowed(), "/a?session=qu3ry"))
        .await
        .json(202);
    site.records().await;
    let secrets = ["c00kie", "s3cret", "GPTBot/1.2", "qu3ry"];
    let mut folders = vec![site.world.directory.path().to_owned()];
    let mut read = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                let held = |secret: &&str| {
                    bytes
                        .windows(secret.len())
                        .any(|part| part == secret.as_bytes())
                };
                let found = secrets.iter().find(|secret| held(secret));
                assert_eq!(found, None, "in {}", path.display());
                read += 1;
            }
        }
    }
    assert!(read > 2, "the store and the journal were read");
}
