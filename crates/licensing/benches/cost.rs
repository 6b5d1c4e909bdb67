//! What a warm call costs here, and what a million licenses weigh:
//! `cargo bench -p licensing --bench cost [-- LICENSES]`

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use licensing::{
    AppTerms, Ask, Found, IssueRequest, LeaseOptions, Licensing, LicensingOptions, Plans,
};
use model::{
    CallFacts, Clock, InstanceId, KeyHash, KeyHasher, LicenseSpec, Limits, Method, Refusal,
    SystemClock,
};
use store::{LedgerStore, SqliteOptions, SqliteStore};

const CALLS: u32 = 2_000_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo itself passes `--bench`.
    let argument = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let licenses: usize = match argument {
        Some(text) => text.parse()?,
        None => 100_000,
    };
    let directory = tempfile::tempdir()?;
    let store = Arc::new(SqliteStore::open(SqliteOptions::new(directory.path()))?);
    let instance = InstanceId::generate();
    let now = SystemClock.now();
    store
        .begin_instance(instance, "cost".to_owned(), now)
        .await?;
    let app = AppTerms {
        app: "api".parse()?,
        account: "default".parse()?,
        default_plan: None,
        grace: Duration::from_secs(60),
        allowance: 0,
        key_recovery: false,
        software: licensing::SoftwareTerms::default(),
        agents: None,
    };
    let hasher = KeyHasher::new(&[7; 32]);
    // Calls come here a hundred times as fast as any proxy makes them, and leases are to be sized for that.
    let lease = LeaseOptions {
        first: 1 << 30,
        most: 1 << 30,
        ..LeaseOptions::default()
    };
    let options = LicensingOptions {
        lease,
        ..LicensingOptions::default()
    };
    let licensing = Licensing::open(
        options,
        store,
        hasher.clone(),
        Plans::new(vec![], vec![app]),
        instance,
        Arc::new(SystemClock),
    )
    .await?;
    tokio::spawn(licensing.clone().run(std::future::pending()));

    let kinds = [
        ("no limit", Limits::default()),
        ("1 short window", limits(None, &["1000000000/1m"])),
        (
            "2 windows, units",
            limits(Some(1 << 50), &["1000000000/1m", "1000000000/1h"]),
        ),
    ];
    for (name, limits) in kinds {
        let hash = issue(&licensing, &hasher, limits, 1).await?[0];
        let entry = licensing
            .admission()
            .load(hash)
            .await
            .map_err(Refusal::code)?
            .ok_or("it was issued")?;
        let taken = entry
            .acquire(&ask())
            .await
            .map_err(|refused| refused.refusal.code())?;
        entry.settle(taken, 1);
        let licensing = licensing.clone();
        let (nanos, waits) =
            tokio::task::spawn_blocking(move || time_calls(&licensing, hash)).await?;
        println!("{name:<18} {nanos:6.0} ns a call (find, check, reserve, settle); {waits} waits");
    }
    weigh(&licensing, &hasher, licenses).await
}

fn limits(remaining: Option<u64>, windows: &[&str]) -> Limits {
    let parse = |text: &&str| text.parse().expect("a valid limit");
    Limits {
        remaining,
        rate_limits: windows.iter().map(parse).collect(),
        ..Limits::default()
    }
}

fn ask() -> Ask {
    Ask {
        units: 1,
        now: SystemClock.now(),
        slot: true,
    }
}

/// Nanoseconds of a call, the clock read by the caller once, and how often a lease was waited for.
fn time_calls(licensing: &Licensing, hash: KeyHash) -> (f64, u32) {
    let mut waits = 0;
    let mut spent = Duration::ZERO;
    let mut done = 0;
    while done < CALLS {
        let now = SystemClock.now();
        let begun = Instant::now();
        for _ in 0..100 {
            waits += u32::from(!call(
                licensing,
                &hash,
                Ask {
                    units: 1,
                    now,
                    slot: true,
                },
            ));
        }
        spent += begun.elapsed();
        done += 100;
    }
    (spent.as_nanos() as f64 / f64::from(CALLS), waits)
}

fn call(licensing: &Licensing, hash: &KeyHash, ask: Ask) -> bool {
    let Found::Known(entry) = licensing
        .admission()
        .find(black_box(hash), SystemClock.since_boot())
    else {
        return false;
    };
    let facts = CallFacts {
        now: ask.now,
        address: None,
        target: Some((Method::Get, "/")),
        features: &[],
        agent: None,
    };
    if black_box(entry.check(&facts)).is_err() {
        return false;
    }
    match entry.reserve(&ask) {
        Ok(taken) => {
            entry.settle(black_box(taken), 1);
            true
        }
        Err(_) => false,
    }
}

async fn issue(
    licensing: &Arc<Licensing>,
    hasher: &KeyHasher,
    limits: Limits,
    quantity: u32,
) -> Result<Vec<KeyHash>, licensing::Error> {
    let request = IssueRequest {
        spec: LicenseSpec {
            limits,
            user: Some("customer-000001".to_owned()),
            ..LicenseSpec::default()
        },
        quantity,
        ..IssueRequest::for_app("api".parse().expect("a valid name"))
    };
    let operator = licensing.acting(model::Actor::OPERATOR);
    let issued = operator.issue(request).await?;
    let keys = issued.into_iter().filter_map(|issued| issued.credential);
    Ok(keys
        .map(|key| hasher.hash(key.expose().as_bytes()))
        .collect())
}

async fn weigh(
    licensing: &Arc<Licensing>,
    hasher: &KeyHasher,
    licenses: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut hashes = Vec::with_capacity(licenses);
    while hashes.len() < licenses {
        let limits = limits(Some(1_000), &["100/1m"]);
        hashes.extend(issue(licensing, hasher, limits, 1_000).await?);
    }
    let before = resident();
    let begun = Instant::now();
    for hash in &hashes {
        licensing
            .admission()
            .load(*hash)
            .await
            .map_err(Refusal::code)?;
    }
    let size = licensing.cache_size();
    let per_million =
        |bytes: usize, count: usize| bytes as f64 / count as f64 * 1e6 / f64::from(1 << 20);
    println!(
        "{} licenses cached: {:.0} MiB a million; fingerprints {:.1} MiB a million; {:.0} us a load",
        size.entries,
        per_million(resident().saturating_sub(before), hashes.len()),
        per_million(size.fingerprint_bytes, size.fingerprints),
        begun.elapsed().as_micros() as f64 / hashes.len() as f64,
    );
    let called = &hashes[..licenses.min(10_000)];
    let before = resident();
    for hash in called {
        if let Found::Known(entry) = licensing.admission().find(hash, SystemClock.since_boot()) {
            let taken = entry.acquire(&ask()).await;
            entry.settle(taken.map_err(|refused| refused.refusal.code())?, 1);
        }
    }
    let grown = resident().saturating_sub(before);
    println!(
        "each called once under limits: {:.0} MiB a million more",
        per_million(grown, called.len())
    );
    Ok(())
}

/// Bytes of resident memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status
        .split_whitespace()
        .nth(1)
        .and_then(|text| text.parse::<usize>().ok());
    pages.unwrap_or(0) * 4_096
}
