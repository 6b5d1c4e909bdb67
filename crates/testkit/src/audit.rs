//! The audit: a comparison of what callers saw and what the upstream served with the ledger.
//!
//! | rule | guarantee |
//! |---|---|
//! | a status line of a forwarded call, or of a failure to forward it, has exactly one record, with that status | G1, G2 |
//! | a call that reached the upstream has a record, `unknown` included | G1, G3 |
//! | no call has two records | G2 |
//! | no record of a delivered call is invented | G3 |
//! | a license's calls and units stay within what it was granted | G4 |
//! | `ledger verify` finds nothing lost and nothing doubled | G3 |

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde_json::Value;

use crate::load::ObservedCall;
use crate::upstream::ServedRequest;

// Statuses of refusals after a failure to forward. Unlike all others, these must be durable before
// the caller sees them.
const FORWARDING_FAILURES: [u16; 2] = [502, 504];

// The number of violations that is enough to see a pattern.
const MAX_SHOWN_PER_RULE: usize = 10;

/// The lists to compare. An empty one is not checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Audit<'a> {
    /// The calls as callers saw them.
    pub seen: &'a [ObservedCall],
    /// The requests that the upstream served.
    pub served: &'a [ServedRequest],
    /// The output of `calls --json`, each line one object.
    pub calls: &'a [Value],
    /// The output of `ledger verify --json`.
    pub verify: Option<&'a Value>,
    /// The units that each license was granted, by its id.
    pub granted: &'a [(&'a str, u64)],
}

/// The violations that the audit found, by rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// A line for each violation, with the call's id.
    pub violations: Vec<String>,
}

impl Audit<'_> {
    /// Compares the lists and returns the violations; none if all is well.
    #[must_use]
    pub fn findings(&self) -> Findings {
        let records = self.records();
        let mut findings = Findings::default();
        findings.add("more than one record", self.doubled(&records));
        findings.add(
            "status line without its record",
            self.seen_without_record(&records),
        );
        findings.add(
            "served without a record",
            self.served_without_record(&records),
        );
        findings.add("delivered by nobody", self.invented());
        findings.add("over its quota", self.over_quota(&records));
        findings.add("ledger verify", self.unclean());
        findings
    }

    /// Panics with every violation, if there is any.
    ///
    /// # Panics
    /// When a rule is broken.
    pub fn assert_clean(&self) {
        let findings = self.findings();
        let (seen, served, calls) = (self.seen.len(), self.served.len(), self.calls.len());
        assert!(
            findings.is_clean(),
            "{seen} seen, {served} served, {calls} recorded, and:\n{findings}"
        );
    }

    fn records(&self) -> HashMap<&str, Vec<&Value>> {
        let mut records: HashMap<&str, Vec<&Value>> = HashMap::new();
        for call in self.calls {
            records
                .entry(call["call_id"].as_str().unwrap_or("(none)"))
                .or_default()
                .push(call);
        }
        records
    }

    fn doubled(&self, records: &HashMap<&str, Vec<&Value>>) -> Vec<String> {
        records
            .iter()
            .filter(|(_, found)| found.len() > 1)
            .map(|(id, found)| format!("{id}: {found:?}"))
            .collect()
    }

    fn seen_without_record(&self, records: &HashMap<&str, Vec<&Value>>) -> Vec<String> {
        let must_be_recorded = |seen: &&ObservedCall| {
            seen.status.is_some_and(|status| {
                seen.refusal.is_none() || FORWARDING_FAILURES.contains(&status)
            })
        };
        let violation = |seen: &ObservedCall| {
            let Some(id) = seen.call_id.as_deref() else {
                return Some(format!("an answer without a call id: {seen:?}"));
            };
            let Some(found) = records.get(id) else {
                return Some(format!("{id}: {seen:?}"));
            };
            let same = found
                .iter()
                .all(|record| record["status"].as_u64() == seen.status.map(u64::from));
            (!same).then(|| format!("{id}: seen {:?}, recorded {found:?}", seen.status))
        };
        self.seen
            .iter()
            .filter(must_be_recorded)
            .filter_map(violation)
            .collect()
    }

    fn served_without_record(&self, records: &HashMap<&str, Vec<&Value>>) -> Vec<String> {
        let violation = |served: &ServedRequest| match served.call_id.as_deref() {
            None => Some(format!(
                "without a call id: {} {}",
                served.method, served.target
            )),
            Some(id) => (!records.contains_key(id))
                .then(|| format!("{id}: {} {}", served.method, served.target)),
        };
        self.served.iter().filter_map(violation).collect()
    }

    fn invented(&self) -> Vec<String> {
        if self.served.is_empty() {
            return Vec::new();
        }
        let served: HashSet<&str> = self
            .served
            .iter()
            .filter_map(|served| served.call_id.as_deref())
            .collect();
        let delivered = self
            .calls
            .iter()
            .filter(|call| call["outcome"] == "delivered");
        let ids = delivered.filter_map(|call| call["call_id"].as_str());
        ids.filter(|id| !served.contains(id))
            .map(str::to_owned)
            .collect()
    }

    fn over_quota(&self, records: &HashMap<&str, Vec<&Value>>) -> Vec<String> {
        let license_of = |served: &ServedRequest| {
            let record = records.get(served.call_id.as_deref()?)?.first()?;
            record["license_id"].as_str()
        };
        let mut violations = Vec::new();
        for (license, granted) in self.granted {
            let reached = self
                .served
                .iter()
                .filter(|served| license_of(served) == Some(license))
                .count() as u64;
            if reached > *granted {
                violations.push(format!(
                    "{license}: granted {granted}, {reached} calls reached the upstream"
                ));
            }
            let forwarded =
                |call: &&Value| call["license_id"] == *license && call["outcome"] != "refused";
            let units: u64 = self
                .calls
                .iter()
                .filter(forwarded)
                .filter_map(|call| call["units"].as_u64())
                .sum();
            if units > *granted {
                violations.push(format!(
                    "{license}: granted {granted}, {units} units recorded"
                ));
            }
        }
        violations
    }

    fn unclean(&self) -> Vec<String> {
        let Some(verify) = self.verify else {
            return Vec::new();
        };
        let number = |name: &str| verify[name].as_u64();
        let clean = number("lost") == Some(0) && number("duplicated") == Some(0);
        let adds_up = match (number("accepted"), number("stored"), number("pending")) {
            (Some(accepted), Some(stored), Some(pending)) => accepted == stored + pending,
            _ => false,
        };
        if clean && adds_up {
            Vec::new()
        } else {
            vec![verify.to_string()]
        }
    }
}

