//! The apps and plans of the configuration, for the native API.

use api_types::{App, Plan};
use config::Config;
use control::AppDirectory;

/// Returns the apps and plans of the configuration.
pub(crate) fn directory(config: &Config) -> AppDirectory {
    AppDirectory {
        apps: config.apps.iter().map(app).collect(),
        plans: config.plan_revisions().into_iter().map(plan).collect(),
    }
}

fn app(app: &config::App) -> App {
    let route = |route: &config::Route| {
        let methods: Vec<_> = route.methods.iter().map(|method| method.as_str()).collect();
        let methods = if methods.is_empty() {
            "*".to_owned()
        } else {
            methods.join(",")
        };
        format!("{methods} {}", route.path)
    };
    App {
        name: app.name.clone(),
        account: app.account.clone(),
        hosts: app.hosts.iter().map(ToString::to_string).collect(),
        upstreams: app.upstreams.iter().map(ToString::to_string).collect(),
        plan: app.plan.clone(),
        mode: app.mode.as_str().to_owned(),
        routes: app.routes.iter().map(route).collect(),
    }
}

fn plan(revision: model::PlanRevision) -> Plan {
    Plan {
        revision: revision.id,
        name: revision.plan.name,
        currency: revision.plan.currency,
        price_per_unit: revision.plan.price_per_unit,
        rate_limits: revision.plan.rate_limits,
        concurrency: revision.plan.concurrency,
        features: revision.plan.features,
    }
}
