//! The conversion of numbers into the texts of a file's columns and back.

use std::collections::HashMap;

use model::{AccountName, Symbol};
use parquet::data_type::ByteArray;

use crate::names::Names;

/// The texts of symbols, each made once.
pub(crate) struct Texts<'a> {
    names: &'a Names,
    accounts: Vec<Option<ByteArray>>,
    apps: Vec<Option<ByteArray>>,
    routes: Vec<Option<ByteArray>>,
    plans: Vec<Option<ByteArray>>,
    revisions: Vec<Option<ByteArray>>,
    units: Vec<Option<ByteArray>>,
}

impl<'a> Texts<'a> {
    pub(crate) const fn new(names: &'a Names) -> Self {
        Self {
            names,
            accounts: Vec::new(),
            apps: Vec::new(),
            routes: Vec::new(),
            plans: Vec::new(),
            revisions: Vec::new(),
            units: Vec::new(),
        }
    }

    pub(crate) fn account(&mut self, number: u32) -> ByteArray {
        cached(&mut self.accounts, number, || {
            match self.names.get(number) {
                Some(Symbol::App { account, .. }) => account.to_string(),
                _ => AccountName::default().to_string(),
            }
        })
    }

    pub(crate) fn app(&mut self, number: u32) -> ByteArray {
        cached(&mut self.apps, number, || match self.names.get(number) {
            Some(Symbol::App { app, .. }) => app.to_string(),
            _ => "unresolved".to_owned(),
        })
    }

    pub(crate) fn route(&mut self, number: u32) -> ByteArray {
        cached(&mut self.routes, number, || match self.names.get(number) {
            Some(Symbol::Route(path)) => path,
            _ => "/".to_owned(),
        })
    }

    pub(crate) fn plan(&mut self, number: u32) -> Option<ByteArray> {
        let name = || match self.names.get(number) {
            Some(Symbol::Plan { name, .. }) => name.to_string(),
            _ => String::new(),
        };
        (number != Symbol::NONE).then(|| cached(&mut self.plans, number, name))
    }

    pub(crate) fn unit(&mut self, number: u32) -> Option<ByteArray> {
        let word = || match self.names.get(number) {
            Some(Symbol::Unit(word)) => word,
            _ => String::new(),
        };
        (number != Symbol::NONE).then(|| cached(&mut self.units, number, word))
    }

    pub(crate) fn revision(&mut self, number: u32) -> Option<ByteArray> {
        let text = || match self.names.get(number) {
            Some(Symbol::Plan { revision, .. }) => revision.to_string(),
            _ => String::new(),
        };
        (number != Symbol::NONE).then(|| cached(&mut self.revisions, number, text))
    }
}

fn cached(
    known: &mut Vec<Option<ByteArray>>,
    number: u32,
    make: impl FnOnce() -> String,
) -> ByteArray {
    let index = number as usize;
    if index >= known.len() {
        known.resize(index + 1, None);
    }
    known[index]
        .get_or_insert_with(|| ByteArray::from(make().into_bytes()))
        .clone()
}

/// A cache of parsed texts of a column: each distinct text is parsed once, and not looked up again
/// while it repeats.
#[derive(Debug)]
pub(crate) struct Parsed<T> {
    known: HashMap<Vec<u8>, T>,
    last: Option<(Vec<u8>, T)>,
}

/// The number of distinct texts that are remembered; a column with more is parsed value by value.
const KNOWN_MAX: usize = 65_536;

impl<T: Copy> Parsed<T> {
    pub(crate) fn new() -> Self {
        Self {
            known: HashMap::new(),
            last: None,
        }
    }

    /// Returns the value that the text stands for; `None` if it stands for nothing.
    pub(crate) fn get(&mut self, text: &[u8], parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        if let Some((last, value)) = &self.last
            && last == text
        {
            return Some(*value);
        }
        let value = match self.known.get(text) {
            Some(value) => *value,
            None => {
                let value = parse(std::str::from_utf8(text).ok()?)?;
                if self.known.len() < KNOWN_MAX {
                    self.known.insert(text.to_vec(), value);
                }
                value
            }
        };
        match &mut self.last {
            Some((last, known)) => {
                last.clear();
                last.extend_from_slice(text);
                *known = value;
            }
            none => *none = Some((text.to_vec(), value)),
        }
        Some(value)
    }
}
