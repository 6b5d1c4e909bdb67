//! The protocol of AuthForge: software validates the licenses that it is sold with, and sellers
//! manage them.
//!
//! `docs/protocols/authforge.md` decides what the sources leave open.

mod credits;
mod developer;
mod forms;
mod names;
mod public;

pub(crate) use developer::Developer;
pub(crate) use public::Public;
