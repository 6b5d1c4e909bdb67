//! Plans that licenses name and the configuration does not have: a start without one would give its calls away.

use config::{Config, Finding, StoreUrl};
use store::PlanNamed;

use crate::open_store;

/// What is wrong with a configuration that lacks plans which licenses name; `None`: it lacks none.
pub(crate) fn lacking(config: &Config, named: &[PlanNamed]) -> Option<String> {
    let has = |named: &&PlanNamed| config.plans.iter().all(|plan| plan.name != named.name);
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

fn described(named: &PlanNamed) -> String {
    let licenses = match named.licenses {
        1 => "1 license names".to_owned(),
        several => format!("{several} licenses name"),
    };
    format!("the plan `{}`, which {licenses}", named.name)
}

/// What `check` finds with the store at hand. A store that is not reached is only told of: the file itself may be right.
pub(crate) fn judge(config: &Config) -> Option<Finding> {
    let named = match &config.store.url {
        StoreUrl::Sqlite => store::sqlite::plans_in(&config.server.data_dir),
        StoreUrl::Postgres(_) => match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime.block_on(open_store::plans_at(config)),
            Err(error) => Err(store::Error::Unavailable(model::system::in_words(&error))),
        },
    };
    match named {
        Ok(named) => Some(Finding {
            section: "plan",
            key: "name",
            message: lacking(config, named.as_deref().unwrap_or_default())?,
        }),
        Err(error) => {
            eprintln!(
                "tallygate: whether licenses name plans that the file lacks was not looked at: {error}"
            );
            None
        }
    }
}
