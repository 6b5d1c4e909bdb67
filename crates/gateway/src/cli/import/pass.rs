//! One reading of a file of licenses, in requests of some hundred rows.

use api_types::{ImportLicenses, ImportProblem, ImportResult, ImportedLicense, List};
use model::{AppName, Clock, SystemClock, Timestamp};
use serde_json::Value;

use super::columns;
use super::row::{Fields, Place, Wrong};
use super::rows::Rows;
use super::seen::Seen;
use super::source::{FileFormat, Source};
use super::tally::Tally;
use crate::cli::progress::Progress;
use crate::cli::{Client, Error};

/// The rows of one request.
const BATCH: usize = 500;
/// The size of one request, in bytes, at which it is sent.
const BATCH_BYTES: usize = 4 << 20;
/// The size of the largest row, in bytes as JSON.
const MAX_ROW: usize = 64 << 10;

/// What holds for each reading of a file.
pub(super) struct Pass<'a> {
    pub(super) client: &'a Client,
    pub(super) format: FileFormat,
    pub(super) app: &'a AppName,
    pub(super) key_format: Option<&'a str>,
    pub(super) hashed: bool,
}

/// Rows that wait to be sent together.
#[derive(Default)]
struct Batch {
    /// The places of the rows, and what is wrong with those that are not sent, in their order.
    places: Vec<(Place, Option<Wrong>)>,
    rows: Vec<Fields>,
    bytes: usize,
}

impl Pass<'_> {
    /// Reads the file, and has its rows written if the tally says so, or else judged.
    ///
    /// # Errors
    /// The file cannot be read, or the gate does not answer. The tally has what was done before.
    pub(super) async fn run(&self, source: &mut Source, tally: &mut Tally) -> Result<(), Error> {
        let mut rows = Rows::of(source, self.format, self.hashed)?;
        let what = if tally.written {
            "importing"
        } else {
            "checking"
        };
        let progress = Progress::rows(what);
        let (mut seen, mut batch) = (Seen::default(), Batch::default());
        while let Some(row) = rows.next()? {
            tally.rows += 1;
            progress.counted(1);
            let fields = row.fields.and_then(|fields| {
                let bytes = size(&fields)?;
                seen.note(&fields, row.place.line)?;
                Ok((fields, bytes))
            });
            match fields {
                Ok((fields, bytes)) => batch.add(row.place, fields, bytes),
                Err(wrong) => batch.places.push((row.place, Some(wrong))),
            }
            if batch.is_full() {
                self.send(&source.name, &mut batch, tally, &progress)
                    .await?;
            }
        }
        self.send(&source.name, &mut batch, tally, &progress)
            .await?;
        tally.not_taken.clone_from(rows.not_taken());
        Ok(())
    }

    /// Sends the rows of a batch, which is empty then, and counts what becomes of them, with those
    /// that are wrong in their order.
    async fn send(
        &self,
        file: &str,
        batch: &mut Batch,
        tally: &mut Tally,
        progress: &Progress,
    ) -> Result<(), Error> {
        let Batch { places, rows, .. } = std::mem::take(batch);
        let answers = self.answers(rows, tally.written).await?;
        let (now, mut answers) = (SystemClock.now(), answers.into_iter());
        for (place, wrong) in places {
            if let Some(wrong) = wrong {
                tally.bad(file, place, wrong, progress);
                continue;
            }
            let Some((row, imported)) = answers.next() else {
                let reason = "it does not answer for each of the rows";
                return Err(self.client.no_gate(reason));
            };
            match imported.result {
                ImportResult::Made => tally.made += 1,
                ImportResult::There => tally.there += 1,
                ImportResult::Bad => {
                    tally.bad(file, place, wrong_by_gate(imported.problem, &row), progress);
                    continue;
                }
            }
            tally.ended += u64::from(has_ended(&row, now));
        }
        Ok(())
    }

    /// Sends rows, and returns what becomes of each.
    async fn answers(
        &self,
        rows: Vec<Fields>,
        is_written: bool,
    ) -> Result<Vec<(Fields, ImportedLicense)>, Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let request = ImportLicenses {
            app: self.app.clone(),
            key_format: self.key_format.map(str::to_owned),
            dry_run: !is_written,
            rows,
        };
        let answer = self.client.post("/licenses/import", &request).await;
        let answer: List<ImportedLicense> = answer?;
        Ok(request.rows.into_iter().zip(answer.items).collect())
    }
}

impl Batch {
    fn add(&mut self, place: Place, row: Fields, bytes: usize) {
        self.places.push((place, None));
        self.rows.push(row);
        self.bytes += bytes;
    }

    fn is_full(&self) -> bool {
        self.places.len() >= BATCH || self.bytes >= BATCH_BYTES
    }
}

/// Returns the size of a row as JSON.
fn size(row: &Fields) -> Result<usize, Wrong> {
    let bytes = serde_json::to_vec(row).map_or(0, |text| text.len());
    if bytes > MAX_ROW {
        let reason = format!("it has {bytes} bytes, at most {MAX_ROW} are taken: shorten it");
        return Err(Wrong::of("row", reason));
    }
    Ok(bytes)
}

/// Returns what the gate finds wrong with a row, without the keys in it.
fn wrong_by_gate(problem: Option<ImportProblem>, row: &Fields) -> Wrong {
    let Some(problem) = problem else {
        return Wrong::of("row", "the gate does not take it");
    };
    let field = problem.field.unwrap_or_else(|| "row".to_owned());
    let reason = columns::without_keys(&problem.detail, row);
    Wrong::of(&field, reason)
}

fn has_ended(row: &Fields, now: Timestamp) -> bool {
    let end = row.get("expires_at").and_then(Value::as_str);
    let end = end.and_then(|end| end.parse::<Timestamp>().ok());
    end.is_some_and(|end| end <= now)
}
