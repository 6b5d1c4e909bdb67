//! The names of the ledger: symbols of all lanes and texts of all files under one set of small
//! numbers.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use model::Symbol;

/// A table of interned symbols. A number stands for its symbol as long as this value lives; 0
/// stands for none.
///
/// It grows with the distinct apps, routes and plan revisions that were ever seen, not with calls.
#[derive(Debug, Default)]
pub struct Names {
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    numbers: HashMap<Symbol, u32>,
    /// The symbols: that of number `i + 1` at index `i`.
    symbols: Vec<Symbol>,
}

impl Names {
    /// Returns the number of a symbol, a new one if it has none yet.
    ///
    /// # Panics
    /// After four billion distinct symbols.
    pub fn intern(&self, symbol: &Symbol) -> u32 {
        let known = {
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            table.numbers.get(symbol).copied()
        };
        known.unwrap_or_else(|| {
            let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(number) = table.numbers.get(symbol) {
                return *number;
            }
            table.symbols.push(symbol.clone());
            let number =
                u32::try_from(table.symbols.len()).expect("configurations have fewer symbols");
            table.numbers.insert(symbol.clone(), number);
            number
        })
    }

    /// Returns the symbol of a number; `None` for 0 and for numbers that were never given.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<Symbol> {
        let index = (number as usize).checked_sub(1)?;
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.symbols.get(index).cloned()
    }
}

/// A view of [`Names`] for loops: it looks each number up once.
#[derive(Debug)]
pub(crate) struct NameCache<'a> {
    names: &'a Names,
    known: Vec<Option<Symbol>>,
}

impl<'a> NameCache<'a> {
    pub(crate) const fn new(names: &'a Names) -> Self {
        Self {
            names,
            known: Vec::new(),
        }
    }

    /// Returns the symbol of a number, as [`Names::get`] does.
    pub(crate) fn get(&mut self, number: u32) -> Option<&Symbol> {
        let index = number as usize;
        if self.known.get(index).is_none_or(Option::is_none) {
            let symbol = self.names.get(number)?;
            if index >= self.known.len() {
                self.known.resize(index + 1, None);
            }
            self.known[index] = Some(symbol);
        }
        self.known[index].as_ref()
    }
}

/// A hasher for keys that are numbers already: one multiplication a word.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NumberHasher(u64);

impl std::hash::Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        // Hash tables take their bits from both ends of the hash.
        self.0.rotate_left(26)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(23);
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    fn write_u16(&mut self, word: u16) {
        self.write_u64(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u128(&mut self, word: u128) {
        self.write_u64(word as u64);
        self.write_u64((word >> 64) as u64);
    }
}

/// A map over keys that are numbers.
pub(crate) type NumberMap<K, V> = HashMap<K, V, std::hash::BuildHasherDefault<NumberHasher>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_symbol_has_the_same_number_and_none_has_zero() {
        let names = Names::default();
        let a = Symbol::Route("/a".to_owned());
        let b = Symbol::Route("/b".to_owned());
        let numbers = [names.intern(&a), names.intern(&b), names.intern(&a)];
        assert_eq!(numbers, [1, 2, 1]);
        assert_eq!(names.get(2), Some(b.clone()));
        assert_eq!(names.get(0), None);
        assert_eq!(names.get(9), None);
        let mut cache = NameCache::new(&names);
        assert_eq!(cache.get(9), None);
        assert_eq!(cache.get(2), Some(&b));
    }
}
