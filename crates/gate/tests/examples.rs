//! The examples of this crate do what they say.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

#[allow(dead_code, reason = "its `main` only prints what `run` returns")]
#[path = "../examples/without_a_proxy.rs"]
mod without_a_proxy;

#[tokio::test]
async fn a_gate_without_a_proxy_admits_refuses_and_records() {
    assert_eq!(
        without_a_proxy::run().await.unwrap(),
        [
            "with the key: 200",
            "with a wrong key: 401 license_unknown",
            "with no unit left: 402 quota_exhausted",
            "record: status 200, delivered, units: 1, billed: true",
            "record: status 402, refused quota_exhausted, units: 0, billed: false",
        ]
    );
}
