//! What agents paid, from the ledger.

use serde_json::json;

use super::{Site, refused};

#[tokio::test]
async fn receipts_are_the_billed_calls_of_agents_newest_first() {
    let site = Site::start().await;
    let me = site.get("/api/me").await.json(200);
    assert_eq!(
        (&me["account_id"], &me["user_type"]),
        (&json!("default"), &json!("api_key"))
    );
    let (token, _) = site.token(json!({ "plan": "pro" })).await;
    let status = json!({ "token": token, "access": "allow", "reason": "token_active" });
    for number in 0..3 {
        let report = json!({ "account_id": "default", "status": status, "method": "GET", "resource": format!("/{number}") });
        site.post("/api/filter/access/logs", &report)
            .await
            .json(202);
    }
    let list = site
        .get("/api/wallet/default/receipts?limit=2&offset=1")
        .await
        .json(200);
    assert_eq!(
        (&list["total"], &list["limit"], &list["offset"]),
        (&json!(3), &json!(2), &json!(1))
    );
    let receipts = list["receipts"].as_array().unwrap();
    assert_eq!(receipts.len(), 2);
    assert!(receipts[0]["createdAt"].as_str() >= receipts[1]["createdAt"].as_str());
    // 0.01 EUR is 1,000 thousandths of a cent.
    assert_eq!(
        (&receipts[0]["amount"], &receipts[0]["type"]),
        (&json!(-1_000), &json!("debit"))
    );
    let id = receipts[0]["publicId"].as_str().unwrap();
    let one = site
        .get(&format!("/api/wallet/default/receipts/{id}"))
        .await
        .json(200);
    assert_eq!(one, receipts[0]);
    let none = site
        .get("/api/wallet/default/receipts?type=credit")
        .await
        .json(200);
    assert_eq!(none["total"], 0);
    for path in [
        "/api/wallet/acme/receipts",
        "/api/wallet/default/receipts/0198c0de-0198-7000-8000-000000000001",
        "/api/wallet/default/receipts/x",
    ] {
        refused(&site.get(path).await, 404, "not_found");
    }
    for bad in ["limit=0", "limit=101", "offset=-1", "type=gift"] {
        let answer = site
            .get(&format!("/api/wallet/default/receipts?{bad}"))
            .await;
        refused(&answer, 400, "invalid_request");
    }
}
