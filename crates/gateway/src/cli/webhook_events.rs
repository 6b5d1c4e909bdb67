//! The words for events on the command line: those of the form in which a webhook gets them.

use api_types::Webhook;
use model::{EventType, WebhookForm};

use super::units;
use crate::cli::Error;

/// Returns the types of events that these words stand for in a form.
pub(super) fn types_of(form: WebhookForm, words: &[String]) -> Result<Vec<EventType>, Error> {
    let find = |word: &String| form.type_named(word).ok_or_else(|| no_event(form, word));
    words.iter().map(find).collect()
}

/// Returns the error for a word that no event has in a form.
fn no_event(form: WebhookForm, word: &str) -> Error {
    let elsewhere = EventType::parse(word).filter(|kind| *kind != EventType::Test);
    let reason = match elsewhere.and_then(|kind| form.name_of(kind)) {
        Some(name) => format!("--event {word}: that is `{name}` in the form {form}"),
        None => {
            let told: Vec<_> = form.told().map(|(_, name)| name).collect();
            let told = told.join(", ");
            format!("--event {word}: the form {form} has no such event, use some of {told}")
        }
    };
    Error::Usage(reason)
}

/// Returns the name of events of a type in a form, or the type where the form does not tell them.
pub(super) fn name_in(form: WebhookForm, kind: EventType) -> &'static str {
    form.name_of(kind).unwrap_or(kind.as_str())
}

/// Returns the events that a webhook gets, in the words of its form.
pub(super) fn shown(webhook: &Webhook) -> String {
    let name = |kind: &EventType| name_in(webhook.form, *kind);
    match webhook.events.is_empty() {
        true => "all".to_owned(),
        false => units::words(&webhook.events.iter().map(name).collect::<Vec<_>>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(form: WebhookForm, words: &[&str]) -> Result<Vec<EventType>, String> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        types_of(form, &words).map_err(|error| error.to_string())
    }

    #[test]
    fn events_are_named_in_the_words_of_the_form() {
        let native = types(WebhookForm::Native, &["license.revoked", "quota.low"]);
        let expected = vec![EventType::LicenseRevoked, EventType::QuotaLow];
        assert_eq!(native, Ok(expected));
        let authforge = types(
            WebhookForm::Authforge,
            &["license.revoked", "license.deleted", "license.hwid_bound"],
        );
        let expected = vec![
            EventType::LicenseDisabled,
            EventType::LicenseRevoked,
            EventType::DeviceBound,
        ];
        assert_eq!(authforge, Ok(expected));
        for (form, word, says) in [
            (
                WebhookForm::Authforge,
                "device.bound",
                "that is `license.hwid_bound`",
            ),
            (
                WebhookForm::Authforge,
                "quota.low",
                "use some of license.created, license.revoked",
            ),
            (
                WebhookForm::Native,
                "license.deleted",
                "use some of license.created",
            ),
            (WebhookForm::Native, "webhook.test", "no such event"),
        ] {
            let error = types(form, &[word]).expect_err(word);
            assert!(error.contains(says) && error.contains(word), "{error}");
        }
    }
}
