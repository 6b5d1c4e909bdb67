//! The conditions of a list, of which only those that are asked for stand in its statement.

use super::Value;

/// The conditions of a WHERE clause with their values.
pub(super) struct Filter {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Filter {
    /// Returns a filter that selects everything.
    pub(super) fn new() -> Self {
        Self {
            conditions: vec!["true".to_owned()],
            values: Vec::new(),
        }
    }

    /// Adds a condition, in which `?` stands for the value, unless that is NULL.
    pub(super) fn and(&mut self, condition: &str, value: impl Into<Value>) -> &mut Self {
        let value = value.into();
        if value != Value::Null {
            let place = self.place(value);
            self.conditions.push(condition.replace('?', &place));
        }
        self
    }

    /// Adds a condition that has no value.
    pub(super) fn also(&mut self, condition: String) -> &mut Self {
        self.conditions.push(condition);
        self
    }

    /// Adds a value, and returns its place in the statement.
    pub(super) fn place(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    /// Returns the WHERE clause.
    pub(super) fn clause(&self) -> String {
        format!("WHERE {}", self.conditions.join(" AND "))
    }

    /// Returns the values of the statement.
    pub(super) fn values(&self) -> &[Value] {
        &self.values
    }
}
