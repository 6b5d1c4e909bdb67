//! The reader that joins the entries of a lane into whole records, in close order.

use std::collections::VecDeque;
use std::sync::Arc;

use journal::Entry;
use model::record::DecodeRecordError;
use model::{AccountName, CallHead, CallRecord, CallTail, InstanceId, Symbol};

use crate::error::Error;
use crate::names::{Names, NumberMap};
use crate::row::clip;

/// A source of entries: a journal's reader, or a list in tests.
pub trait Entries {
    /// Returns the next entry; `None` at the end of what is visible now.
    ///
    /// # Errors
    /// Returns the errors of [`journal::Reader::next`].
    fn next_entry(&mut self) -> Result<Option<Entry<'_>>, journal::Error>;
}

impl Entries for journal::Reader {
    fn next_entry(&mut self) -> Result<Option<Entry<'_>>, journal::Error> {
        self.next()
    }
}

/// A whole record with its close number. The symbols of its head are numbers of [`Names`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedCall {
    /// The close number in its lane.
    pub number: u64,
    /// The record.
    pub record: CallRecord,
}

/// A reader of one lane's calls in close order: numbers follow each other without a gap.
///
/// In steady state it allocates nothing: open heads are kept in a table that grows to the largest
/// number that were open at one time.
#[derive(Debug)]
pub struct ClosedReader<E> {
    entries: E,
    names: Arc<Names>,
    instance: InstanceId,
    lane: u32,
    /// The numbers in `names` of the lane's symbols; [`UNDEFINED`] where a symbol was not defined.
    symbols: Vec<u32>,
    open: NumberMap<u64, CallHead>,
    last: u64,
    /// The number of the last close among the entries, returned or passed over.
    seen: u64,
    /// The marks that follow the entries of a dead lane; `None`: a live lane.
    marks: Option<Vec<CallHead>>,
    recovered: VecDeque<CallRecord>,
}

const UNDEFINED: u32 = u32::MAX;

impl<E: Entries> ClosedReader<E> {
    /// Makes a reader of a live lane: records after number `from`.
    pub fn live(entries: E, names: Arc<Names>, instance: InstanceId, lane: u32, from: u64) -> Self {
        Self {
            entries,
            names,
            instance,
            lane,
            symbols: Vec::new(),
            open: NumberMap::default(),
            last: from,
            seen: from,
            marks: None,
            recovered: VecDeque::new(),
        }
    }

    /// Makes a reader of a dead instance's lane: records after number `from`, from entries that
    /// begin after close number `base`.
    ///
    /// After the last entry come the heads that are still open (outcome `interrupted`), in the
    /// order in which they were opened, then these marks (outcome `unknown`, symbols resolved) in
    /// order of their call ids. Their numbers continue those of the entries; the same journal gives
    /// the same numbers each time.
    pub fn dead(
        entries: E,
        names: Arc<Names>,
        instance: InstanceId,
        lane: u32,
        base: u64,
        from: u64,
        marks: Vec<CallHead>,
    ) -> Self {
        Self {
            marks: Some(marks),
            seen: base,
            ..Self::live(entries, names, instance, lane, from)
        }
    }

    /// Returns the number of the last record that was returned.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Returns the next record; `None` at the end of what is visible now.
    ///
    /// # Errors
    /// Returns an error when the journal is damaged or a record does not parse. The reader is of no
    /// use afterwards.
    pub fn next_call(&mut self) -> Result<Option<ClosedCall>, Error> {
        let place = (self.instance, self.lane, self.last + 1);
        while let Some(entry) = self.entries.next_entry()? {
            match entry {
                Entry::Define { symbol, bytes } => {
                    define(&mut self.symbols, &self.names, symbol, bytes)
                        .map_err(|what| inconsistent(place, what))?;
                }
                Entry::Open {
                    sequence, payload, ..
                } => {
                    let head = CallHead::decode(payload).map_err(unreadable(place, 0))?;
                    let head = resolve(&self.symbols, head)
                        .ok_or_else(|| inconsistent(place, "a symbol was not defined"))?;
                    self.open.insert(sequence, head);
                }
                Entry::Close {
                    number,
                    sequence,
                    payload,
                } => {
                    self.seen = number;
                    let head = self.open.remove(&sequence);
                    if number <= self.last {
                        continue;
                    }
                    let head =
                        head.ok_or_else(|| inconsistent(place, "a close without its open"))?;
                    let tail = CallTail::decode(payload).map_err(unreadable(place, number))?;
                    return self.give(number, CallRecord { head, tail }).map(Some);
                }
                Entry::Single {
                    number, payload, ..
                } => {
                    self.seen = number;
                    if number <= self.last {
                        continue;
                    }
                    let mut record =
                        CallRecord::decode(payload).map_err(unreadable(place, number))?;
                    record.head = resolve(&self.symbols, record.head)
                        .ok_or_else(|| inconsistent(place, "a symbol was not defined"))?;
                    return self.give(number, record).map(Some);
                }
            }
        }
        self.next_recovered()
    }

