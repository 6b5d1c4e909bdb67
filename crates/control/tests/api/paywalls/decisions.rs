//! What a site does with an agent.

use serde_json::{Value, json};

use super::{GPTBOT, Site, refused};

const AUTH: &str = "/api/filter/agents/auth";

fn is(answer: &Value, access: &str, reason: &str) {
    let found = (&answer["access"], &answer["reason"]);
    assert_eq!(found, (&json!(access), &json!(reason)), "{answer}");
}

#[tokio::test]
async fn case_50_a_known_agent_that_may_is_let_in_without_a_token() {
    let site = Site::start().await;
    site.rule(json!({ "access": "allow" })).await;
    let answer = site.decided(Value::Null).await;
    let expected = json!({ "accountId": "default", "agentId": "OpenAI/GPTBot", "token": null,
                           "access": "allow", "reason": "usage_allowed" });
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn case_51_one_that_may_not_is_denied_with_the_answer_of_the_rule_if_it_has_one() {
    let site = Site::start().await;
    site.rule(json!({ "access": "deny" })).await;
    let answer = site.decided(Value::Null).await;
    is(&answer, "deny", "usage_not_allowed");
    assert_eq!(answer.get("response"), None, "a client's own: 402 as HTML");
    let own =
        json!({ "code": 451, "headers": { "X-Terms": "https://e.test" }, "html": "<p>No</p>" });
    site.rule(json!({ "access": "deny", "answer": own })).await;
    assert_eq!(site.decided(Value::Null).await["response"], own);
    let own = json!({ "json": { "error": "no" } });
    site.rule(json!({ "access": "deny", "answer": own })).await;
    let expected =
        json!({ "headers": { "Content-Type": "application/json" }, "html": r#"{"error":"no"}"# });
    assert_eq!(site.decided(Value::Null).await["response"], expected);
}

#[tokio::test]
async fn case_52_an_agent_that_nobody_knows_is_unrecognized_by_either_form() {
    let site = Site::start().await;
    for asked in [
        json!({ "account_id": "default", "user_agent": "Strange/1.0", "headers": {} }),
        json!({ "account_id": "default", "operator": "Nobody", "agent": "NoBot" }),
    ] {
        let answer = site.post(AUTH, &asked).await.json(200);
        is(&answer, "allow", "user_agent_unrecognized");
        assert_eq!(answer["agentId"], Value::Null);
    }
    // A rule that names it knows it.
    let rule = json!({ "operator": "Nobody", "access": "deny" });
    site.world
        .local("POST", "/agents/rules", rule.to_string())
        .await
        .json(200);
    let asked = json!({ "account_id": "default", "operator": "Nobody", "agent": "NoBot" });
    is(
        &site.post(AUTH, &asked).await.json(200),
        "deny",
        "usage_not_allowed",
    );
}

#[tokio::test]
async fn case_53_without_the_token_that_a_policy_wants_it_is_denied_and_told_a_price() {
    let site = Site::start().await;
    site.rule(json!({ "access": "token" })).await;
    for token in [Value::Null, json!("")] {
        is(&site.decided(token).await, "deny", "token_not_provided");
    }
    site.rule(json!({ "access": "pay", "price": "USD 0.01" }))
        .await;
    let answer = site.decided(Value::Null).await;
    is(&answer, "deny", "token_not_provided");
    assert_eq!(
        answer["response"],
        json!({ "headers": { "crawler-price": "USD 0.01" } })
    );
}

#[tokio::test]
async fn case_54_each_state_of_a_token_has_its_reason() {
    let site = Site::start().await;
    site.rule(json!({ "access": "token" })).await;
    is(
        &site.decided(json!("agt_nobody")).await,
        "deny",
        "token_not_found",
    );
    is(
        &site.decided(json!("Basic\u{7f} ü")).await,
        "deny",
        "token_not_found",
    );
    let (token, id) = site.token(json!({})).await;
    let answer = site.decided(json!(token)).await;
    is(&answer, "allow", "token_active");
    assert_eq!(
        (&answer["token"], answer.get("time_remaining")),
        (&json!(token), None)
    );
    // Of another agent, and a key of a license that is no agent's.
    let asked = json!({ "account_id": "default", "operator": "Anthropic", "agent": "ClaudeBot", "token": token });
    let rule = json!({ "agent": "ClaudeBot", "access": "token" });
    site.world
        .local("POST", "/agents/rules", rule.to_string())
        .await
        .json(200);
    is(
        &site.post(AUTH, &asked).await.json(200),
        "deny",
        "token_not_found",
    );
    let license = site.world.license(r#"{"app":"api"}"#).await;
    is(
        &site.decided(license["key"].clone()).await,
        "deny",
        "token_not_found",
    );
    let disable = format!("/licenses/{id}/disable");
    site.world.local("POST", &disable, "").await.json(200);
    is(&site.decided(json!(token)).await, "deny", "token_disabled");
}

#[tokio::test]
async fn case_54_a_token_tells_the_rest_of_its_life_until_it_has_ended() {
    let world = crate::support::World::by_hand(control::SHIPPED).await;
    let site = Site::of(world).await;
    site.rule(json!({ "access": "token" })).await;
    let (token, _) = site
        .token(json!({ "expires_at": "2026-03-01T00:15:10Z" }))
        .await;
    let answer = site.decided(json!(token)).await;
    is(&answer, "allow", "token_active");
    assert_eq!(answer["time_remaining"], 900);
    site.world
        .advance(std::time::Duration::from_secs(900))
        .await;
    let answer = site.decided(json!(token)).await;
    is(&answer, "deny", "token_expired");
    assert_eq!(answer["time_remaining"], 0);
}

#[tokio::test]
async fn case_55_names_and_user_agents_come_to_the_same_decision() {
    let site = Site::start().await;
    for rule in [
        json!({ "access": "deny" }),
        json!({ "access": "token" }),
        json!({ "access": "pay", "price": "USD 2" }),
        json!({ "access": "allow", "purpose": "training" }),
    ] {
        site.rule(rule).await;
        let named = json!({ "account_id": "default", "operator": "openai", "agent": "gptbot" });
        let named = site.post(AUTH, &named).await.json(200);
        assert_eq!(named, site.decided(Value::Null).await);
        // The user agent may stand among the headers alone.
        let headers = json!({ "account_id": "default", "headers": { "User-Agent": GPTBOT } });
        assert_eq!(named, site.post(AUTH, &headers).await.json(200));
    }
}

#[tokio::test]
async fn case_56_without_an_account_or_a_key_there_is_no_decision() {
    let site = Site::start().await;
    for asked in [
        json!({ "operator": "OpenAI", "agent": "GPTBot" }),
        json!({ "account_id": null, "user_agent": GPTBOT }),
        json!({ "account_id": "", "user_agent": GPTBOT }),
    ] {
        let text = refused(&site.post(AUTH, &asked).await, 400, "invalid_request");
        assert!(text.contains("account_id"), "{text}");
    }
    let good = json!({ "account_id": "default", "user_agent": GPTBOT });
    for key in [None, Some("tg_wrong")] {
        refused(&site.post_as(key, AUTH, &good).await, 401, "invalid_token");
    }
    let reader = site.world.key(r#"{"scopes":["read:usage"]}"#).await;
    refused(
        &site.post_as(Some(&reader), AUTH, &good).await,
        403,
        "insufficient_scope",
    );
    for (asked, field) in [
        (json!({ "account_id": "default" }), "user_agent"),
        (
            json!({ "account_id": "default", "operator": "OpenAI" }),
            "agent",
        ),
        (
            json!({ "account_id": "default", "operator": "", "agent": "GPTBot" }),
            "operator",
        ),
        (
            json!({ "account_id": 7, "user_agent": GPTBOT }),
            "account_id",
        ),
        (
            json!({ "account_id": "default", "user_agent": GPTBOT, "headers": [1] }),
            "headers",
        ),
    ] {
        let text = refused(&site.post(AUTH, &asked).await, 400, "invalid_request");
        assert!(text.contains(field), "{field} in {text}");
    }
    let nameless = json!({ "account_id": "default", "user_agent": "", "headers": {} });
    let answer = site.post(AUTH, &nameless).await.json(200);
    is(&answer, "deny", "missing_user_agent");
    assert_eq!(answer["response"]["code"], 401);
}

#[tokio::test]
async fn case_57_another_account_is_refused_whether_it_is_there_or_not() {
    let site = Site::start().await;
    for account in ["acme", "nobody"] {
        let asked = json!({ "account_id": account, "user_agent": GPTBOT });
        refused(&site.post(AUTH, &asked).await, 403, "access_denied");
    }
}

#[tokio::test]
async fn a_user_agent_of_64_kib_is_looked_at_in_no_time_and_its_beginning_counts() {
    let site = Site::start().await;
    site.rule(json!({ "access": "deny" })).await;
    let long = format!("{GPTBOT} {}", "x".repeat(65_536));
    let asked = json!({ "account_id": "default", "user_agent": long });
    is(
        &site.post(AUTH, &asked).await.json(200),
        "deny",
        "usage_not_allowed",
    );
}

#[tokio::test]
async fn the_list_of_agents_needs_no_body_and_has_expressions_that_find_them() {
    let site = Site::start().await;
    let list = site
        .post("/api/filter/agents/metadata", &Value::Null)
        .await
        .json(200);
    assert_eq!(list["version"], 2);
    let items = list["patterns"].as_array().unwrap();
    assert!(items.len() >= 60);
    let gptbot = items.iter().find(|item| item["agent"] == "GPTBot").unwrap();
    let expected = json!({
        "operator": "OpenAI", "agent": "GPTBot", "usage": "training", "user_initiated": false, "purpose": "training",
        "purpose_mode": "background", "vat": "AI_AGENT", "act": "ACT-1",
        "patterns": [r"/(?<![A-Za-z0-9_\u0080-\uffff])GPTBot(?![A-Za-z0-9_\u0080-\uffff])/i"],
    });
    assert_eq!(*gptbot, expected);
    refused(
        &site
            .post_as(None, "/api/filter/agents/metadata", &Value::Null)
            .await,
        401,
        "invalid_token",
    );
}
