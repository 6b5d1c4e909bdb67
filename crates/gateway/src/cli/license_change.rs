//! `tallygate license change`: new values for what was said when a license was made.

use clap::builder::PossibleValuesParser;
use clap::{ArgAction, Args, Command};
use model::{LicenseId, LicenseUpdate};
use serde_json::Value;

use super::arguments::JsonArgument;
use crate::cli::Error;

/// Arguments of `license change`.
#[derive(Debug, Args)]
pub(crate) struct ChangeArguments {
    /// The license
    pub(super) id: LicenseId,
    #[command(flatten)]
    update: LicenseUpdate,
    /// Take a value away: what the plan says, or no limit; may be repeated
    #[arg(long, value_name = "FIELD", group = "change", value_parser = fields())]
    clear: Vec<String>,
    #[command(flatten)]
    pub(super) json: JsonArgument,
}

impl ChangeArguments {
    /// Returns the request.
    ///
    /// # Errors
    /// A field is set and taken away at once: which of the two is meant is not ours to say.
    pub(super) fn request(self) -> Result<LicenseUpdate, Error> {
        let unreadable = |error: serde_json::Error| Error::Usage(error.to_string());
        let mut request = serde_json::to_value(self.update).map_err(unreadable)?;
        for flag in arguments().get_arguments() {
            let name = flag.get_long().unwrap_or_default();
            if !self.clear.iter().any(|cleared| cleared == name) {
                continue;
            }
            let field = &mut request[flag.get_id().as_str()];
            if !field.is_null() {
                return Err(Error::Usage(format!(
                    "--{name} and --clear {name} are both there: give one of the two"
                )));
            }
            *field = match (flag.get_id().as_str(), flag.get_action()) {
                // Those of a license are an object, all of which `null` takes away.
                ("variables", _) => Value::Null,
                (_, ArgAction::Append) => Value::Array(Vec::new()),
                _ => Value::Null,
            };
        }
        serde_json::from_value(request).map_err(unreadable)
    }
}

/// Returns the arguments that set fields of a license.
fn arguments() -> Command {
    LicenseUpdate::augment_args(Command::new("change"))
}

/// Reads the name of a field that can be taken away: of each that can be set.
fn fields() -> PossibleValuesParser {
    let arguments = arguments();
    let names = arguments.get_arguments().filter_map(clap::Arg::get_long);
    PossibleValuesParser::new(names.map(str::to_owned).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: ChangeArguments,
    }

    fn request(arguments: &[&str]) -> Option<LicenseUpdate> {
        let id = LicenseId::generate().to_string();
        let words = ["change", &id].into_iter().chain(arguments.iter().copied());
        let parsed = Command::try_parse_from(words).ok()?;
        parsed.arguments.request().ok()
    }

    #[test]
    fn only_what_is_named_is_changed() {
        let change = request(&["--label", "new", "--clear", "plan", "--clear", "allow-ip"]);
        let expected = LicenseUpdate {
            plan: Some(None),
            label: Some(Some("new".to_owned())),
            allow_ips: Some(Vec::new()),
            ..LicenseUpdate::default()
        };
        assert_eq!(change, Some(expected));
        for (flag, cleared) in [
            ("device-slots", r#"{"device_slots":null}"#),
            ("unlimited-devices", r#"{"unlimited_devices":null}"#),
            ("variable", r#"{"variables":null}"#),
        ] {
            let change = serde_json::from_str::<LicenseUpdate>(cleared).expect("valid");
            assert_eq!(request(&["--clear", flag]), Some(change), "{flag}");
        }
        let named = request(&["--variable", "seats=5", "--variable", "tier=pro"]).expect("valid");
        let variables = named.variables.expect("given").to_string();
        assert_eq!(variables, r#"{"seats":5,"tier":"pro"}"#);
        for (flag, said) in [
            ("--unlimited-devices", true),
            ("--unlimited-devices=false", false),
        ] {
            let change = request(&[flag]).expect("valid");
            assert_eq!(change.unlimited_devices, Some(said), "{flag}");
        }
        let lists = request(&["--rate-limit", "5/1s", "--rate-limit", "9/1h"]).expect("valid");
        assert_eq!(lists.rate_limits.map_or(0, |limits| limits.len()), 2);
        assert_eq!(request(&[]), None, "nothing to change");
        assert_eq!(request(&["--clear", "id"]), None);
        for both in [
            ["--plan", "pro", "--clear", "plan"],
            ["--rate-limit", "5/1s", "--clear", "rate-limit"],
            ["--remaining", "5", "--clear", "remaining"],
            ["--variable", "a=1", "--clear", "variable"],
        ] {
            assert_eq!(request(&both), None, "{both:?}");
        }
    }
}
