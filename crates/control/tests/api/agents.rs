//! Policies on AI agents and their tokens over the API: what is decided, who may ask, and what is
//! refused.

use serde_json::{Value, json};

use crate::support::World;

async fn set(world: &World, rule: Value) -> Value {
    let answer = world.local("POST", "/agents/rules", rule.to_string()).await;
    answer.json(200)
}

async fn rules(world: &World, query: &str) -> Vec<Value> {
    let list = world.get(&format!("/agents/rules{query}")).await;
    list["items"].as_array().unwrap().clone()
}

const GPTBOT: &str =
    "Mozilla/5.0 AppleWebKit/537.36 (compatible; GPTBot/1.2; +https://openai.com/gptbot)";

/// Returns access and reason of a call of GPTBot, and the id of the rule that decided.
async fn decided(world: &World, more: Value) -> (String, String, Value) {
    let mut asked = json!({ "user_agent": GPTBOT });
    let object = asked.as_object_mut().unwrap();
    object.extend(more.as_object().unwrap().clone());
    let answer = world.local("POST", "/agents/test", asked.to_string()).await;
    let decided = answer.json(200);
    let text = |name: &str| decided[name].as_str().unwrap().to_owned();
    assert_eq!(text("operator"), "OpenAI");
    assert_eq!(text("agent"), "GPTBot");
    assert_eq!(text("purpose"), "training");
    (
        text("access"),
        text("reason"),
        decided["rule"]["id"].clone(),
    )
}

#[tokio::test]
async fn the_most_specific_rule_decides_and_the_list_says_which_comes_first() {
    let world = World::start().await;
    let allowed = ("allow".to_owned(), "usage_allowed".to_owned(), Value::Null);
    assert_eq!(decided(&world, json!({})).await, allowed);
    let all = set(&world, json!({ "access": "deny" })).await;
    let openai = set(&world, json!({ "operator": "openai", "access": "token" })).await;
    let news = json!({ "operator": "OpenAI", "path": "/news/", "access": "pay", "price": "USD 0.01",
                       "instead_of_license": true, "answer": { "code": 402, "html": "<p>Pay</p>" } });
    let news = set(&world, news).await;
    let verified =
        json!({ "agent": "GPTBot", "app": "api", "verification": "verified", "access": "allow" });
    let verified = set(&world, verified).await;
    let listed: Vec<Value> = rules(&world, "")
        .await
        .iter()
        .map(|rule| rule["id"].clone())
        .collect();
    let ids = [&verified, &news, &openai, &all].map(|rule| rule["id"].clone());
    assert_eq!(listed, ids);
    let page = world.get("/agents/rules?limit=3").await;
    let next = page["next"].as_str().unwrap();
    let rest = rules(&world, &format!("?limit=3&cursor={next}")).await;
    assert_eq!(
        (page["items"].as_array().unwrap().len(), rest.len()),
        (3, 1)
    );
    assert_eq!(rules(&world, "?app=api").await.len(), 1);

    let by = |access: &str, reason: &str, rule: &Value| {
        (access.to_owned(), reason.to_owned(), rule["id"].clone())
    };
    let wanted = by("deny", "token_not_provided", &openai);
    assert_eq!(decided(&world, json!({ "app": "api" })).await, wanted);
    let paid = by("pay", "token_not_provided", &news);
    assert_eq!(
        decided(&world, json!({ "path": "/news/today" })).await,
        paid
    );
    assert_eq!(
        decided(&world, json!({ "path": "/newsletter" })).await.2,
        openai["id"]
    );
    let sure = json!({ "app": "api", "path": "/news", "verification": "verified" });
    assert_eq!(
        decided(&world, sure).await,
        by("allow", "usage_allowed", &verified)
    );

    // The same match again changes the rule, a removed one decides nothing.
    let changed = set(&world, json!({ "operator": "OpenAI", "access": "deny" })).await;
    assert_eq!(changed["id"], openai["id"]);
    let path = format!("/agents/rules/{}", openai["id"].as_str().unwrap());
    assert_eq!(decided(&world, json!({})).await.1, "usage_not_allowed");
    assert_eq!(world.local("DELETE", &path, "").await.status, 204);
    assert_eq!(
        world.local("DELETE", &path, "").await.code(404),
        "not_found"
    );
    assert_eq!(
        decided(&world, json!({})).await,
        by("deny", "usage_not_allowed", &all)
    );
}

