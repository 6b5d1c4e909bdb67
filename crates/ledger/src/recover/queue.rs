//! The queue of dead instances whose records the store still lacks.

use std::collections::VecDeque;

use super::instance::InstanceRecovery;

/// The instances that are still to be shipped, oldest first.
pub(crate) type RecoveryQueue = VecDeque<InstanceRecovery>;
