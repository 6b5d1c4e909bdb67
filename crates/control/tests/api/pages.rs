//! Tests of lists by pages: no item is skipped or repeated while others are added.

use serde_json::Value;

use crate::support::World;

/// Returns the id or the name of an item.
fn identity(item: &Value) -> String {
    let id = item.get("id").or_else(|| item.get("name"));
    id.and_then(Value::as_str).expect("a name").to_owned()
}

/// Reads a list by pages of two; `between` makes something new after each of the first pages.
async fn read(world: &World, path: &str, between: Option<&(&str, String)>) -> Vec<String> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    let mark = if path.contains('?') { '&' } else { '?' };
    for number in 0.. {
        let page = world.get(&format!("{path}{mark}limit=2{cursor}")).await;
        let items = page["items"].as_array().expect("items");
        assert!(items.len() <= 2, "{page}");
        seen.extend(items.iter().map(identity));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
        if let Some((path, body)) = between
            && number < 3
        {
            let body = body.replace("NUMBER", &number.to_string());
            world.local("POST", path, body).await.json(201);
        }
    }
    seen
}

#[tokio::test]
async fn every_list_by_pages_misses_nothing_and_repeats_nothing_while_things_come_in() {
    let world = World::start().await;
    let lists: [(&str, &str); 5] = [
        ("/licenses", r#"{"app":"api"}"#),
        ("/keys", r#"{"app":"api"}"#),
        ("/management-keys", "{}"),
        ("/accounts", r#"{"name":"m-NUMBER"}"#),
        ("/users", r#"{"app":"api","login":"m-NUMBER"}"#),
    ];
    for (made_at, body) in lists {
        let path = match made_at {
            "/users" => "/users?app=api",
            path => path,
        };
        for number in ["a", "z", "b", "y", "c"] {
            let body = body.replace("NUMBER", number);
            world.local("POST", made_at, body).await.json(201);
        }
        let before = read(&world, path, None).await;
        assert!(before.len() >= 5, "{path}: {before:?}");
        let seen = read(&world, path, Some(&(made_at, body.to_owned()))).await;
        assert!(seen.is_sorted_by(|a, b| a < b), "{path}: {seen:?}");
        for item in &before {
            assert!(seen.contains(item), "{path}: {item} was skipped");
        }
        assert!(read(&world, path, None).await.len() > before.len());
    }
    for path in ["/apps", "/plans", "/signing-keys"] {
        let whole = world.get(path).await;
        let whole: Vec<_> = whole["items"].as_array().expect("items").clone();
        let one = world.get(&format!("{path}?limit=1")).await;
        assert_eq!(
            one["items"].as_array().map(|items| items.first()),
            Some(whole.first())
        );
        assert_eq!(one["next"].is_null(), whole.len() <= 1, "{path}");
        let all: Vec<_> = whole.iter().map(identity).collect();
        assert_eq!(read(&world, path, None).await, all);
    }
}

#[tokio::test]
async fn a_page_that_cannot_be_is_refused_by_the_name_of_its_parameter() {
    let world = World::start().await;
    for path in [
        "/licenses",
        "/keys",
        "/management-keys",
        "/signing-keys",
        "/accounts",
        "/apps",
        "/plans",
        "/audit",
        "/calls",
        "/users?app=api",
        "/tokens?license=lic_0198c0de0198c0de0198c0de0198c0de",
        "/sessions?key=mgk_0198c0de0198c0de0198c0de0198c0de",
    ] {
        let mark = if path.contains('?') { '&' } else { '?' };
        for limit in ["0", "1001", "-1", "x", "1.5", "99999999999999999999"] {
            let path = format!("{path}{mark}limit={limit}");
            let answer = world.local("GET", &path, "").await;
            assert_eq!(answer.json(400)["field"], "limit", "{path}");
        }
        // Neither a number nor an id nor a name.
        for cursor in ["%20", "%ff", "x%2f", "%00"] {
            let path = format!("{path}{mark}cursor={cursor}");
            let answer = world.local("GET", &path, "").await;
            assert_eq!(answer.json(400)["field"], "cursor", "{path}");
        }
        let answer = world.local("GET", &format!("{path}{mark}page=2"), "").await;
        assert_eq!(answer.json(400)["field"], "page", "{path}");
    }
}
