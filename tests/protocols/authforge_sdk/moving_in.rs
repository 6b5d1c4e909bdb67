//! Software that is out there already: it goes on with its app id, its secret and the public key that it trusts, and learns of the
//! next key before that signs.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::Value;

use super::python_sdk::PythonSdk;
use super::sdk::{Installation, Sdk, of_both};
use super::seller::{APP, Seller, text};

const APP_ID: &str = "app_8f2c41d0";
const SECRET: &str = "the-secret-that-was-shipped-with-it";

of_both! {
    software_that_trusts_another_gates_key_goes_on_and_follows_a_rotation;
}

/// A private key that was made elsewhere, as PKCS#8 of version 2 in PEM, and its public half in base64.
fn key_of_old() -> (String, String) {
    let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("random");
    let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).expect("a key");
    let base64 = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{base64}\n-----END PRIVATE KEY-----\n");
    (pem, STANDARD.encode(pair.public_key().as_ref()))
}

fn software_that_trusts_another_gates_key_goes_on_and_follows_a_rotation<S: Sdk>() {
    let seller = Seller::start();
    let license = seller.license(&["--device-slots", "3"]);
    let (pem, public_key) = key_of_old();
    let folder = tempfile::tempdir().expect("a folder");
    let (key_file, secret_file) = (folder.path().join("key.pem"), folder.path().join("secret"));
    fs::write(&key_file, pem).expect("it can be written");
    fs::write(&secret_file, format!("{SECRET}\n")).expect("it can be written");
    let out_there = Installation {
        app_id: APP_ID.to_owned(),
        app_secret: SECRET.to_owned(),
        public_key: public_key.clone(),
        ..seller.installed("here")
    };
    let validates = |installation: &Installation| S::start(installation).validate(&license.key);
    assert_eq!(validates(&out_there), Err("invalid_app".to_owned()));
    let cli = seller.site.gateway.cli();
    let secret_file = secret_file.to_string_lossy();
    let import = ["app", "credentials", APP, "--import", APP_ID];
    let imported = cli.json(&[&import[..], &["--secret-file", &secret_file]].concat());
    assert_eq!(text(&imported["imported_app_id"]), APP_ID);
    // The answers are signed by a key that it does not trust.
    assert_eq!(validates(&out_there), Err("signature_mismatch".to_owned()));
    let keys = |arguments: &[&str]| -> Value { cli.json(&[&["app", "keys"], arguments].concat()) };
    let imported = keys(&["import", APP, &key_file.to_string_lossy()]);
    assert_eq!(text(&imported["public_key"]), public_key);
    validates(&out_there).expect("it goes on");
    // The next version is shipped with both keys before the new one signs.
    let next = text(&keys(&["rotate", APP, "--lead", "30d"])["public_key"]);
    let trusting = |public_key: String| Installation {
        public_key,
        ..out_there.clone()
    };
    let both = trusting(format!("{public_key},{next}"));
    let new_alone = trusting(next);
    validates(&out_there).expect("the old key signs");
    validates(&both).expect("it trusts both");
    assert_eq!(validates(&new_alone), Err("signature_mismatch".to_owned()));
    let waiting = text(&keys(&["list", APP])[2]["id"]);
    let _ = keys(&["retire", APP, &waiting]);
    let newest = text(&keys(&["rotate", APP, "--at-once"])["public_key"]);
    let both = trusting(format!("{public_key},{newest}"));
    validates(&both).expect("it trusts both");
    validates(&trusting(newest)).expect("the new key signs");
    assert_eq!(validates(&out_there), Err("signature_mismatch".to_owned()));
}

#[test]
fn software_is_switched_off_and_on_by_the_command_line() {
    let seller = Seller::start();
    let license = seller.license(&["--device-slots", "1"]);
    let mut sdk = PythonSdk::start(&seller.installed("here"));
    let cli = seller.site.gateway.cli();
    for (command, said) in [
        ("disable", Err("app_disabled".to_owned())),
        ("enable", Ok(())),
    ] {
        let shown = cli.json(&["app", command, APP]);
        assert_eq!(shown["enabled"], said.is_ok());
        assert_eq!(cli.json(&["app", "software", APP]), shown);
        assert_eq!(sdk.validate(&license.key).map(drop), said);
    }
}
