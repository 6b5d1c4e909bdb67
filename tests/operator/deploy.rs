//! What is shipped to be deployed: manifests that Kubernetes takes, and a configuration that the binary takes.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::binary;

fn kubernetes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kubernetes")
}

#[test]
fn the_manifests_are_what_kubernetes_describes() {
    // Where `make test` installs it.
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/venv/bin/python");
    let python = std::env::var("TALLYGATE_TEST_PYTHON").unwrap_or_else(|_| installed.to_owned());
    let validate = |folder: &Path, file: &str| {
        Command::new(&python)
            .args(["-m", "kubernetes_validate", "--strict", file])
            .current_dir(folder)
            .output()
            .unwrap_or_else(|error| panic!("{python} runs: {error}"))
    };
    for file in [
        "namespace.yaml",
        "gates.yaml",
        "redis.yaml",
        "postgres.yaml",
    ] {
        let output = validate(&kubernetes(), file);
        let told = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{file}: {told}\n{errors}");
    }
    // It does look: a field of no such kind is told.
    let folder = tempfile::tempdir().expect("a folder");
    let text = std::fs::read_to_string(kubernetes().join("gates.yaml")).expect("it is there");
    let wrong = text.replace("replicas: 3", "replicants: 3");
    assert_ne!(wrong, text);
    std::fs::write(folder.path().join("gates.yaml"), wrong).expect("it can be written");
    assert!(!validate(folder.path(), "gates.yaml").status.success());
}

#[test]
fn the_service_of_the_gates_is_headless_and_callers_have_another() {
    let text = std::fs::read_to_string(kubernetes().join("gates.yaml")).expect("it is there");
    let service = |name: &str| {
        let named = format!("metadata:\n  name: {name}\n");
        let mut documents = text.split("\n---\n");
        documents
            .find(|document| document.contains("kind: Service") && document.contains(&named))
            .unwrap_or_else(|| panic!("there is no service `{name}`"))
    };
    assert!(text.contains("serviceName: gates"));
    assert!(service("gates").contains("clusterIP: None"));
    assert!(!service("gate").contains("clusterIP: None"));
}

#[test]
fn a_call_through_the_deployment_costs_something() {
    let text = std::fs::read_to_string(kubernetes().join("gateway.toml")).expect("it is there");
    assert!(text.contains("\nprice_per_unit = "), "{text}");
    assert!(text.contains("\nplan = "), "{text}");
}

#[test]
fn an_image_is_built_from_sources_alone() {
    let file = kubernetes().join("../../.dockerignore");
    let text = std::fs::read_to_string(file).expect("there is a .dockerignore");
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    // What is not named is left out: a secret of a trial run cannot get into the context.
    assert_eq!(lines.next(), Some("*"));
    assert!(lines.all(|line| line.starts_with('!') || line.starts_with("**/")));
}

#[test]
fn the_configuration_of_the_deployment_is_one_that_the_gate_takes() {
    let output = Command::new(binary!())
        .args(["check", "--config"])
        .arg(kubernetes().join("gateway.toml"))
        .env("TALLYGATE_SECRET", "0123456789abcdef0123456789abcdef")
        .env("TALLYGATE_DB_PASSWORD", "secret")
        .env("TALLYGATE_REDIS_PASSWORD", "secret")
        .output()
        .expect("it starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}
