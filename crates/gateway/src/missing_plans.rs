//! The plans and apps that licenses name and the configuration lacks. A start without such a plan
//! would give calls away, one without such an app refuses paying callers.

use config::{Config, Finding};
use model::{Clock, SystemClock};
use store::{AppNamed, Named, PlanNamed};

use crate::open_store;

/// The findings of `check` in the store.
#[derive(Debug, Default)]
pub(crate) struct StoreFindings {
    /// The findings for which a start would be refused.
    pub(crate) findings: Vec<Finding>,
    /// The warnings that a start would log.
    pub(crate) warnings: Vec<String>,
}

/// Returns the warnings for a configuration that has all plans: apps that it lacks, which another
/// gate of the fleet may serve, and apps that are free.
pub(crate) fn warnings(config: &Config, named: &Named) -> Vec<String> {
    let missing = missing_apps(config, &named.apps);
    missing.into_iter().chain(free(config, named)).collect()
}

/// Returns warnings of apps whose licenses have no plan, in a file that has plans. A seller may
/// mean that, or may have lost a line.
fn free(config: &Config, named: &Named) -> Vec<String> {
    let has_no_plan = |named: &&AppNamed| {
        let app = config.app(&named.name);
        named.without_plan > 0 && app.is_some_and(|app| app.plan.is_none())
    };
    let apps = named.apps.iter().filter(has_no_plan);
    let warning = |named: &AppNamed| {
        let licenses = match named.without_plan {
            1 => "1 license of it names none either: its calls cost".to_owned(),
            several => format!("{several} licenses of it name none either: their calls cost"),
        };
        format!(
            "app `{}` has no `plan`, and {licenses} nothing; give the app a plan unless it is meant to be free",
            named.name
        )
    };
    match config.plans.is_empty() {
        true => Vec::new(),
        false => apps.map(warning).collect(),
    }
}

/// Returns the error of a configuration that lacks plans which licenses name.
pub(crate) fn missing_plans(config: &Config, named: &[PlanNamed]) -> Option<String> {
    let has = |named: &&PlanNamed| config.plans.iter().all(|plan| plan.name != named.name);
    let described = |named: &PlanNamed| {
        format!(
            "the plan `{}`, which {}",
            named.name,
            licenses(named.licenses)
        )
    };
    let gone: Vec<String> = named.iter().filter(has).map(described).collect();
    if gone.is_empty() {
        return None;
    }
    Some(format!(
        "the file lacks {}: put it back as a `[[plan]]`; to be rid of a plan, move its licenses while it is there (`tallygate license \
         change ID --plan NAME`)",
        gone.join(" and ")
    ))
}

fn missing_apps(config: &Config, named: &[AppNamed]) -> Option<String> {
    let gone = named
        .iter()
        .filter(|named| !named.name.is_every() && config.app(&named.name).is_none());
    let described = |named: &AppNamed| {
        format!(
            "the app `{}`, which {}",
            named.name,
            licenses(named.licenses)
        )
    };
    let gone: Vec<String> = gone.map(described).collect();
    if gone.is_empty() {
        return None;
    }
    Some(format!(
        "the file lacks {}: their keys open nothing here; put it back as an `[[app]]` of that name unless another gate serves it, and \
         revoke its licenses to be rid of it (`tallygate license list --app NAME`, `tallygate license revoke ID`)",
        gone.join(" and ")
    ))
}

fn licenses(number: u64) -> String {
    match number {
        1 => "1 license names".to_owned(),
        several => format!("{several} licenses name"),
    }
}

/// Returns the findings of `check` in the store. A store that cannot be reached is only reported on
/// stderr, for the file itself may be right. A store that a start would refuse is a finding.
pub(crate) fn judge(config: &Config) -> StoreFindings {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let named = match runtime {
        Ok(runtime) => runtime.block_on(open_store::named(config, SystemClock.now())),
        Err(error) => Err(store::Error::Unavailable(model::system::in_words(&error))),
    };
    let finding = |section, key, message| Finding {
        section,
        key,
        message,
    };
    match named {
        Ok(named) => {
            let named = named.unwrap_or_default();
            let missing = missing_plans(config, &named.plans).into_iter();
            StoreFindings {
                findings: missing
                    .map(|message| finding("plan", "name", message))
                    .collect(),
                warnings: warnings(config, &named),
            }
        }
        Err(error @ (store::Error::Misconfigured(_) | store::Error::NewerSchema { .. })) => {
            StoreFindings {
                findings: vec![finding("store", "url", error.to_string())],
                ..StoreFindings::default()
            }
        }
        Err(error) => {
            eprintln!(
                "tallygate: whether licenses name plans or apps that the file lacks was not looked at: {error}"
            );
            StoreFindings::default()
        }
    }
}
