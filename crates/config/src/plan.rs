//! `[[plan]]`: the price of a unit, and the default limits of licenses.

use std::collections::HashMap;

use model::{Currency, Money, Plan, PlanName};

use crate::reader::Section;

/// Reads every plan, and reports names that stand twice.
pub(crate) fn read_all(sections: Vec<Section<'_>>) -> Vec<Plan> {
    let mut places: HashMap<PlanName, usize> = HashMap::new();
    let mut plans = Vec::new();
    for section in sections {
        let at = section.at("name");
        let reader = section.reader();
        let Some(plan) = read(section) else { continue };
        if let Some(first) = places.get(&plan.name) {
            let line = reader.line(*first);
            reader.report(
                at,
                format!(
                    "name: another plan on line {line} is named `{}`: give each plan its own name",
                    plan.name
                ),
            );
        }
        places.entry(plan.name.clone()).or_insert(at);
        plans.push(plan);
    }
    plans
}

fn read(section: Section<'_>) -> Option<Plan> {
    let name = section.required("name");
    let currency = section.optional("currency");
    let price_per_unit = section.value("price_per_unit", Money::ZERO);
    if price_per_unit < Money::ZERO {
        let message =
            format!("price_per_unit: {price_per_unit} is not allowed here: write 0 or more");
        section.report(section.at("price_per_unit"), message);
    }
    if price_per_unit > Money::MAX_PRICE {
        let message = format!(
            "price_per_unit: {price_per_unit} is too large: write at most {}",
            Money::MAX_PRICE
        );
        section.report(section.at("price_per_unit"), message);
    }
    let concurrency = section.optional_number("concurrency", 1..=u64::from(u32::MAX));
    let rate_limits = section.windows("rate_limits", Vec::new());
    let features = section.list("features", Vec::new());
    section.finish();
    Some(Plan {
        name: name?,
        currency: currency.unwrap_or_else(default_currency),
        price_per_unit,
        rate_limits,
        concurrency: concurrency.map(|calls| calls as u32),
        features,
    })
}

fn default_currency() -> Currency {
    "USD".parse().expect("three capital letters are a currency")
}
