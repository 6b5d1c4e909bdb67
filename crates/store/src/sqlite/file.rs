//! A database file: opening it, bringing its schema up to date, noticing that it was taken away.

use std::fs;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::Clock;
use model::system::in_words;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::backend_error::classify;
use super::conn::SqliteConn;
use crate::error::Error;

/// The schema of a file.
#[derive(Debug)]
pub(super) struct Schema {
    /// The name, for people.
    pub(super) name: &'static str,
    /// The `application_id` of SQLite, so that one file is never taken for the other.
    pub(super) application: i32,
    /// The migrations, numbered from 1: a file of version `n` has seen the first `n`.
    pub(super) migrations: &'static [&'static str],
}

/// The schema of licenses and the objects that belong to them.
pub(super) const LICENSES: Schema = Schema {
    name: "license",
    application: 0x5447_4C31,
    migrations: &[
        include_str!("schema/licenses_1.sql"),
        include_str!("schema/licenses_2.sql"),
        include_str!("schema/licenses_3_claims.sql"),
        include_str!("schema/licenses_4_sessions.sql"),
        include_str!("schema/licenses_5_api_keys.sql"),
        include_str!("schema/licenses_6_change_times.sql"),
        include_str!("schema/licenses_7_audit.sql"),
        include_str!("schema/licenses_8_accounts.sql"),
        include_str!("schema/licenses_9_sealed_keys.sql"),
        include_str!("schema/licenses_10_webhooks.sql"),
        include_str!("schema/licenses_11_software.sql"),
        include_str!("schema/licenses_12_credits.sql"),
        include_str!("schema/licenses_13_agents.sql"),
        include_str!("schema/licenses_14_turns.sql"),
    ],
};

/// The schema of balances, rollups and the manifest.
pub(super) const LEDGER: Schema = Schema {
    name: "ledger",
    application: 0x5447_5231,
    migrations: &[
        include_str!("schema/ledger_1.sql"),
        include_str!("schema/ledger_2_tokens.sql"),
        include_str!("schema/ledger_3_token_lists.sql"),
        include_str!("schema/ledger_4_lease_rounds.sql"),
        include_str!("schema/ledger_5_standstill.sql"),
        include_str!("schema/ledger_6_quarters.sql"),
        include_str!("schema/ledger_7_instance_numbers.sql"),
        include_str!("schema/ledger_8_events.sql"),
        include_str!("schema/ledger_9_credits.sql"),
        include_str!("schema/ledger_10_quota_grants.sql"),
        include_str!("schema/ledger_11_upstreams.sql"),
    ],
};

/// The place of a database and the way to open it.
#[derive(Clone)]
pub(super) struct DatabaseFile {
    /// The path of the file.
    pub(super) path: PathBuf,
    /// The schema.
    pub(super) schema: &'static Schema,
    /// The time that another program may hold the file before we give up.
    pub(super) busy_timeout: Duration,
    /// The clock of the work that is done on it.
    pub(super) clock: Arc<dyn Clock>,
}

/// An open connection and the file it was opened on.
pub(super) struct OpenFile {
    /// The connection.
    pub(super) connection: SqliteConn,
    path: PathBuf,
    identity: Identity,
    checked: Instant,
}

/// The device and inode of a file.
type Identity = (u64, u64);

/// The meaning of a database without anything in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Empty {
    /// It is new, and is to be filled.
    IsNew,
    /// It lost its contents.
    IsLost,
}

/// The use of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// The connection of the one writer.
    Write,
    /// A connection for queries only.
    Read,
}

