//! Recovery: what dead processes left in their journals comes into the books, once.
//!
//! | module | idea |
//! |---|---|
//! | `acknowledged` | what the store said it had, by which an older copy of it is known |
//! | `survey` | what is there, and what of it is still to be done |
//! | `instance` | one dead instance on its way into the books, part by part |
//! | `marks` | calls that may have been forwarded and have no head |
//! | `backlog` | the answer of a survey, and all of it done at once |
//! | `catch_up` | the same beside the calls of a gate that serves |
//!
//! Everything here can be done again: numbers, ranges and names depend on the journal alone, and the store moves a position
//! only from where it is. So a crash anywhere in it, and a second one in the recovery from that, cost nothing but time.

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
