//! `tallygate license change`: new values for what was said when a license was made.

use api_types::ChangeLicense;
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use model::{LicenseId, Permission, PlanName, RateLimit, Refill, Timestamp};

use super::arguments::JsonArgument;
use super::arguments::parse_network;
use super::units;
use crate::cli::Error;

/// Arguments of `license change`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
pub(crate) struct ChangeArguments {
    /// The license
    pub(super) id: LicenseId,
    /// The plan
    #[arg(long, value_name = "NAME", group = "change")]
    plan: Option<PlanName>,
    /// A word for people
    #[arg(long, group = "change")]
    label: Option<String>,
    /// When it ends, as RFC 3339
    #[arg(long, value_name = "TIME", group = "change")]
    expires_at: Option<Timestamp>,
    /// Units left from now on
    #[arg(long, value_name = "N", value_parser = units::left, group = "change")]
    remaining: Option<u64>,
    /// Units that come back by themselves; with `,add` what is left is kept
    #[arg(long, value_name = "N/DURATION[,add]", group = "change")]
    refill: Option<Refill>,
    /// Calls in a window, in place of those before; several hold at once
    #[arg(long = "rate-limit", value_name = "N/DURATION", group = "change")]
    rate_limits: Option<Vec<RateLimit>>,
    /// Calls at once
    #[arg(long, value_name = "N", value_parser = units::whole::<u32>, group = "change")]
    concurrency: Option<u32>,
    /// Where it may call, as "METHOD /path", in place of those before; may be repeated
    #[arg(long = "permission", value_name = "METHOD /PATH", group = "change")]
    permissions: Option<Vec<Permission>>,
    /// From where it may be used, in place of those before; may be repeated
    #[arg(
        long = "allow-ip",
        value_name = "CIDR",
        value_parser = parse_network,
        group = "change"
    )]
    allow_ips: Option<Vec<IpNet>>,
    /// Take a value away: what the plan says, or no limit; may be repeated
    #[arg(long, value_name = "FIELD", group = "change")]
    clear: Vec<Field>,
    #[command(flatten)]
    pub(super) json: JsonArgument,
}

/// What can be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Field {
    Plan,
    Label,
    ExpiresAt,
    Remaining,
    Refill,
    RateLimit,
    Concurrency,
    Permission,
    AllowIp,
}

impl ChangeArguments {
    /// The request.
    ///
    /// # Errors
    /// A field is set and taken away at once: which of the two is meant is not ours to say.
    pub(super) fn request(self) -> Result<ChangeLicense, Error> {
        let mut change = ChangeLicense {
            plan: self.plan.map(Some),
            label: self.label.map(Some),
            expires_at: self.expires_at.map(Some),
            remaining: self.remaining.map(Some),
            refill: self.refill.map(Some),
            rate_limits: self.rate_limits,
            concurrency: self.concurrency.map(Some),
            permissions: self.permissions,
            allow_ips: self.allow_ips,
        };
        if let Some(field) = self.clear.iter().find(|field| field.is_set_by(&change)) {
            let name = field.to_possible_value();
            let name = name.as_ref().map_or("", |value| value.get_name());
            return Err(Error::Usage(format!(
                "--{name} and --clear {name} are both there: give one of the two"
            )));
        }
        for field in self.clear {
            match field {
                Field::Plan => change.plan = Some(None),
                Field::Label => change.label = Some(None),
                Field::ExpiresAt => change.expires_at = Some(None),
                Field::Remaining => change.remaining = Some(None),
                Field::Refill => change.refill = Some(None),
                Field::RateLimit => change.rate_limits = Some(Vec::new()),
                Field::Concurrency => change.concurrency = Some(None),
                Field::Permission => change.permissions = Some(Vec::new()),
                Field::AllowIp => change.allow_ips = Some(Vec::new()),
            }
        }
        Ok(change)
    }
}

impl Field {
    /// Whether a change gives it a value.
    fn is_set_by(self, change: &ChangeLicense) -> bool {
        match self {
            Self::Plan => change.plan.is_some(),
            Self::Label => change.label.is_some(),
            Self::ExpiresAt => change.expires_at.is_some(),
            Self::Remaining => change.remaining.is_some(),
            Self::Refill => change.refill.is_some(),
            Self::RateLimit => change.rate_limits.is_some(),
            Self::Concurrency => change.concurrency.is_some(),
            Self::Permission => change.permissions.is_some(),
            Self::AllowIp => change.allow_ips.is_some(),
        }
    }
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

    fn request(arguments: &[&str]) -> Option<ChangeLicense> {
        let id = LicenseId::generate().to_string();
        let words = ["change", &id].into_iter().chain(arguments.iter().copied());
        let parsed = Command::try_parse_from(words).ok()?;
        parsed.arguments.request().ok()
    }

    #[test]
    fn only_what_is_named_is_changed() {
        let change = request(&["--label", "new", "--clear", "plan", "--clear", "allow-ip"]);
        let expected = ChangeLicense {
            plan: Some(None),
            label: Some(Some("new".to_owned())),
            allow_ips: Some(Vec::new()),
            ..ChangeLicense::default()
        };
        assert_eq!(change, Some(expected));
        let lists = request(&["--rate-limit", "5/1s", "--rate-limit", "9/1h"]).expect("valid");
        assert_eq!(lists.rate_limits.map_or(0, |limits| limits.len()), 2);
        assert_eq!(request(&[]), None, "nothing to change");
        assert_eq!(request(&["--clear", "id"]), None);
        for both in [
            ["--plan", "pro", "--clear", "plan"],
            ["--rate-limit", "5/1s", "--clear", "rate-limit"],
            ["--remaining", "5", "--clear", "remaining"],
        ] {
            assert_eq!(request(&both), None, "{both:?}");
        }
    }
}