impl DatabaseFile {
    /// Makes the file if there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// [`Error::NewerSchema`], [`Error::Corrupt`] for a file that is no database of Tallygate,
    /// [`Error::Unavailable`].
    pub(super) fn create(&self) -> Result<(), Error> {
        let unavailable =
            |error| Error::Unavailable(format!("{}: {}", self.path.display(), in_words(&error)));
        // The file is made here so that nobody else may read it; SQLite gives its companions the
        // same mode.
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)
            .map_err(unavailable)?;
        let directory = self.path.parent().unwrap_or(Path::new("."));
        fs::File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(unavailable)?;
        self.prepare(Access::Write, Empty::IsNew).map(drop)
    }

    /// Opens the file, which must be there: a store that was taken away is never replaced by an
    /// empty one.
    ///
    /// # Errors
    /// As [`DatabaseFile::create`].
    pub(super) fn open(&self, access: Access) -> Result<OpenFile, Error> {
        self.prepare(access, Empty::IsLost)
    }

    fn prepare(&self, access: Access, empty: Empty) -> Result<OpenFile, Error> {
        let identity = identity(&self.path).ok_or_else(|| self.gone())?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection =
            Connection::open_with_flags(&self.path, flags).map_err(|error| self.explain(&error))?;
        connection
            .busy_timeout(self.busy_timeout)
            .map_err(|error| self.explain(&error))?;
        self.check(&connection, empty)?;
        self.configure(&connection, access)?;
        self.migrate(&mut connection)?;
        if access == Access::Read {
            connection
                .pragma_update(None, "query_only", true)
                .map_err(|error| self.explain(&error))?;
        }
        connection.set_prepared_statement_cache_capacity(64);
        if self::identity(&self.path) != Some(identity) {
            return Err(self.gone());
        }
        Ok(OpenFile {
            connection: SqliteConn::new(connection, Arc::clone(&self.clock)),
            path: self.path.clone(),
            identity,
            checked: Instant::now(),
        })
    }

    /// Opens a connection that only reads: nothing is made, changed or brought up to date.
    ///
    /// # Errors
    /// As [`DatabaseFile::create`].
    pub(super) fn look(&self) -> Result<Connection, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(&self.path, flags).map_err(|error| self.explain(&error))?;
        connection
            .busy_timeout(self.busy_timeout)
            .map_err(|error| self.explain(&error))?;
        self.check(&connection, Empty::IsNew)?;
        Ok(connection)
    }

    fn explain(&self, error: &rusqlite::Error) -> Error {
        classify(&self.path, error).error
    }

    fn gone(&self) -> Error {
        Error::Unavailable(format!(
            "{} is gone: put it back, or stop and start with a new store",
            self.path.display()
        ))
    }

    /// Refuses a file that a newer version or another program made, before anything is written.
    fn check(&self, connection: &Connection, empty: Empty) -> Result<(), Error> {
        let (application, version) = stamps(connection).map_err(|error| self.explain(&error))?;
        let known = self.schema.migrations.len() as u32;
        let is_empty = application == 0 && version == 0;
        if is_empty && empty == Empty::IsLost {
            return Err(Error::Corrupt(format!(
                "{} was emptied: put it back, or stop and start with a new store",
                self.path.display()
            )));
        }
        if application != self.schema.application && !is_empty {
            return Err(Error::Corrupt(format!(
                "{} is not a {} database of tallygate",
                self.path.display(),
                self.schema.name
            )));
        }
        if version > known {
            return Err(Error::NewerSchema {
                path: self.path.display().to_string(),
                found: version,
                known,
            });
        }
        Ok(())
    }

    fn configure(&self, connection: &Connection, access: Access) -> Result<(), Error> {
        // Without it SQLite compiles a statement again for each new value that might change its
        // plan: the look-up of a license by key, each time. Our plans depend on no value.
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
            .map_err(|error| self.explain(&error))?;
        self.enter_wal(connection)?;
        let cache = match access {
            Access::Write => -32_768,
            Access::Read => -8_192,
        };
        let pragmas = || {
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "cache_size", cache)?;
            connection.pragma_update(None, "temp_store", "MEMORY")?;
            // Pages of 4 KiB. Each move of the log into the file waits for the disk: with SQLite's
            // own 1,000 pages, thousands of small writes a second did so a dozen times a second.
            connection.pragma_update(None, "wal_autocheckpoint", 8_000)?;
            connection.pragma_update(None, "journal_size_limit", 64 << 20)
        };
        pragmas().map_err(|error| self.explain(&error))
    }

    /// Switches to write-ahead logging. SQLite answers "busy" at once when two connections change
    /// the journal mode of a new file, so this waits itself.
    fn enter_wal(&self, connection: &Connection) -> Result<(), Error> {
        let deadline = Instant::now() + self.busy_timeout;
        loop {
            let mode = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| {
                row.get::<_, String>(0)
            });
            match mode {
                Ok(mode) if mode == "wal" => return Ok(()),
                Ok(mode) => {
                    return Err(Error::Unavailable(format!(
                        "{}: this file system gives no write-ahead log (journal mode {mode})",
                        self.path.display()
                    )));
                }
                Err(error) => {
                    let found = classify(&self.path, &error);
                    if found.reopen || Instant::now() >= deadline {
                        return Err(found.error);
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }

    /// Applies the migrations that are missing. Each is one transaction that reads the version
    /// again, so that several processes may open a store at once.
    fn migrate(&self, connection: &mut Connection) -> Result<(), Error> {
        loop {
            let version = version(connection).map_err(|error| self.explain(&error))?;
            if self.schema.migrations.get(version).is_none() {
                return Ok(());
            }
            self.migrate_once(connection)
                .map_err(|error| self.explain(&error))?;
        }
    }

    fn migrate_once(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
        let version = version(&transaction)?;
        if let Some(migration) = self.schema.migrations.get(version) {
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "application_id", self.schema.application)?;
            transaction.pragma_update(None, "user_version", (version + 1) as i64)?;
        }
        transaction.commit()
    }
}

impl OpenFile {
    /// The time between two looks of a reader for its file.
    const CHECK_INTERVAL: Duration = Duration::from_secs(1);

    /// Returns the path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the path still leads to the file that was opened.
    pub(super) fn is_current(&mut self) -> bool {
        self.checked = Instant::now();
        identity(&self.path) == Some(self.identity)
    }

    /// Returns the same as [`OpenFile::is_current`], looked up once a second at most.
    pub(super) fn was_current_lately(&mut self) -> bool {
        self.checked.elapsed() < Self::CHECK_INTERVAL || self.is_current()
    }
}

/// Returns application id and schema version as of one moment: another process may be making the
/// database just now.
fn stamps(connection: &Connection) -> rusqlite::Result<(i32, u32)> {
    let snapshot = connection.unchecked_transaction()?;
    let read = |pragma| snapshot.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let version = read("user_version")?;
    Ok((
        read("application_id")?,
        u32::try_from(version).unwrap_or(u32::MAX),
    ))
}

fn version(connection: &Connection) -> rusqlite::Result<usize> {
    connection.pragma_query_value(None, "user_version", |row| {
        row.get::<_, u32>(0).map(|version| version as usize)
    })
}

fn identity(path: &Path) -> Option<Identity> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_statement_is_compiled_once_for_all_values() {
        let directory = tempfile::TempDir::new().expect("a directory");
        let file = DatabaseFile {
            path: directory.path().join("test.db"),
            schema: &LICENSES,
            busy_timeout: Duration::from_secs(10),
            clock: Arc::new(model::SystemClock),
        };
        file.create().expect("made");
        let opened = file.open(Access::Read).expect("opened");
        let connection = opened.connection.raw();
        let text = "SELECT l.id, c.id FROM licenses l
            LEFT JOIN credentials c ON c.license_id = l.id AND c.session_id IS NULL
            WHERE l.id = ?1 ORDER BY c.created_at, c.cursor";
        for value in 0..5_u8 {
            let mut statement = connection.prepare_cached(text).expect("valid");
            assert!(!statement.exists([[value; 16]]).expect("runs"));
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
        }
    }
}