#[tokio::test]
async fn who_is_no_known_agent_is_told_so_and_the_names_can_be_given() {
    let world = World::start().await;
    set(&world, json!({ "access": "deny" })).await;
    let test = async |asked: Value| {
        let answer = world.local("POST", "/agents/test", asked.to_string()).await;
        answer.json(200)
    };
    let person =
        test(json!({ "user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0" })).await;
    assert_eq!(
        (&person["operator"], &person["rule"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(person["reason"], "user_agent_unrecognized");
    let named = test(json!({ "operator": "openai", "agent": "gptbot" })).await;
    assert_eq!(
        (&named["purpose"], &named["access"]),
        (&json!("training"), &json!("deny"))
    );
    let stranger = test(json!({ "operator": "Nobody" })).await;
    assert_eq!(
        (&stranger["purpose"], &stranger["access"]),
        (&Value::Null, &json!("deny"))
    );
    let known = world.get("/agents/known").await;
    let known = known["items"].as_array().unwrap();
    assert!(known.len() >= 60, "{}", known.len());
    let gptbot = known.iter().find(|one| one["agent"] == "GPTBot").unwrap();
    assert_eq!(gptbot["operator"], "OpenAI");
}

#[tokio::test]
async fn a_rule_that_cannot_be_meant_is_refused_by_its_field_and_nothing_is_kept() {
    let world = World::start().await;
    let large = "x".repeat(65_537);
    for (field, rule) in [
        ("price", json!({ "access": "pay", "price": "USD -0.01" })),
        ("price", json!({ "access": "pay" })),
        ("price", json!({ "access": "allow", "price": "USD 0.01" })),
        ("path", json!({ "access": "deny", "path": "news" })),
        ("path", json!({ "access": "deny", "path": "/news/*" })),
        ("purpose", json!({ "access": "deny", "purpose": "spying" })),
        ("access", json!({ "access": "maybe" })),
        ("access", json!({})),
        (
            "operator",
            json!({ "access": "deny", "operator": "x".repeat(65) }),
        ),
        (
            "answer",
            json!({ "access": "deny", "answer": { "code": 200 } }),
        ),
        (
            "answer",
            json!({ "access": "deny", "answer": { "html": large } }),
        ),
        (
            "instead_of_license",
            json!({ "access": "deny", "instead_of_license": true }),
        ),
        ("app", json!({ "access": "deny", "app": "nothing" })),
        (
            "account",
            json!({ "access": "deny", "app": "shop", "account": "default" }),
        ),
        (
            "user_agents",
            json!({ "access": "deny", "user_agents": "GPTBot" }),
        ),
    ] {
        let answer = world.local("POST", "/agents/rules", rule.to_string()).await;
        let text = answer.text();
        assert_eq!(answer.status / 100, 4, "{rule}: {text}");
        assert!(
            text.contains(&format!("\"field\":\"{field}\"")),
            "{rule}: {text}"
        );
        assert!(!text.contains("variant"), "{rule}: {text}");
    }
    for (field, asked) in [
        ("user_agent", json!({})),
        (
            "user_agent",
            json!({ "user_agent": "x", "operator": "OpenAI" }),
        ),
        ("user_agent", json!({ "user_agent": "x".repeat(65_537) })),
        ("path", json!({ "user_agent": "x", "path": "/a/../b" })),
        ("app", json!({ "user_agent": "x", "app": "nothing" })),
    ] {
        let answer = world.local("POST", "/agents/test", asked.to_string()).await;
        let text = answer.text();
        assert!(
            text.contains(&format!("\"field\":\"{field}\"")),
            "{field}: {text}"
        );
    }
    assert!(rules(&world, "").await.is_empty());
    let lines = world.get("/audit?action=agent-rule.").await;
    assert_eq!(lines["items"], json!([]));
}

#[tokio::test]
async fn a_key_of_one_app_sees_and_sets_rules_of_that_app_alone() {
    let world = World::start().await;
    let wide = set(&world, json!({ "operator": "OpenAI", "access": "deny" })).await;
    let key = world.key(r#"{"app":"inner"}"#).await;
    let ask = async |method: &str, path: &str, body: Value| {
        world
            .remote(Some(&key), method, path, body.to_string())
            .await
    };
    let own = ask(
        "POST",
        "/agents/rules",
        json!({ "agent": "GPTBot", "access": "token" }),
    )
    .await;
    let own = own.json(200);
    assert_eq!(own["app"], "inner");
    let other = ask(
        "POST",
        "/agents/rules",
        json!({ "app": "api", "access": "deny" }),
    )
    .await;
    assert_eq!(other.code(404), "not_found");
    let seen = ask("GET", "/agents/rules", json!(null)).await.json(200);
    assert_eq!(seen["items"], json!([own]));
    let path = format!("/agents/rules/{}", wide["id"].as_str().unwrap());
    assert_eq!(
        ask("DELETE", &path, json!(null)).await.code(404),
        "not_found"
    );
    // A rule of all apps decides in this one, too, and stays the account's.
    let asked = json!({ "operator": "OpenAI", "agent": "ChatGPT-User" });
    let decided = ask("POST", "/agents/test", asked).await.json(200);
    assert_eq!(
        (&decided["access"], &decided["rule"]),
        (&json!("deny"), &Value::Null)
    );
}

#[tokio::test]
async fn a_token_is_shown_once_and_is_a_license_that_ends() {
    let world = World::start().await;
    let asked = json!({ "operator": "OpenAI", "agent": "GPTBot", "label": "of May", "remaining": 5,
                        "expires_at": "2040-01-01T00:00:00Z" });
    let made = world
        .local("POST", "/agents/tokens", asked.to_string())
        .await
        .json(201);
    let secret = made["token"].as_str().unwrap();
    assert!(secret.starts_with("agt_"), "{secret}");
    assert!(secret.starts_with(made["prefix"].as_str().unwrap()));
    assert_eq!((&made["app"], &made["remaining"]), (&json!("*"), &json!(5)));
    let id = made["id"].as_str().unwrap();
    let mut shown = made.clone();
    shown.as_object_mut().unwrap().remove("token");
    assert_eq!(world.get(&format!("/agents/tokens/{id}")).await, shown);
    assert_eq!(
        world.get("/agents/tokens?status=active").await["items"],
        json!([shown])
    );
    let license = world.get(&format!("/licenses/{id}")).await;
    assert_eq!(
        license["agent"],
        json!({ "operator": "OpenAI", "agent": "GPTBot" })
    );
    // A token is a license, and no other license is a token.
    let plain = world.license(r#"{"app":"api"}"#).await;
    let plain = plain["id"].as_str().unwrap();
    let path = format!("/agents/tokens/{plain}");
    assert_eq!(world.local("GET", &path, "").await.code(404), "not_found");
    let revoke = format!("/agents/tokens/{id}/revoke");
    let revoked = world.local("POST", &revoke, "{}").await.json(200);
    assert_eq!(revoked["status"], "revoked");
    assert_eq!(
        world.get("/agents/tokens?status=active").await["items"],
        json!([])
    );
    for (field, asked) in [
        ("operator", json!({})),
        ("payer", json!({ "operator": "OpenAI", "payer": id })),
        (
            "expires_at",
            json!({ "operator": "OpenAI", "expires_at": "2001-01-01T00:00:00Z" }),
        ),
        ("app", json!({ "operator": "OpenAI", "app": "nothing" })),
    ] {
        let answer = world
            .local("POST", "/agents/tokens", asked.to_string())
            .await;
        let text = answer.text();
        assert!(
            text.contains(&format!("\"field\":\"{field}\"")),
            "{field}: {text}"
        );
    }
}
