//! Plans and apps that licenses name and the configuration does not have: a start without them would give calls away, or refuse
//! those who paid.

use config::{Config, Finding};
use model::{Clock, SystemClock};
use store::{AppNamed, Named, PlanNamed};

use crate::open_store;

/// What `check` sees with the store at hand.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// What a start would refuse.
    pub(crate) findings: Vec<Finding>,
    /// What a start would only say.
    pub(crate) warnings: Vec<String>,
}

/// What is wrong with a configuration that lacks what licenses name, each with the key that it is about; empty: it lacks nothing.
pub(crate) fn lacking(config: &Config, named: &Named) -> Vec<(&'static str, String)> {
    let plans = lacking_plans(config, &named.plans).map(|message| ("plan", message));
    let apps = lacking_apps(config, &named.apps).map(|message| ("app", message));
    plans.into_iter().chain(apps).collect()
}

/// Apps whose licenses go by no plan, in a file that has plans: a seller may mean that, and may have lost a line.
pub(crate) fn free(config: &Config, named: &Named) -> Vec<String> {
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

fn lacking_plans(config: &Config, named: &[PlanNamed]) -> Option<String> {
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

fn lacking_apps(config: &Config, named: &[AppNamed]) -> Option<String> {
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
        "the file lacks {}: put it back as an `[[app]]` of that name; to be rid of an app, revoke its licenses while it is there \
         (`tallygate license list --app NAME`, `tallygate license revoke ID`)",
        gone.join(" and ")
    ))
}

fn licenses(number: u64) -> String {
    match number {
        1 => "1 license names".to_owned(),
        several => format!("{several} licenses name"),
    }
}

/// What `check` finds with the store at hand. A store that is not reached is only told of: the file itself may be right. One that
/// a start would refuse is refused here too.
pub(crate) fn judge(config: &Config) -> Seen {
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
            let lacking = lacking(config, &named).into_iter();
            Seen {
                findings: lacking
                    .map(|(section, message)| finding(section, "name", message))
                    .collect(),
                warnings: free(config, &named),
            }
        }
        Err(error @ (store::Error::Misconfigured(_) | store::Error::NewerSchema { .. })) => Seen {
            findings: vec![finding("store", "url", error.to_string())],
            ..Seen::default()
        },
        Err(error) => {
            eprintln!(
                "tallygate: whether licenses name plans or apps that the file lacks was not looked at: {error}"
            );
            Seen::default()
        }
    }
}