    fn give(&mut self, number: u64, record: CallRecord) -> Result<ClosedCall, Error> {
        if number != self.last + 1 {
            let place = (self.instance, self.lane, self.last + 1);
            return Err(inconsistent(
                place,
                "close numbers do not follow each other",
            ));
        }
        self.last = number;
        Ok(ClosedCall {
            number,
            record: clip(record),
        })
    }
}

/// The records that follow the entries of a dead lane.
impl<E> ClosedReader<E> {
    fn next_recovered(&mut self) -> Result<Option<ClosedCall>, Error> {
        if let Some(marks) = self.marks.take() {
            self.recovered = recover(std::mem::take(&mut self.open), marks);
            // The list of marks is empty from here on, and the lane stays a dead one.
            self.marks = None;
        }
        while let Some(record) = self.recovered.pop_front() {
            self.seen += 1;
            if self.seen > self.last {
                self.last = self.seen;
                return Ok(Some(ClosedCall {
                    number: self.seen,
                    record: clip(record),
                }));
            }
        }
        Ok(None)
    }
}

fn recover(open: NumberMap<u64, CallHead>, mut marks: Vec<CallHead>) -> VecDeque<CallRecord> {
    let mut open: Vec<_> = open.into_iter().collect();
    open.sort_unstable_by_key(|(sequence, _)| *sequence);
    marks.sort_unstable_by_key(|mark| mark.call_id);
    let heads = open.into_iter().map(|(_, head)| head);
    heads
        .chain(marks)
        .map(|head| CallRecord {
            tail: head.tail_of_recovery(),
            head,
        })
        .collect()
}

type Place = (InstanceId, u32, u64);

const fn inconsistent((instance, lane, number): Place, what: &'static str) -> Error {
    Error::Inconsistent {
        instance,
        lane,
        number,
        what,
    }
}

fn unreadable((instance, lane, _): Place, number: u64) -> impl Fn(DecodeRecordError) -> Error {
    move |source| Error::Record {
        instance,
        lane,
        number,
        source,
    }
}

/// Records the meaning of a lane's symbol. Symbols are numbers from 0 up, small by the journal's
/// own limit.
pub(crate) fn define(
    symbols: &mut Vec<u32>,
    names: &Names,
    symbol: u32,
    bytes: &[u8],
) -> Result<(), &'static str> {
    const SYMBOL_MAX: usize = 1 << 20;
    let index = symbol as usize;
    if symbols.get(index).is_some_and(|known| *known != UNDEFINED) {
        return Ok(());
    }
    if index > SYMBOL_MAX {
        return Err("a symbol has too large a number");
    }
    let decoded = Symbol::decode(bytes).ok_or("a symbol stands for nothing that is known")?;
    if index >= symbols.len() {
        symbols.resize(index + 1, UNDEFINED);
    }
    symbols[index] = names.intern(&decoded);
    Ok(())
}

/// Returns the head with numbers of [`Names`] for the lane's symbols; `None` if one was not
/// defined.
fn resolve(symbols: &[u32], mut head: CallHead) -> Option<CallHead> {
    let find = |symbol: u32| match symbol {
        Symbol::NONE => Some(Symbol::NONE),
        symbol => symbols
            .get(symbol as usize)
            .copied()
            .filter(|number| *number != UNDEFINED),
    };
    head.app = find(head.app)?;
    head.route = find(head.route)?;
    head.plan = find(head.plan)?;
    head.unit = find(head.unit)?;
    Some(head)
}

