//! Recovery: the records in the journals of dead processes are rolled up and sealed, each once.
//!
//! | module | idea |
//! |---|---|
//! | `acknowledged` | the positions that the store acknowledged, by which an older copy of it is known |
//! | `survey` | the journals that are there, and what of them the store lacks |
//! | `instance` | the recovery of one dead instance, step by step |
//! | `queue` | the instances that are still to be recovered |
//! | `marks` | calls that may have been forwarded and have no head |
//! | `backlog` | the result of a survey, and its recovery all at once |
//! | `catch_up` | the recovery beside the calls of a gate that serves |
//!
//! Every step can be repeated: numbers, ranges and names depend on the journal alone, and the store
//! moves a position only from where it is. So a crash anywhere in it, and a second one in the
//! recovery from that, cost only time.

mod acknowledged;
mod backlog;
mod catch_up;
mod instance;
mod marks;
mod queue;
mod survey;

pub(crate) use acknowledged::write as write_acknowledged;
pub(crate) use backlog::ship_path;
pub use backlog::{Backlog, Recovery, recover, ship};
pub(crate) use catch_up::{CatchUp, catch_up_thread};
pub(crate) use instance::{InstanceRecovery, instance_state};
pub(crate) use marks::marks_without_head;
pub(crate) use queue::RecoveryQueue;
