//! The embedded store: two SQLite files, `licenses.db` and `ledger.db`, and nothing to install.
//!
//! Each file has one writer thread and a few readers. No call waits longer than the busy timeout
//! and [`SqliteOptions::GRACE`], long jobs aside, which begin within that time.
//!
//! Licenses are in one file; balances, leases, rollups and positions in the other, since one
//! transaction must hold them together. No transaction writes both: see
//! `docs/decisions/0002-two-sqlite-files.md`.

mod audit;
mod backend_error;
mod balances;
mod conn;
mod convert;
mod credits;
mod db_session;
mod db_threads;
mod dictionary;
mod executor;
mod file;
mod ledger_store;
mod licenses;
mod node;
mod queue;
mod quota;
mod reader;
mod rollups;
mod terms;
mod tokens;
mod twins;
mod writer;

use std::fmt;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::system::in_words;
use model::{Clock, SystemClock, Timestamp};
use parking_lot::ReentrantMutexGuard;
use rusqlite::Connection;

use self::backend_error::BackendError;
use self::conn::SqliteConn;
use self::db_session::{DbSession, Opener};
use self::db_threads::DbThreads;
use self::dictionary::Dictionary;
use self::executor::Timeouts;
use self::file::{Access, DatabaseFile, LEDGER, LICENSES, OpenFile, Schema};
use self::terms::TermsSource;
use crate::Named;
use crate::error::Error;
use crate::sql::first_use::UsedLicenses;
use crate::sql::management::named;
use crate::sql::{Backend, Job, Kind, Part, at_once};

/// The options of an embedded store: its directory and its timeouts.
#[derive(Clone)]
pub struct SqliteOptions {
    /// The directory of both files; made if it is not there, readable by its owner alone.
    pub directory: PathBuf,
    /// The time that a file may be held by another program before a call fails; 1 s by default.
    pub busy_timeout: Duration,
    /// The number of threads that read each file; at least 2, of which one is kept free of reports.
    /// 2 by default.
    pub readers: usize,
    /// The clock by which limits are changed, which decides what refills are past. The clock of the
    /// machine by default; with a manual clock here, tests of refills need no waiting.
    pub clock: Arc<dyn Clock>,
}

impl SqliteOptions {
    /// The time that a call may wait beyond the busy timeout.
    pub const GRACE: Duration = Duration::from_secs(1);
    /// The time that a report, an import or a rebuild may take once it has begun.
    pub const LONG_JOB_TIMEOUT: Duration = Duration::from_secs(15 * 60);

    /// Returns the options of a store in this directory, with defaults for all else.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            busy_timeout: Duration::from_secs(1),
            readers: 2,
            clock: Arc::new(SystemClock),
        }
    }

    fn file(&self, name: &str, schema: &'static Schema) -> DatabaseFile {
        DatabaseFile {
            path: self.directory.join(name),
            schema,
            busy_timeout: self.busy_timeout,
            clock: Arc::clone(&self.clock),
        }
    }

    fn timeouts(&self) -> Timeouts {
        Timeouts {
            short: self.busy_timeout + Self::GRACE,
            long: Self::LONG_JOB_TIMEOUT,
        }
    }
}

impl fmt::Debug for SqliteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOptions")
            .field("directory", &self.directory)
            .field("busy_timeout", &self.busy_timeout)
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}

/// The embedded store. Its methods need a Tokio runtime with time enabled.
///
/// Dropping it serves the jobs that wait, ends its threads and moves the write-ahead logs into
/// their files.
pub struct SqliteStore {
    licenses: DbThreads<LicenseSession>,
    ledger: DbThreads<LedgerSession>,
    nodes: node::Nodes,
    used: UsedLicenses,
    /// Held while a balance is changed by hand, which takes both files.
    adjusting: tokio::sync::Mutex<()>,
}

