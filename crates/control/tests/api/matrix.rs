//! Tests that ask every request of the served document as every caller who may not: a request that
//! is added is tested too.

use api_types::Scope;
use serde_json::{Value, json};

use crate::support::{Answer, World};

/// The right that a request takes, by the document.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Needs {
    Nothing,
    Key,
    Scope(Scope),
    Operator,
}

/// A request of the document, about things of the account `default`.
#[derive(Debug)]
struct Asked {
    method: String,
    path: String,
    /// The path with a name that nothing has; the same path if it takes no name.
    path_of_nothing: String,
    body: String,
    needs: Needs,
    /// Whether the document admits keys for one license too.
    of_one_license: bool,
    /// Whether it is about one thing, by its path or by a parameter that is needed.
    of_one_thing: bool,
}

/// The things of the account `default`, which no other account may learn of.
struct Things {
    license: Value,
    user: Value,
    api_key: Value,
    management_key: Value,
    webhook: Value,
    agent_rule: Value,
    agent_token: Value,
}

impl Things {
    async fn made(world: &World) -> Self {
        let made = async |path, body: &str| world.local("POST", path, body).await.json(201);
        let rule = r#"{"operator":"OpenAI","access":"deny"}"#;
        let rule = world.local("POST", "/agents/rules", rule).await;
        Self {
            user: made("/users", r#"{"app":"api","login":"ada"}"#).await,
            license: world
                .license(r#"{"app":"api","user":"ada","plan":"pro"}"#)
                .await,
            api_key: made("/keys", r#"{"app":"api"}"#).await,
            management_key: made("/management-keys", r#"{"name":"theirs"}"#).await,
            webhook: made("/webhooks", r#"{"url":"https://192.0.1.1/"}"#).await,
            agent_rule: rule.json(200),
            agent_token: made("/agents/tokens", r#"{"operator":"OpenAI"}"#).await,
        }
    }

    /// Returns the value for a parameter of a path.
    fn named(&self, path: &str) -> String {
        let id = |thing: &Value| thing["id"].as_str().unwrap().to_owned();
        match path.split('/').nth(1).unwrap() {
            "licenses" => id(&self.license),
            "users" => id(&self.user),
            "keys" => id(&self.api_key),
            "management-keys" => id(&self.management_key),
            "webhooks" => id(&self.webhook),
            "agents" if path.starts_with("/agents/tokens") => id(&self.agent_token),
            "agents" => id(&self.agent_rule),
            "accounts" => "default".to_owned(),
            "apps" => "api".to_owned(),
            _ => "nothing".to_owned(),
        }
    }

    /// Returns the parameters that a request requires.
    fn query(&self, operation: &Value) -> String {
        let parameters = operation["parameters"].as_array();
        let needed = parameters
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "query" && parameter["required"] == true);
        let pairs = needed.map(|parameter| match parameter["name"].as_str().unwrap() {
            "app" => "app=api".to_owned(),
            "license" => format!("license={}", self.named("/licenses")),
            "key" => format!("key={}", self.named("/management-keys")),
            "format" => "format=csv".to_owned(),
            other => panic!("say here what `{other}` is filled with"),
        });
        // What is needed unless the key is for one app.
        let by_app = operation["operationId"] == "listUsers";
        let by_app = by_app.then(|| "app=api".to_owned());
        pairs.chain(by_app).collect::<Vec<_>>().join("&")
    }

    /// Returns a body that the request takes, with the required fields.
    fn body(&self, path: &str) -> Value {
        match path {
            "/licenses/{id}/credentials/revoke" => {
                json!({ "credential": self.license["credentials"][0]["id"] })
            }
            "/licenses/{id}/extend" => json!({ "expires_at": "2040-01-01T00:00:00Z" }),
            "/licenses/{id}/credit"
            | "/licenses/{id}/debit"
            | "/accounts/{name}/credit"
            | "/accounts/{name}/debit" => {
                json!({ "units": 1, "reason": "paid" })
            }
            "/licenses" => json!({ "app": "api" }),
            "/licenses/import" => json!({ "app": "api", "rows": [{ "key": "a-key-of-old-0001" }] }),
            "/licenses/bulk" => json!({ "licenses": [{ "app": "api" }] }),
            "/users" => json!({ "app": "api", "login": "eve" }),
            "/keys" => json!({ "app": "api" }),
            "/keys/verify" => json!({ "key": self.license["key"] }),
            "/accounts" => json!({ "name": "eve" }),
            "/webhooks" => json!({ "url": "https://192.0.1.1/" }),
            "/agents/rules" => json!({ "access": "deny" }),
            "/agents/test" => json!({ "operator": "OpenAI" }),
            "/agents/tokens" => json!({ "operator": "OpenAI" }),
            "/webhooks/{id}/redeliver" => json!({ "failed": true }),
            "/signing-keys/rotate" => json!({ "use": "stamps" }),
            "/apps/{name}/credentials/import" => {
                json!({ "app_id": "theirs", "app_secret": "theirs-0001" })
            }
            "/apps/{name}/signing-keys/import" => json!({ "private_key": "11".repeat(32) }),
            "/apps/{name}/signing-keys/rotate" => json!({ "lead": "1d" }),
            "/apps/{name}/signing-keys/retire" => {
                json!({ "id": "sgk_0198c0de0198c0de0198c0de0198c0de" })
            }
            "/apps/{name}/software" => json!({ "enabled": false }),
            _ => json!({}),
        }
    }

    /// Returns whether an answer names one of them.
    fn shown_in(&self, answer: &str) -> bool {
        let words = [
            "/licenses",
            "/users",
            "/keys",
            "/management-keys",
            "/webhooks",
            "/agents/rules",
            "/agents/tokens",
        ]
        .map(|of| self.named(of));
        let words = words.iter().map(String::as_str);
        let mut words = words.chain(["127.0.0.1:9000", "\"ada\"", "\"pro\"", "\"inner\""]);
        words.any(|word| answer.contains(word))
    }
}

/// Returns every request of the document.
async fn everything(world: &World, things: &Things) -> Vec<Asked> {
    let document = world
        .remote(None, "GET", "/openapi.json", "")
        .await
        .json(200);
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.strip_prefix("/api/v1").unwrap();
        for (method, operation) in methods.as_object().unwrap() {
            let said = operation["description"].as_str().unwrap_or_default();
            let filled = path.replace("{id}", &things.named(path));
            let filled = filled.replace("{name}", &things.named(path));
            let query = things.query(operation);
            let of_nothing = path.replace("{id}", "nothing").replace("{name}", "nothing");
            all.push(Asked {
                path_of_nothing: of_nothing,
                method: method.to_uppercase(),
                of_one_thing: filled != path || query.contains('_'),
                path: format!("{filled}?{query}").trim_end_matches('?').to_owned(),
                body: match method.as_str() {
                    "get" | "delete" => String::new(),
                    _ => things.body(path).to_string(),
                },
                needs: needs(operation, said),
                of_one_license: said.contains("A key for one license may ask too."),
            });
        }
    }
    assert!(all.len() > 50, "{}", all.len());
    all
}

/// Returns the right that a request takes, by the document.
fn needs(operation: &Value, said: &str) -> Needs {
    if operation["security"] == json!([]) {
        return Needs::Nothing;
    }
    if said.contains("gate's own host only") {
        return Needs::Operator;
    }
    match operation["security"][0]["managementKey"][0].as_str() {
        Some(scope) => Needs::Scope(scope.parse().unwrap()),
        None => Needs::Key,
    }
}

async fn ask(world: &World, key: Option<&str>, asked: &Asked) -> Answer {
    let body = asked.body.clone();
    world.remote(key, &asked.method, &asked.path, body).await
}

/// Checks that an answer is a refusal with this code.
fn refused(answer: &Answer, status: u16, code: &str, asked: &Asked) {
    let text = answer.text();
    assert_eq!(answer.status, status, "{asked:?}: {text}");
    assert!(
        text.contains(&format!("\"code\":\"{code}\"")),
        "{asked:?}: {text}"
    );
}

#[tokio::test]
async fn nobody_asks_anything_without_a_key_that_is_good() {
    let world = World::start().await;
    let things = Things::made(&world).await;
    let soon = std::time::Duration::from_secs(2);
    let end = model::Timestamp::from(std::time::SystemTime::now() + soon);
    let ended = world.key(&format!(r#"{{"expires_at":"{end}"}}"#)).await;
    let is_in_force = async || {
        let answer = world.remote(Some(&ended), "GET", "/licenses", "").await;
        answer.status != 401
    };
    while is_in_force().await {
        assert!(model::Timestamp::from(std::time::SystemTime::now()) < end.plus_micros(20_000_000));
        tokio::task::yield_now().await;
    }
    let of_a_license = things.license["key"].as_str().unwrap();
    for asked in everything(&world, &things).await {
        if asked.needs == Needs::Nothing {
            assert_eq!(ask(&world, None, &asked).await.status, 200, "{asked:?}");
            continue;
        }
        refused(&ask(&world, None, &asked).await, 401, "key_missing", &asked);
        for key in [&ended, of_a_license] {
            refused(
                &ask(&world, Some(key), &asked).await,
                401,
                "key_unknown",
                &asked,
            );
        }
    }
}

#[tokio::test]
async fn the_key_of_another_account_reaches_nothing_of_ours() {
    let world = World::start().await;
    world
        .local("POST", "/accounts", r#"{"name":"acme"}"#)
        .await
        .json(201);
    let things = Things::made(&world).await;
    let before = world
        .get(&format!("/licenses/{}", things.named("/licenses")))
        .await;
    let theirs = world.key(r#"{"account":"acme"}"#).await;
    for asked in everything(&world, &things).await {
        let answer = ask(&world, Some(&theirs), &asked).await;
        let text = answer.text();
        match asked.needs {
            Needs::Nothing => {}
            Needs::Operator => refused(&answer, 403, "local_only", &asked),
            _ if asked.of_one_thing => refused(&answer, 404, "not_found", &asked),
            _ => {
                assert!(
                    !things.shown_in(&text) || asked.path == "/plans",
                    "{asked:?}: {text}"
                );
            }
        }
    }
    let after = world
        .get(&format!("/licenses/{}", things.named("/licenses")))
        .await;
    assert_eq!(after, before);
}

#[tokio::test]
async fn the_key_of_another_license_reaches_nothing_of_ours() {
    let world = World::start().await;
    let things = Things::made(&world).await;
    let other = world.license(r#"{"app":"api"}"#).await;
    let before = world
        .get(&format!("/licenses/{}", things.named("/licenses")))
        .await;
    let theirs = world
        .key(&json!({ "license": other["id"] }).to_string())
        .await;
    let mut allowed = 0;
    for asked in everything(&world, &things).await {
        let answer = ask(&world, Some(&theirs), &asked).await;
        let text = answer.text();
        match asked.needs {
            Needs::Nothing => continue,
            Needs::Operator => refused(&answer, 403, "local_only", &asked),
            _ if !asked.of_one_license => refused(&answer, 403, "scope_missing", &asked),
            // The app is that of both.
            _ if asked.of_one_thing && asked.path != "/apps/api" => {
                refused(&answer, 404, "not_found", &asked);
            }
            _ => {
                assert_eq!(answer.status, 200, "{asked:?}: {text}");
                allowed += 1;
            }
        }
        assert!(
            !things.shown_in(&text) || answer.status == 404,
            "{asked:?}: {text}"
        );
    }
    assert!(allowed > 8, "{allowed}");
    let after = world
        .get(&format!("/licenses/{}", things.named("/licenses")))
        .await;
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_request_takes_the_scope_that_is_said_and_no_other() {
    let world = World::start().await;
    let things = Things::made(&world).await;
    let all = everything(&world, &things).await;
    for scope in Scope::ALL {
        let with = world.key(&json!({ "scopes": [scope] }).to_string()).await;
        for asked in &all {
            let writes = asked.method != "GET";
            match asked.needs {
                Needs::Nothing | Needs::Key => {}
                Needs::Operator => {
                    refused(
                        &ask(&world, Some(&with), asked).await,
                        403,
                        "local_only",
                        asked,
                    );
                }
                Needs::Scope(needed) if needed != scope => {
                    let answer = ask(&world, Some(&with), asked).await;
                    refused(&answer, 403, "scope_missing", asked);
                }
                // What writes would undo what the next one needs.
                Needs::Scope(_) if writes => {}
                Needs::Scope(_) => {
                    let answer = ask(&world, Some(&with), asked).await;
                    let is_nothing = asked.path.ends_with("/nothing");
                    let expected = if is_nothing { 404 } else { 200 };
                    assert_eq!(answer.status, expected, "{asked:?}: {}", answer.text());
                }
            }
        }
    }
}

#[tokio::test]
async fn a_request_that_writes_takes_no_more_than_the_scope_that_is_said() {
    let world = World::start().await;
    let things = Things::made(&world).await;
    let mut asked_for = 0;
    for asked in everything(&world, &things).await {
        let Needs::Scope(scope) = asked.needs else {
            continue;
        };
        if asked.method == "GET" {
            continue;
        }
        let with = world.key(&json!({ "scopes": [scope] }).to_string()).await;
        let (path, body) = (&asked.path_of_nothing, asked.body.clone());
        let answer = world.remote(Some(&with), &asked.method, path, body).await;
        let is_of_nothing = path.ends_with("/nothing") || path.contains("/nothing/");
        let text = answer.text();
        if is_of_nothing {
            refused(&answer, 404, "not_found", &asked);
        } else {
            assert!(matches!(answer.status, 200 | 201), "{asked:?}: {text}");
        }
        asked_for += 1;
    }
    assert!(asked_for > 20, "{asked_for}");
}

#[tokio::test]
async fn a_key_with_every_scope_but_the_one_that_is_needed_is_refused() {
    let world = World::start().await;
    let things = Things::made(&world).await;
    let all = everything(&world, &things).await;
    for missing in Scope::ALL {
        let others: Vec<_> = Scope::ALL.iter().filter(|one| **one != missing).collect();
        let with = world.key(&json!({ "scopes": others }).to_string()).await;
        for asked in all.iter().filter(|one| one.needs == Needs::Scope(missing)) {
            let answer = ask(&world, Some(&with), asked).await;
            refused(&answer, 403, "scope_missing", asked);
        }
    }
}
