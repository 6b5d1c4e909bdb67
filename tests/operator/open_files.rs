//! Sealed files are open to other engines: DuckDB reads from them what the gate answers.

use std::process::Command;

use serde_json::Value;
use testkit::client::Request;
use testkit::{App, Config, Site, binary};

/// Prints what DuckDB makes of the files as one JSON object.
const SCRIPT: &str = r#"
import duckdb, json, sys
row = duckdb.sql(f"""
    SELECT count(*), count(DISTINCT call_id), sum(units) FILTER (billable), sum(amount) FILTER (billable),
           min(license_id), max(license_id), count(*) FILTER (status = 500), sum(response_bytes)
    FROM read_parquet('{sys.argv[1]}/**/*.parquet')""").fetchall()[0]
names = ["calls", "ids", "units", "amount", "first", "last", "failed", "bytes"]
print(json.dumps(dict(zip(names, [v if isinstance(v, (int, str)) else float(v) for v in row]))))
"#;

#[test]
fn duckdb_reads_what_the_gate_answers() {
    let mut site = Site::with(binary!(), |upstream| {
        let plan = "[[plan]]\nname = \"pro\"\ncurrency = \"EUR\"\nprice_per_unit = \"0.01\"";
        let app = App::new("api", upstream)
            .line("plan = \"pro\"")
            .route("/", &[])
            .route("/dear", &["units = 5"]);
        Config::default().table(plan).app(app)
    });
    let license = site.gateway.license(&[]);
    for path in ["/bytes/10", "/bytes/20", "/dear", "/status/500"] {
        let response = site.gateway.call(&Request::get(path).key(&license.key));
        assert!(matches!(response.status, 200 | 500), "{path}: {response:?}");
    }
    let answered = site.gateway.wait_for_calls(4);
    // A clean end seals everything.
    assert!(site.gateway.stop().success());

    let ledger = site.gateway.data_dir().join("ledger");
    let python = testkit::python();
    let output = Command::new(&python)
        .args(["-c", SCRIPT])
        .arg(&ledger)
        .output()
        .unwrap_or_else(|error| panic!("{python} runs: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "duckdb through {python}: {errors}");
    let read: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");

    let sum = |field: &str| {
        answered
            .iter()
            .filter_map(|call| call[field].as_u64())
            .sum::<u64>()
    };
    assert_eq!(
        (&read["calls"], &read["ids"]),
        (&4.into(), &4.into()),
        "{read}"
    );
    assert_eq!(
        (&read["units"], &read["failed"]),
        (&7.into(), &1.into()),
        "{read}"
    );
    assert_eq!(read["first"], license.id.as_str(), "{read}");
    assert_eq!(read["last"], license.id.as_str(), "{read}");
    assert_eq!(read["bytes"], sum("response_bytes"), "{read}");
    let amount = read["amount"].as_f64().expect("a number");
    assert!((amount - 0.07).abs() < 1e-9, "{read}");
}
