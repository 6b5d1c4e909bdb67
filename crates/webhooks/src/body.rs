//! The bodies of deliveries, in the form of each protocol.

use model::{Event, EventType, LicenseStatus, WebhookForm};
use serde_json::{Map, Value, json};

/// The facts about an event's license that no event holds, for the forms that tell them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The key of the license, or its visible beginning where no copy of the key is kept.
    pub license_key: Option<String>,
    /// The id of the app for the software that is sold with it.
    pub app_id: Option<String>,
}

impl std::fmt::Debug for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            license_key: _,
            app_id,
        } = self;
        f.debug_struct("Facts")
            .field("app_id", app_id)
            .finish_non_exhaustive()
    }
}

/// Returns the body of an event in a form; `None`: it is not told in that form.
pub(crate) fn body_of(event: &Event, form: WebhookForm, facts: &Facts) -> Option<Vec<u8>> {
    let name = form.name_of(event.kind)?;
    let body = match form {
        WebhookForm::Native => json!({"type": name, "timestamp": event.at, "data": data(event)}),
        WebhookForm::Apimw => json!({"event": name, "timestamp": event.at, "data": data(event)}),
        WebhookForm::Authforge => {
            let data = json!({
                "licenseKey": facts.license_key,
                "appId": facts.app_id,
                "status": authforge_status(event),
                "hwid": event.data.get("device"),
            });
            json!({"event": name, "timestamp": event.at, "data": data})
        }
    };
    Some(body.to_string().into_bytes())
}

/// Returns the facts of an event together with what it concerns.
fn data(event: &Event) -> Map<String, Value> {
    let mut data = event.data.clone();
    if !event.app.is_every() {
        data.entry("app").or_insert_with(|| json!(event.app));
    }
    if let Some(id) = event.license_id {
        data.insert("license_id".to_owned(), json!(id));
    }
    data
}

/// Returns the status of an event's license in the words of AuthForge, which has two.
fn authforge_status(event: &Event) -> Option<&'static str> {
    let status = event.data.get("status");
    // A license that was validated was active then.
    let is_active = match (status, event.kind) {
        (Some(status), _) => *status == json!(LicenseStatus::Active),
        (None, EventType::LicenseValidated) => true,
        (None, _) => return None,
    };
    Some(if is_active { "active" } else { "revoked" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{AccountName, EventId, LicenseId, Timestamp};

    fn event(kind: EventType) -> Event {
        let data = json!({"status": "disabled", "device": "A"});
        Event {
            id: EventId::from_u128(1),
            kind,
            at: Timestamp::from_micros(0),
            account: AccountName::default(),
            app: "game".parse().expect("a name"),
            license_id: Some(LicenseId::from_u128(2)),
            data: data.as_object().expect("an object").clone(),
        }
    }

    fn told(kind: EventType, form: WebhookForm) -> Option<Value> {
        let facts = Facts {
            license_key: Some("A3K9-BFWX-7NP2-QHDT".to_owned()),
            app_id: Some("app_1".to_owned()),
        };
        let body = body_of(&event(kind), form, &facts)?;
        Some(serde_json::from_slice(&body).expect("JSON"))
    }

    #[test]
    fn each_form_tells_the_same_event_in_its_own_words() {
        let id = LicenseId::from_u128(2).to_string();
        assert_eq!(
            told(EventType::LicenseDisabled, WebhookForm::Native),
            Some(json!({
                "type": "license.disabled", "timestamp": "1970-01-01T00:00:00Z",
                "data": {"app": "game", "license_id": id, "status": "disabled", "device": "A"},
            }))
        );
        let apimw = told(EventType::LicenseDisabled, WebhookForm::Apimw).expect("told");
        assert_eq!(apimw["event"], "license.disabled");
        assert_eq!(
            told(EventType::LicenseDisabled, WebhookForm::Authforge),
            Some(json!({
                "event": "license.revoked", "timestamp": "1970-01-01T00:00:00Z",
                "data": {"licenseKey": "A3K9-BFWX-7NP2-QHDT", "appId": "app_1", "status": "revoked", "hwid": "A"},
            }))
        );
    }

    #[test]
    fn a_validation_is_told_with_the_status_that_it_found_and_its_device() {
        let mut validated = event(EventType::LicenseValidated);
        validated.data.remove("status");
        let told = body_of(&validated, WebhookForm::Authforge, &Facts::default());
        let told: Value = serde_json::from_slice(&told.expect("told")).expect("JSON");
        assert_eq!(told["data"]["status"], "active");
        assert_eq!(told["data"]["hwid"], "A");
    }

    #[test]
    fn authforge_hears_of_its_seven_events_and_of_tests() {
        let form = WebhookForm::Authforge;
        let names: Vec<_> = form.told().map(|(_, name)| name).collect();
        assert_eq!(
            names,
            [
                "license.created",
                "license.revoked",
                "license.activated",
                "license.deleted",
                "license.hwid_bound",
                "license.hwid_reset",
                "license.validated"
            ]
        );
        assert_eq!(told(EventType::QuotaLow, form), None);
        let test = told(EventType::Test, form).expect("told");
        assert_eq!(test["event"], "test.ping");
        assert_eq!(WebhookForm::Native.told().count(), EventType::ALL.len() - 1);
    }
}