/// Resolves the symbols of a mark, as [`resolve`] does. A symbol that was not defined anywhere
/// becomes an app, route or plan of no name: a call that may have reached the upstream is never
/// dropped for want of a name.
pub(crate) fn resolve_mark(symbols: &[u32], names: &Names, mut mark: CallHead) -> CallHead {
    if let Some(resolved) = resolve(symbols, mark) {
        return resolved;
    }
    let nameless = Symbol::App {
        account: AccountName::default(),
        app: "unresolved".parse().expect("a valid name"),
    };
    let find = |symbol: u32| {
        let known = symbols.get(symbol as usize).copied();
        known.filter(|number| symbol != Symbol::NONE && *number != UNDEFINED)
    };
    mark.app = find(mark.app).unwrap_or_else(|| names.intern(&nameless));
    mark.route = find(mark.route).unwrap_or(Symbol::NONE);
    mark.plan = find(mark.plan).unwrap_or(Symbol::NONE);
    mark.unit = find(mark.unit).unwrap_or(Symbol::NONE);
    mark
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::{CallId, Method, Mode, Outcome, Timestamp};
    use proptest::prelude::*;

    use super::*;

    /// An entry that owns its bytes.
    #[derive(Clone, Debug)]
    enum Owned {
        Define(u32, Vec<u8>),
        Open(u64, Vec<u8>),
        Close(u64, u64, Vec<u8>),
        Single(u64, u64, Vec<u8>),
    }

    struct List(std::vec::IntoIter<Owned>, Option<Owned>);

    impl List {
        fn new(entries: Vec<Owned>) -> Self {
            Self(entries.into_iter(), None)
        }
    }

    impl Entries for List {
        fn next_entry(&mut self) -> Result<Option<Entry<'_>>, journal::Error> {
            self.1 = self.0.next();
            Ok(self.1.as_ref().map(|entry| match entry {
                Owned::Define(symbol, bytes) => Entry::Define {
                    symbol: *symbol,
                    bytes,
                },
                Owned::Open(sequence, payload) => Entry::Open {
                    sequence: *sequence,
                    carried: false,
                    payload,
                },
                Owned::Close(number, sequence, payload) => Entry::Close {
                    number: *number,
                    sequence: *sequence,
                    payload,
                },
                Owned::Single(number, sequence, payload) => Entry::Single {
                    number: *number,
                    sequence: *sequence,
                    payload,
                },
            }))
        }
    }

    fn record(id: u64) -> CallRecord {
        let head = CallHead {
            call_id: CallId::from_u128(u128::from(id)),
            license_id: None,
            app: 1,
            route: 2,
            plan: 0,
            method: Method::Get,
            mode: Mode::Proxy,
            status: 200,
            started_at: Timestamp::from_micros(7),
            reserved: id,
            epoch: 0,
            test: false,
            billable_status: true,
            bills_interrupted: true,
            limited: false,
            windowed: false,
            idempotency: 0,
            ..CallHead::default()
        };
        let tail = CallTail {
            outcome: Outcome::Delivered,
            units: id,
            ..head.tail_of_recovery()
        };
        CallRecord { head, tail }
    }

    /// What a lane does: opens a call, closes one of those that are open, or writes a whole one.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Open,
        Close(prop::sample::Index),
        Single,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Open),
            3 => any::<prop::sample::Index>().prop_map(Step::Close),
            1 => Just(Step::Single),
        ];
        prop::collection::vec(step, 0..200)
    }

    /// The entries that a lane would hold, the ids in close order, and the ids that stay open in
    /// open order.
    fn play(steps: &[Step]) -> (Vec<Owned>, Vec<u64>, Vec<u64>) {
        let text = |symbol: &Symbol| symbol.encode().into_bytes();
        let app = Symbol::App {
            account: AccountName::default(),
            app: "api".parse().unwrap(),
        };
        let mut entries = vec![
            Owned::Define(1, text(&app)),
            Owned::Define(2, text(&Symbol::Route("/".to_owned()))),
        ];
        let (mut sequence, mut closed) = (0, Vec::new());
        let mut open: BTreeMap<u64, u64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Open => {
                    sequence += 1;
                    let head = record(sequence).head.encode().to_vec();
                    entries.push(Owned::Open(sequence, head));
                    open.insert(sequence, sequence);
                }
                Step::Close(which) if !open.is_empty() => {
                    let chosen = *open.keys().nth(which.index(open.len())).unwrap();
                    open.remove(&chosen);
                    closed.push(chosen);
                    let tail = record(chosen).tail.encode().to_vec();
                    entries.push(Owned::Close(closed.len() as u64, chosen, tail));
                }
                Step::Close(_) => {}
                Step::Single => {
                    sequence += 1;
                    closed.push(sequence);
                    let whole = record(sequence).encode().to_vec();
                    entries.push(Owned::Single(closed.len() as u64, sequence, whole));
                }
            }
        }
        (entries, closed, open.into_keys().collect())
    }

    fn read(mut reader: ClosedReader<List>) -> Vec<(u64, u64, Outcome)> {
        let mut calls = Vec::new();
        while let Some(call) = reader.next_call().unwrap() {
            let id = call.record.head.call_id.as_u128() as u64;
            calls.push((call.number, id, call.record.tail.outcome));
        }
        calls
    }

    fn numbered(ids: &[u64], first: u64, outcome: Outcome) -> Vec<(u64, u64, Outcome)> {
        let numbers = first..;
        let number = |(number, id): (u64, &u64)| (number, *id, outcome);
        numbers.zip(ids).map(number).collect()
    }

    proptest! {
        #[test]
        fn records_come_whole_and_in_close_order_from_anywhere(steps in steps(), from: prop::sample::Index) {
            let (entries, closed, _) = play(&steps);
            let from = from.index(closed.len() + 1);
            let reader = ClosedReader::live(List::new(entries), Arc::default(), InstanceId::default(), 0, from as u64);
            let expected = numbered(&closed[from..], from as u64 + 1, Outcome::Delivered);
            prop_assert_eq!(read(reader), expected);
        }

        #[test]
        fn a_dead_lane_ends_with_what_was_open_and_then_with_marks(steps in steps(), from: prop::sample::Index) {
            let (entries, closed, open) = play(&steps);
            let marks = [record(902).head, record(901).head].map(|head| CallHead { status: 0, ..head });
            let mut all = numbered(&closed, 1, Outcome::Delivered);
            all.extend(numbered(&open, all.len() as u64 + 1, Outcome::Interrupted));
            all.extend(numbered(&[901, 902], all.len() as u64 + 1, Outcome::Unknown));
            let from = from.index(all.len() + 1);
            let reader = ClosedReader::dead(
                List::new(entries), Arc::default(), InstanceId::default(), 0, 0, from as u64, marks.to_vec(),
            );
            prop_assert_eq!(read(reader), &all[from..]);
        }
    }

    fn first(entries: Vec<Owned>) -> Result<Option<ClosedCall>, Error> {
        let list = List::new(entries);
        ClosedReader::live(list, Arc::default(), InstanceId::default(), 3, 0).next_call()
    }

    #[test]
    fn entries_that_do_not_fit_together_are_errors_that_name_the_lane() {
        let (entries, ..) = play(&[Step::Single]);
        let single = record(1).encode().to_vec();
        let bad = [
            vec![Owned::Single(1, 1, single.clone())],
            vec![Owned::Close(1, 1, record(1).tail.encode().to_vec())],
            vec![
                entries[0].clone(),
                entries[1].clone(),
                Owned::Single(2, 1, single),
            ],
            vec![Owned::Single(1, 1, vec![1, 2, 3])],
            vec![Owned::Open(1, Vec::new())],
            vec![Owned::Define(1, b"nothing".to_vec())],
        ];
        for entries in bad {
            let error = first(entries.clone()).unwrap_err().to_string();
            assert!(error.contains("lane 3"), "{entries:?}: {error}");
        }
    }

    #[test]
    fn a_mark_whose_names_are_not_known_becomes_a_call_all_the_same() {
        let names = Names::default();
        let mark = resolve_mark(&[], &names, record(1).head);
        assert_eq!(mark.route, Symbol::NONE);
        assert!(matches!(names.get(mark.app), Some(Symbol::App { .. })));
    }
}
