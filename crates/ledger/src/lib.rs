//! The ledger: from the journal's records to rollups, sealed files and answers.
//!
//! | module | idea |
//! |---|---|
//! | `context` | the store, directory and names that all parts share, and the lanes that they read |
//! | `closed`, `row`, `prices` | a lane's entries joined into priced rows |
//! | `roll`, `rollup` | rows summed up into the store, with their position |
//! | `told`, `wanted` | the events of rows, for webhooks that want them |
//! | `seal`, `file`, `fetch` | rows sealed into Parquet files, chained by hash, and fetched to be read |
//! | `ledger`, `threads` | the running ledger of this process |
//! | `freeze` | all other gates sealed and stopped while one takes stock |
//! | `present` | the records that were closed when a question was asked |
//! | `recover` | the records of dead processes, recovered at once or beside the calls |
//! | `calls`, `line`, `usage`, `export` | answers |
//! | `follow` | each closed call once, for a client that comes back with a cursor |
//! | `verify`, `report`, `rebuild`, `retention` | checking, mending and pruning |

#![forbid(unsafe_code)]

mod calls;
mod closed;
mod context;
mod error;
mod export;
mod fetch;
mod file;
mod follow;
mod freeze;
mod ledger;
mod line;
mod names;
mod options;
mod present;
mod prices;
mod rebuild;
mod recover;
mod report;
mod retention;
mod roll;
mod rollup;
mod row;
mod seal;
mod stats;
mod threads;
mod told;
mod unique;
mod usage;
mod verify;
mod wanted;

pub use calls::{Calls, CallsQuery};
pub use closed::{ClosedCall, ClosedReader, Entries};
pub use error::Error;
pub use export::ExportFormat;
pub use file::{FORMAT, FileMeta, Filter, SealedReader};
pub use follow::{FollowCursor, Followed, ParseCursorError};
pub use ledger::{Ended, Ledger};
pub use line::CallLine;
pub use names::Names;
pub use options::LedgerOptions;
pub use rebuild::Rebuilt;
pub use recover::{Backlog, Recovery, recover, ship};
pub use report::{Fault, Problem, VerifyReport};
pub use row::Row;
pub use stats::{Counts, LedgerObserver, LedgerStats, NoObserver};
pub use usage::Usage;
