//! The operations in the name of an actor. Their changes are in the audit log, in one transaction
//! with the change.

use std::ops::Deref;
use std::sync::Arc;

use model::{Actor, AuditEntry, License, Timestamp};
use serde_json::{Value, json};
use store::{AuditEntries, Changed, StoredLicense};

use crate::licensing::Licensing;

/// The operations of [`Licensing`] in the name of an actor. Every operation that changes something
/// is one of this type, and leaves a line in the audit log, which says who, from where, what,
/// before and after. If the line cannot be written, the change is undone.
#[derive(Clone, Debug)]
pub struct AuditedLicensing {
    licensing: Arc<Licensing>,
    actor: Actor,
}

/// A writer of lines of an actor at a time. It borrows nothing, so that a store can keep it for as
/// long as it wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AuditWriter {
    actor: Actor,
    at: Timestamp,
}

impl Licensing {
    /// Returns the operations in the name of this actor.
    #[must_use]
    pub fn acting(self: &Arc<Self>, actor: Actor) -> AuditedLicensing {
        AuditedLicensing {
            licensing: self.clone(),
            actor,
        }
    }

    pub(crate) fn audit_writer(&self, actor: Actor) -> AuditWriter {
        AuditWriter {
            actor,
            at: self.clock.now(),
        }
    }
}

impl Deref for AuditedLicensing {
    type Target = Licensing;

    fn deref(&self) -> &Licensing {
        &self.licensing
    }
}

impl AuditedLicensing {
    /// Returns the operations that need no actor.
    #[must_use]
    pub const fn licensing(&self) -> &Arc<Licensing> {
        &self.licensing
    }

    /// Returns the actor.
    #[must_use]
    pub const fn actor(&self) -> Actor {
        self.actor
    }

    pub(crate) fn own_audit_writer(&self) -> AuditWriter {
        self.licensing.audit_writer(self.actor)
    }

    /// Returns the audit entries of a change of a license; none if it changed nothing.
    pub(super) fn of_license(&self, action: &'static str) -> AuditEntries<Changed<StoredLicense>> {
        let audit_writer = self.own_audit_writer();
        AuditEntries::from_result(move |changed: &Changed<StoredLicense>| {
            let (before, after) = (&changed.before.license, &changed.after.license);
            let line = || {
                let line = audit_writer.line(action, before.id).of(&before.account);
                line.between(Some(&shown(before)), Some(&shown(after)))
            };
            (before != after).then(line).into_iter().collect()
        })
    }
}

impl AuditWriter {
    /// Makes a line.
    pub(crate) fn line(self, action: &str, subject: impl std::fmt::Display) -> AuditEntry {
        AuditEntry::new(&self.actor, self.at, action, subject)
    }
}

/// Returns a license as the log shows it: without the name of its user, so that a person can be
/// forgotten.
pub(crate) fn shown(license: &License) -> Value {
    let mut value = serde_json::to_value(license).unwrap_or(Value::Null);
    if let Some(user) = value.get_mut("user")
        && !user.is_null()
    {
        *user = json!("not shown");
    }
    value
}
