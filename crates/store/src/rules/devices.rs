//! The rule by which a license takes a device in.

use model::DeviceId;

use crate::licenses::StoredLicense;

/// The slot that a device finds at a license.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// It needs none: it is bound already, or devices are not counted.
    NotNeeded,
    /// It can take one.
    Free,
    /// All are taken by others.
    None,
}

/// Returns the slot that a device finds. Devices that were bound before there were fewer slots keep
/// theirs.
pub(crate) fn slot_for(stored: &StoredLicense, device: &DeviceId) -> Slot {
    let Some(limit) = stored.license.spec.device_limit() else {
        return Slot::NotNeeded;
    };
    let bound = &stored.devices;
    if bound.iter().any(|bound| bound.id == *device) {
        Slot::NotNeeded
    } else if bound.len() < usize::from(limit) {
        Slot::Free
    } else {
        Slot::None
    }
}