impl SqliteStore {
    /// Opens the store, makes its files where there are none and brings older ones up to date.
    /// Blocks while it does.
    ///
    /// # Errors
    /// [`Error::NewerSchema`]; [`Error::Corrupt`] for files that are not Tallygate's;
    /// [`Error::Unavailable`] if a file cannot be reached or stays locked.
    pub fn open(options: SqliteOptions) -> Result<Self, Error> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&options.directory)
            .map_err(|error| {
                Error::Unavailable(format!(
                    "{}: {}",
                    options.directory.display(),
                    in_words(&error)
                ))
            })?;
        let licenses = options.file("licenses.db", &LICENSES);
        let ledger = options.file("ledger.db", &LEDGER);
        licenses.create()?;
        ledger.create()?;
        let timeouts = options.timeouts();
        Ok(Self {
            licenses: DbThreads::spawn(
                db_threads::ThreadOptions {
                    writer: "store-licenses",
                    reader: "store-read",
                    readers: options.readers,
                    timeouts,
                    path: licenses.path.clone(),
                },
                |access| LicenseSession::opener(licenses.clone(), access),
            )?,
            ledger: DbThreads::spawn(
                db_threads::ThreadOptions {
                    writer: "ledger-store",
                    reader: "ledger-read",
                    readers: options.readers,
                    timeouts,
                    path: ledger.path.clone(),
                },
                |access| LedgerSession::opener(ledger.clone(), licenses.clone(), access),
            )?,
            nodes: node::Nodes::default(),
            used: UsedLicenses::default(),
            adjusting: tokio::sync::Mutex::default(),
        })
    }
}

/// Returns the plans and apps that licenses of the store in a folder name, without opening the
/// store: a gate may be at work on it, and nothing is made or changed. `None`: there is no store
/// yet.
///
/// # Errors
/// As [`SqliteStore::open`], for a store that this version cannot read too.
pub fn named_in(directory: &Path, at: Timestamp) -> Result<Option<Named>, Error> {
    let options = SqliteOptions::new(directory);
    let licenses = options.file("licenses.db", &LICENSES);
    let ledger = options.file("ledger.db", &LEDGER);
    if ledger.path.exists() {
        ledger.look()?;
    }
    if !licenses.path.exists() {
        return Ok(None);
    }
    let connection = licenses.look()?;
    let conn = SqliteConn::new(connection, Arc::new(SystemClock));
    let named = at_once(named(&conn, at))
        .map_err(|backend_error: BackendError| backend_error.classify(&licenses.path).error)?;
    Ok(Some(named))
}

impl Backend for SqliteStore {
    type Conn = SqliteConn;

    async fn carry_out<T: Send + 'static>(
        &self,
        part: Part,
        kind: Kind,
        job: Box<dyn Job<T, SqliteConn>>,
    ) -> Result<T, Error> {
        match part {
            Part::Licenses => self.licenses.carry_out(kind, job).await,
            Part::Ledger => self.ledger.carry_out(kind, job).await,
        }
    }

    async fn parts_up(&self) -> Vec<(&'static str, bool)> {
        // An empty transaction takes the lock that every write takes, and writes nothing.
        let licenses = self.licenses.write(|_| Ok(()));
        let ledger = self.ledger.write(|_| Ok(()));
        let (licenses, ledger) = (licenses.await.is_ok(), ledger.await.is_ok());
        vec![("licenses", licenses), ("ledger", ledger)]
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

/// A connection to `licenses.db`.
struct LicenseSession {
    file: OpenFile,
}

impl LicenseSession {
    fn opener(file: DatabaseFile, access: Access) -> Opener<Self> {
        Box::new(move || {
            Ok(Self {
                file: file.open(access)?,
            })
        })
    }
}

impl DbSession for LicenseSession {
    fn file(&mut self) -> &mut OpenFile {
        &mut self.file
    }
}

/// A connection to `ledger.db`, with a reading one to the licenses.
struct LedgerSession {
    file: OpenFile,
    terms: TermsSource,
    dictionary: Dictionary,
}

impl LedgerSession {
    fn opener(file: DatabaseFile, licenses: DatabaseFile, access: Access) -> Opener<Self> {
        Box::new(move || {
            Ok(Self {
                file: file.open(access)?,
                terms: TermsSource::new(licenses.clone()),
                dictionary: Dictionary::default(),
            })
        })
    }

    fn connection(&self) -> ReentrantMutexGuard<'_, Connection> {
        self.file.connection.raw()
    }
}

impl DbSession for LedgerSession {
    fn file(&mut self) -> &mut OpenFile {
        &mut self.file
    }

    fn undone(&mut self) {
        self.dictionary.forget();
    }
}
