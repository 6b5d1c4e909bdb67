//! The forms against the test vectors of AuthForge's own SDK, read from the installed crate.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{DeviceId, Variables};
use serde_json::Value;

use super::license_file::{LicenseDocument, armored, payload};
use super::request_file::{RequestFileError, read_request_file};

/// Returns the folder of the installed crate.
fn folder() -> PathBuf {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--offline", "--locked"])
        .args(["--manifest-path", manifest])
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    let packages = metadata["packages"].as_array().expect("packages");
    let sdk = packages
        .iter()
        .find(|package| package["name"] == "authforge" && package["version"] == "2.0.0");
    let manifest = sdk.expect("the SDK")["manifest_path"].as_str();
    let manifest = PathBuf::from(manifest.expect("a path"));
    manifest.parent().expect("a folder").to_owned()
}

fn vectors(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(name)).expect(name);
    serde_json::from_str(&text).expect(name)
}

fn cases(vectors: &Value) -> &Vec<Value> {
    vectors["cases"].as_array().expect("cases")
}

/// The pair whose public key the vectors are signed with: the first of RFC 8032, section 7.1.
fn sign(message: &[u8]) -> [u8; 64] {
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let seed = hex::decode(seed).expect("valid");
    let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(&seed).expect("valid");
    let signature = pair.sign(message);
    signature.as_ref().try_into().expect("64 bytes")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} of {value}"))
}

fn variables(value: &Value) -> Variables {
    value.as_object().map_or_else(Variables::default, |object| {
        Variables::of(object).expect("within their bounds")
    })
}

/// Returns the payload of a file of the vectors.
fn payload_of(file: &str) -> (Vec<u8>, Value) {
    let block = super::armor::read("LICENSE", file).expect("armor");
    let bytes = block.content().expect("base64");
    let value = serde_json::from_slice(&bytes).expect("JSON");
    (bytes, value)
}

/// Runs a test with the document of a payload of the vectors.
fn with_document(value: &Value, run: impl FnOnce(&LicenseDocument<'_>)) {
    let time = |name: &str| {
        value[name]
            .as_str()
            .map(|text| text.parse().expect("a time"))
    };
    let devices: Vec<DeviceId> = value["hwid"]["hwids"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|id| id.as_str().expect("text").parse().expect("a device"))
        .collect();
    let (license_variables, app_variables) = (
        variables(&value["licenseVariables"]),
        variables(&value["appVariables"]),
    );
    let id: model::CallId = text(value, "jti").parse().expect("a UUID");
    run(&LicenseDocument {
        app_id: text(value, "appId"),
        license_key: text(value, "licenseKey"),
        id: id.as_u128(),
        issued_at: time("issuedAt").expect("there"),
        expires_at: time("expiresAt"),
        devices: &devices,
        label: value["label"].as_str(),
        license_expires_at: time("licenseExpiresAt"),
        license_variables: &license_variables,
        app_variables: &app_variables,
    });
}

#[test]
fn offline_files_are_armored_and_signed_to_the_byte_as_those_of_the_vectors() {
    let vectors = vectors("offline_license_vectors.json");
    let mut compared = 0;
    for case in cases(&vectors) {
        let name = text(case, "name");
        // Those that another program would have wrapped, signed with another key, or changed.
        let ours =
            case["expect"] == "ok" && !name.contains("rewrapped") && !name.contains("rotation");
        if !ours && !["expired", "wrong_app", "hwid_mismatch"].contains(&text(case, "expect")) {
            continue;
        }
        let file = text(case, "file");
        if !ours && file.contains("\r\n") || name.contains("rewrapped") {
            continue;
        }
        let (bytes, value) = payload_of(file);
        with_document(&value, |document| {
            let kid = text(&value, "kid");
            assert_eq!(armored(document, kid, &bytes, sign), file, "{name}");
            // What we write ourselves has the same members and values; the order of variables is
            // ours.
            let own: Value = serde_json::from_slice(&payload(document, kid)).expect("JSON");
            for (member, value) in value.as_object().expect("an object") {
                assert_eq!(own[member], *value, "{name}: {member}");
            }
        });
        compared += 1;
    }
    assert!(compared >= 8, "{compared} files were compared");
}

#[test]
fn a_file_that_software_had_made_by_itself_is_to_the_byte_that_of_the_vectors() {
    let vectors = vectors("self_serve_activation_vectors.json");
    let activated = cases(&vectors)
        .iter()
        .filter(|case| case["expect"]["outcome"] == "activated");
    let mut compared = 0;
    for case in activated {
        let file = text(&case["response"]["body"], "file");
        let (_, value) = payload_of(file);
        with_document(&value, |document| {
            let kid = text(&value, "kid");
            let own = armored(document, kid, &payload(document, kid), sign);
            assert_eq!(own, file, "{}", case["name"]);
        });
        compared += 1;
    }
    assert_eq!(compared, 2);
}

#[test]
fn signed_answers_verify_as_those_of_the_vectors_do() {
    let vectors = vectors("test_vectors.json");
    let key = STANDARD
        .decode(text(&vectors, "publicKey"))
        .expect("base64");
    for case in cases(&vectors) {
        let signature = STANDARD.decode(text(case, "signature")).expect("base64");
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, &key);
        let payload = text(case, "payload");
        let verified = key.verify(payload.as_bytes(), &signature).is_ok();
        assert_eq!(case["shouldVerify"], verified, "{}", case["id"]);
    }
}

#[test]
fn request_files_are_read_as_the_vectors_say() {
    let vectors = vectors("activation_request_vectors.json");
    assert_eq!(cases(&vectors).len(), 6);
    for case in cases(&vectors) {
        let name = text(case, "name");
        let read = read_request_file(text(case, "file"));
        match text(case, "expect") {
            "ok" => {
                let read = read.expect(name);
                assert_eq!(read.app_id, "test-app", "{name}");
                assert_eq!(read.device.as_str(), "testhwid", "{name}");
                let inputs = &case["inputs"];
                assert_eq!(
                    read.license_key.as_deref(),
                    inputs["licenseKey"].as_str(),
                    "{name}"
                );
            }
            "checksum_mismatch" => assert_eq!(read, Err(RequestFileError::Checksum), "{name}"),
            "reject" => assert_eq!(read, Err(RequestFileError::Malformed), "{name}"),
            "is_license_file" => assert_eq!(read, Err(RequestFileError::IsLicenseFile), "{name}"),
            other => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn every_device_of_the_vectors_is_one_here() {
    let vectors = vectors("hwid_vectors.json");
    let devices = vectors["hwid"].as_array().expect("devices");
    assert!(devices.len() >= 5);
    for device in devices {
        let id = text(device, "hwid");
        assert!(id.parse::<DeviceId>().is_ok(), "{id}");
    }
}
