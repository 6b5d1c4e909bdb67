//! `/ledger`: verification, shipping, rebuild and export, on the gate's own host only.

use std::fs::File;
use std::io::{self, BufWriter};
use std::os::fd::OwnedFd;
use std::path::Path;

use api_types::{ExportQuery, Finding, Nothing, Rebuilt, Ship, Shipped, Verification};
use axum::Json as Answer;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use ledger::{Calls, CallsQuery, ExportFormat};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::runtime::Handle;

use super::query::check_span;
use crate::document::{Needs, Operation, Routes};
use crate::http::extract::{Json, Query};
use crate::http::problem::{Code, Problem};
use crate::http::state::Shared;
use crate::http::stream::{self, ChunkSender};

/// Adds the requests about the ledger.
pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .post(
            "/ledger/verify",
            verify,
            Operation::new("verifyLedger", "Count everything again", Needs::Operator)
                .body::<Nothing>()
                .answers::<Verification>(200),
        )
        .post(
            "/ledger/ship",
            ship,
            Operation::new(
                "shipLedger",
                "Bring in what is pending, or what a dead gate left",
                Needs::Operator,
            )
            .body::<Ship>()
            .answers::<Shipped>(200),
        )
        .post(
            "/ledger/rebuild",
            rebuild,
            Operation::new(
                "rebuildLedger",
                "Make rollups and manifest anew from the sealed files",
                Needs::Operator,
            )
            .body::<Nothing>()
            .answers::<Rebuilt>(200),
        )
        .get(
            "/ledger/export",
            export,
            Operation::new(
                "exportLedger",
                "Write the records of calls to a stream",
                Needs::Operator,
            )
            .query::<ExportQuery>()
            .streams(&[
                "application/x-ndjson",
                "text/csv",
                "application/vnd.apache.parquet",
            ]),
        )
}

/// Verifies the ledger by counting everything again.
async fn verify(
    State(state): Shared,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Answer<Verification>, Problem> {
    Ok(Answer(verification(state.ledger.verify().await?)))
}

/// Ships the pending records, or those that a dead instance left in a directory, into the ledger
/// now.
async fn ship(State(state): Shared, Json(request): Json<Ship>) -> Result<Answer<Shipped>, Problem> {
    let anew = match request.dir {
        Some(dir) => {
            judge_dir(&dir)?;
            let store = state.store.clone();
            let shipping = ledger::ship(&state.ledger_options, dir, store, Handle::current()).await;
            shipping.map_err(|error| match error {
                // The caller named the directory, so they are told what is wrong with it.
                ledger::Error::Journal(error) => {
                    Problem::new(Code::Conflict, error.to_string()).about("dir")
                }
                error => error.into(),
            })?
        }
        None => {
            let before = state.ledger.counts().stored;
            state.ledger.ship().await?;
            state.ledger.counts().stored > before
        }
    };
    Ok(Answer(Shipped {
        anew,
        pending: state.ledger.counts().pending,
    }))
}

/// Refuses a folder that cannot be a journal, and says what it is instead.
fn judge_dir(dir: &Path) -> Result<(), Problem> {
    let shown = dir.display();
    let journal = dir.join("journal");
    let detail = if dir.is_file() {
        format!("{shown} is a file: name the `journal` folder of the gate that is dead")
    } else if !dir.exists() {
        format!(
            "{shown}: there is no such folder on the host of this gate, or its user may not see it"
        )
    } else if journal.is_dir() && dir.join("lock").exists() {
        format!(
            "{shown} is the data of a gate: name the journal in it, {}",
            journal.display()
        )
    } else {
        return Ok(());
    };
    Err(Problem::new(Code::Conflict, detail).about("dir"))
}

/// Rebuilds the manifest and the rollups.
async fn rebuild(
    State(state): Shared,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Answer<Rebuilt>, Problem> {
    Ok(Answer(rebuilt(state.ledger.rebuild().await?)))
}

/// Writes the records of calls in one of several formats, as fast as they are read.
async fn export(
    State(state): Shared,
    Query(parameters): Query<ExportQuery>,
) -> Result<Response, Problem> {
    let format: ExportFormat = parameters
        .format
        .parse()
        .map_err(|error: String| Problem::field("format", error))?;
    check_span(parameters.from, parameters.to)?;
    let query = CallsQuery {
        license_id: parameters.license,
        app: parameters.app,
        from: parameters.from,
        to: parameters.to,
        ..CallsQuery::default()
    };
    let kind = match format {
        ExportFormat::Jsonl => "application/x-ndjson",
        ExportFormat::Csv => "text/csv; charset=utf-8",
        ExportFormat::Parquet => "application/vnd.apache.parquet",
    };
    // This comes before the first byte of the answer, while it can still be a refusal.
    let calls = state.ledger.calls(query).await?;
    let (reader, writer) = io::pipe().map_err(|error| Problem::internal(&error))?;
    let reader = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))
        .map_err(|error| Problem::internal(&error))?;
    let (chunks, body) = stream::channel();
    let writer = File::from(OwnedFd::from(writer));
    tokio::spawn(pump(reader, writer, calls, format, chunks));
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response())
}

/// Streams an export, which writes as files are written, to a reader who takes it in chunks. The
/// pipe between them slows the writer down to its reader, and tells it when the reader is gone.
async fn pump(
    mut reader: pipe::Receiver,
    writer: File,
    calls: Calls,
    format: ExportFormat,
    chunks: ChunkSender,
) {
    const CHUNK_BYTES: usize = 64 * 1_024;
    let runtime = Handle::current();
    let writing = tokio::task::spawn_blocking(move || {
        runtime.block_on(async move {
            let mut writer = BufWriter::with_capacity(CHUNK_BYTES, writer);
            calls.export(format, &mut writer).await
        })
    });
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => break,
            Ok(length) => {
                let piece = Bytes::copy_from_slice(&buffer[..length]);
                if chunks.send(Ok(piece)).await.is_err() {
                    return;
                }
            }
            Err(error) => return stream::fail(&chunks, error).await,
        }
    }
    match writing.await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => stream::fail(&chunks, error).await,
        Err(error) => stream::fail(&chunks, error).await,
    }
}

/// Returns the report of a verification as it is answered.
fn verification(report: ledger::VerifyReport) -> Verification {
    Verification {
        clean: report.is_clean(),
        accepted: report.accepted,
        stored: report.stored,
        pending: report.pending,
        lost: report.lost,
        duplicated: report.duplicated,
        problems: report.problems.into_iter().map(finding).collect(),
    }
}

/// Returns a problem of the ledger as it is answered.
fn finding(problem: ledger::Problem) -> Finding {
    let fault = serde_json::to_value(problem.fault).ok();
    Finding {
        fault: fault
            .and_then(|word| word.as_str().map(str::to_owned))
            .unwrap_or_default(),
        instance: problem.instance,
        lane: problem.lane,
        file: problem.file,
        range: problem.range,
        detail: problem.detail,
        rebuild_heals: problem.rebuild_heals,
    }
}

/// Returns the result of a rebuild as it is answered.
fn rebuilt(rebuilt: ledger::Rebuilt) -> Rebuilt {
    Rebuilt {
        files: rebuilt.files,
        remade: rebuilt.remade,
        missing: rebuilt.missing,
        rows: rebuilt.rows,
    }
}
