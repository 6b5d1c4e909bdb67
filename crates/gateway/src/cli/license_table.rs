//! Licenses as the command line shows them: one as a table of fields, many as a list.

use api_types::License;
use model::LicenseStatus;

use super::units;
use crate::cli::{Column, Error, Format, Output, Table};

pub(super) fn list_table() -> Table {
    Table::new([
        Column::text("ID"),
        Column::text("APP"),
        Column::text("PLAN"),
        Column::text("USER"),
        Column::text("LABEL"),
        Column::text("STATUS"),
        Column::text("EXPIRES"),
        Column::text("KEYS"),
    ])
}

pub(super) fn list_row(license: &License) -> [String; 8] {
    let prefix = |key: &model::CredentialInfo| format!("{}…", key.prefix);
    [
        license.id.to_string(),
        license.app.to_string(),
        units::maybe(license.spec.plan.as_ref()),
        units::maybe(license.spec.user.as_ref()),
        units::maybe(license.spec.label.as_ref()),
        status(license.status).to_owned(),
        units::maybe_time(license.spec.expires_at),
        units::words(&license.credentials.iter().map(prefix).collect::<Vec<_>>()),
    ]
}

/// Shows one license; its key first, where there is one to show.
pub(super) fn show(license: &License, format: Format, output: &mut Output) -> Result<(), Error> {
    Ok(output.shown_once(
        format,
        license,
        || license_table(license),
        license.key.is_some(),
    )?)
}

fn license_table(license: &License) -> Table {
    let mut table = Table::of_fields("LICENSE");
    let mut field = |name: &str, value: String| table.field(name, value);
    field("id", license.id.to_string());
    field("key", units::maybe(license.key.as_ref()));
    field("app", license.app.to_string());
    field("account", license.account.to_string());
    field("plan", units::maybe(license.spec.plan.as_ref()));
    field("user", units::maybe(license.spec.user.as_ref()));
    field("label", units::maybe(license.spec.label.as_ref()));
    field("status", status(license.status).to_owned());
    field("created", units::time(license.created_at));
    field("expires", units::maybe_time(license.spec.expires_at));
    field(
        "rate limits",
        units::words(&license.spec.limits.rate_limits),
    );
    field("concurrency", units::maybe(license.spec.limits.concurrency));
    field("permissions", units::words(&license.spec.permissions));
    field("addresses", units::words(&license.spec.allow_ips));
    field("refill", units::maybe(license.spec.limits.refill));
    field("device slots", device_slots(license));
    field("variables", variables(license));
    if let Some(whose) = &license.spec.agent {
        let agent = whose.agent.as_ref().map(|agent| format!("/{agent}"));
        field(
            "agent",
            format!("{}{}", whose.operator, agent.unwrap_or_default()),
        );
        field("payer", units::maybe(whose.payer));
    }
    match &license.balance {
        Some(balance) => {
            field("units left", units::count(balance.remaining));
            field("units granted", units::count(balance.granted));
            field("units taken", units::count(balance.taken));
            field("next refill", units::maybe_time(balance.next_refill_at));
        }
        None => field(
            "units",
            license
                .spec
                .limits
                .remaining
                .map(units::count)
                .unwrap_or_default(),
        ),
    }
    for device in &license.devices {
        let bound = units::time(device.bound_at);
        field("device", format!("{}, bound {bound}", device.id));
    }
    for key in &license.credentials {
        let end = key
            .expires_at
            .map(|end| format!(", ends {}", units::time(end)));
        let state = match key.status {
            model::CredentialStatus::Active => "active",
            model::CredentialStatus::Revoked => "revoked",
        };
        let end = end.unwrap_or_default();
        field(
            "credential",
            format!("{} {}… {state}{end}", key.id, key.prefix),
        );
    }
    table
}

/// Returns how many devices may be bound at once.
fn device_slots(license: &License) -> String {
    let slots = units::maybe(license.spec.device_slots);
    match license.spec.unlimited_devices {
        true => format!("{slots} (unlimited)").trim_start().to_owned(),
        false => slots,
    }
}

fn variables(license: &License) -> String {
    let variables = &license.spec.variables;
    match variables.is_empty() {
        true => String::new(),
        false => variables.to_string(),
    }
}

const fn status(status: LicenseStatus) -> &'static str {
    match status {
        LicenseStatus::Active => "active",
        LicenseStatus::Disabled => "disabled",
        LicenseStatus::Revoked => "revoked",
    }
}

#[cfg(test)]
mod tests {
    use model::LicenseId;

    use super::*;

    #[test]
    fn a_key_is_shown_only_when_it_is_new() {
        let license: License = serde_json::from_value(serde_json::json!({
            "id": LicenseId::from_u128(1), "account": "default", "app": "api", "plan": null, "user": "Zoë",
            "label": null, "status": "active", "created_at": "2026-01-01T00:00:00Z", "expires_at": null,
            "remaining": 1000, "refill": null, "rate_limits": ["10/1m"], "concurrency": null,
            "permissions": [], "allow_ips": [], "credentials": [],
        }))
        .expect("a license");
        let text = license_table(&license).lines().join("\n");
        assert!(
            text.contains("units        1,000") && !text.contains("key "),
            "{text}"
        );
        let fresh = License {
            key: Some("tg_secret".to_owned()),
            ..license
        };
        assert!(
            license_table(&fresh)
                .lines()
                .join("\n")
                .contains("tg_secret")
        );
    }
}
