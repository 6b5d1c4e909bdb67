//! The rules for answers whose units cannot be read.

/// The cost of a call whose answer names units that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnitsUnreadable {
    /// The units of its route.
    #[default]
    Units,
    /// The most that an answer of its route may name.
    Max,
    /// The units of its route, not billed.
    Unbilled,
}