impl Findings {
    /// Returns whether there is no violation.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    fn add(&mut self, rule: &str, mut violations: Vec<String>) {
        let count = violations.len();
        violations.sort_unstable();
        violations.truncate(MAX_SHOWN_PER_RULE);
        self.violations.extend(
            violations
                .into_iter()
                .map(|violation| format!("{rule}: {violation}")),
        );
        if count > MAX_SHOWN_PER_RULE {
            self.violations
                .push(format!("{rule}: {} more", count - MAX_SHOWN_PER_RULE));
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.violations.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(id: &str) -> ObservedCall {
        let call_id = Some(id.to_owned());
        ObservedCall {
            worker: 0,
            number: 0,
            status: Some(200),
            call_id,
            refusal: None,
            complete: true,
            took: std::time::Duration::ZERO,
        }
    }

    fn served(id: &str) -> ServedRequest {
        ServedRequest {
            call_id: Some(id.to_owned()),
            status: Some(200),
            complete: true,
            ..ServedRequest::default()
        }
    }

    fn record(id: &str) -> Value {
        json!({"call_id": id, "license_id": "l", "status": 200, "outcome": "delivered", "units": 1})
    }

    fn violations(audit: Audit<'_>) -> String {
        audit.findings().violations.join("\n")
    }

    #[test]
    fn lists_that_agree_are_clean() {
        let verify = json!({"accepted": 2, "stored": 1, "pending": 1, "lost": 0, "duplicated": 0});
        let audit = Audit {
            seen: &[seen("a")],
            served: &[served("a"), served("b")],
            calls: &[record("a"), record("b")],
            verify: Some(&verify),
            granted: &[("l", 2)],
        };
        assert_eq!(audit.findings(), Findings::default());
    }

    #[test]
    fn each_broken_rule_is_named_with_its_call() {
        let nothing = Audit::default();
        let (a, b) = (record("a"), record("b"));
        let twice = [a.clone(), a.clone()];
        assert!(
            violations(Audit {
                calls: &twice,
                ..nothing
            })
            .contains("more than one record: a")
        );
        assert!(
            violations(Audit {
                seen: &[seen("a")],
                ..nothing
            })
            .contains("status line without its record: a")
        );
        assert!(
            violations(Audit {
                served: &[served("a")],
                ..nothing
            })
            .contains("served without a record: a")
        );
        let invented = Audit {
            served: &[served("a")],
            calls: &[a.clone(), b.clone()],
            ..nothing
        };
        assert!(violations(invented).contains("delivered by nobody: b"));
        let spent = Audit {
            calls: &[a, b],
            granted: &[("l", 1)],
            ..nothing
        };
        assert!(violations(spent).contains("over its quota: l: granted 1"));
        let verify = json!({"accepted": 1, "stored": 0, "pending": 0, "lost": 1, "duplicated": 0});
        assert!(
            violations(Audit {
                verify: Some(&verify),
                ..nothing
            })
            .contains("ledger verify")
        );
    }

    #[test]
    fn a_record_with_another_status_than_was_seen_is_an_offence() {
        let wrong = ObservedCall {
            status: Some(502),
            ..seen("a")
        };
        let calls = [record("a")];
        assert!(
            violations(Audit {
                seen: &[wrong],
                calls: &calls,
                ..Audit::default()
            })
            .contains("recorded")
        );
    }

    #[test]
    fn a_refusal_needs_no_record_but_a_failure_to_forward_does() {
        let refused = |status: u16, code: &str| ObservedCall {
            status: Some(status),
            refusal: Some(code.to_owned()),
            ..seen("a")
        };
        let (unknown, unreachable) = (
            refused(401, "license_unknown"),
            refused(502, "upstream_unreachable"),
        );
        assert_eq!(
            violations(Audit {
                seen: &[unknown],
                ..Audit::default()
            }),
            ""
        );
        assert_ne!(
            violations(Audit {
                seen: &[unreachable],
                ..Audit::default()
            }),
            ""
        );
    }
}
