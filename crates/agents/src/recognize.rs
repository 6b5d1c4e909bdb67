//! Recognition of agents by what they say of themselves: the header `User-Agent`.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::known::{KnownAgent, KnownAgents};

/// Recognizes known agents by their user agents.
///
/// A pattern counts where it stands by itself: no letter, digit or underscore before or behind it,
/// so that a word of people that holds it is not taken for an agent. Of several the leftmost counts,
/// and of those that begin at one place the longest. Only the first [`Recognizer::MAX_BYTES`] bytes
/// of a user agent are looked at.
///
/// A call costs a look into a cache of the thread, of 1,024 user agents, and on a miss one pass over
/// the bytes, however many patterns there are: `cargo bench -p agents`.
#[derive(Debug)]
pub struct Recognizer {
    known: KnownAgents,
    automaton: AhoCorasick,
    /// The agent of each pattern.
    agents: Vec<u32>,
    /// The number of this set among all of the process, which tells its entries in the caches.
    generation: u32,
}

/// What a thread remembers of a user agent, by its hash. The hash is keyed by chance, so that
/// nobody can make two user agents that are taken for each other.
#[derive(Clone, Copy)]
struct Remembered {
    hash: u64,
    generation: u32,
    /// The agent, or [`NOBODY`].
    agent: u32,
}

/// The number of user agents that a thread remembers, a power of two; each takes 16 bytes.
const REMEMBERED: usize = 1_024;
/// The size of all patterns together up to which the automaton has its fastest form.
const MAX_FAST_BYTES: usize = 32_768;
const NOBODY: u32 = u32::MAX;

static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
static GENERATIONS: AtomicU32 = AtomicU32::new(1);

thread_local! {
    static CACHE: RefCell<Box<[Remembered; REMEMBERED]>> = RefCell::new(Box::new(
        [Remembered { hash: 0, generation: 0, agent: NOBODY }; REMEMBERED],
    ));
}

impl Recognizer {
    /// The number of bytes at the beginning of a user agent that are looked at. Those of agents have
    /// at most some 300; a longer one is an attempt to make the gate work.
    pub const MAX_BYTES: usize = 1_024;

    /// Makes a recognizer of known agents. Costs milliseconds and some megabytes: one is made at the
    /// start and at a reload, and shared by all threads.
    ///
    /// # Panics
    /// If the patterns need more states than an automaton has, which the bounds of [`KnownAgents`]
    /// exclude.
    #[must_use]
    pub fn new(known: KnownAgents) -> Self {
        let of_agent = |(index, agent): (usize, &KnownAgent)| {
            std::iter::repeat_n(index as u32, agent.patterns.len())
        };
        let agents = known.all().iter().enumerate().flat_map(of_agent).collect();
        let patterns = known.all().iter().flat_map(|agent| &agent.patterns);
        let bytes: usize = patterns.clone().map(String::len).sum();
        // The fastest form takes some 256 bytes of memory for each byte of a pattern.
        let kind = match bytes <= MAX_FAST_BYTES {
            true => AhoCorasickKind::DFA,
            false => AhoCorasickKind::ContiguousNFA,
        };
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(kind))
            .build(patterns)
            .expect("the patterns are bounded");
        Self {
            agents,
            automaton,
            known,
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Returns the agents that it knows.
    #[must_use]
    pub const fn known(&self) -> &KnownAgents {
        &self.known
    }

    /// Returns the agent that a user agent names; `None`: it names none.
    #[must_use]
    pub fn recognize(&self, user_agent: &[u8]) -> Option<&KnownAgent> {
        let looked_at = &user_agent[..user_agent.len().min(Self::MAX_BYTES + 1)];
        let hash = HASHER.hash_one(looked_at);
        let place = hash as usize % REMEMBERED;
        let remembered = CACHE.with_borrow(|cache| cache[place]);
        let agent = if remembered.hash == hash && remembered.generation == self.generation {
            remembered.agent
        } else {
            let agent = self.search(looked_at);
            let generation = self.generation;
            CACHE.with_borrow_mut(|cache| {
                cache[place] = Remembered {
                    hash,
                    generation,
                    agent,
                };
            });
            agent
        };
        self.known.all().get(agent as usize)
    }

    /// Returns the agent without a look into the cache, or [`NOBODY`]. All matches are looked at,
    /// also those within others: the leftmost longest may be part of a word where a shorter one is
    /// not.
    fn search(&self, user_agent: &[u8]) -> u32 {
        let end = user_agent.len().min(Self::MAX_BYTES);
        let found = self
            .automaton
            .find_overlapping_iter(&user_agent[..end])
            .filter(|found| is_by_itself(user_agent, found.start(), found.end()))
            .min_by_key(|found| (found.start(), std::cmp::Reverse(found.end())));
        found.map_or(NOBODY, |found| self.agents[found.pattern().as_usize()])
    }
}

/// Returns whether what stands at this place is no part of a longer word.
fn is_by_itself(text: &[u8], start: usize, end: usize) -> bool {
    let of_word = |at: usize| text.get(at).is_some_and(|byte| is_of_word(*byte));
    let before = start > 0 && of_word(start - 1) && of_word(start);
    let behind = of_word(end) && of_word(end - 1);
    !before && !behind
}

const fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Returns whether a pattern stands in a user agent by itself, by the rule of [`Recognizer`].
pub(crate) fn stands_in(pattern: &str, user_agent: &str) -> bool {
    let text = user_agent.as_bytes();
    let places = text.windows(pattern.len()).enumerate();
    let mut same = places.filter(|(_, part)| part.eq_ignore_ascii_case(pattern.as_bytes()));
    same.any(|(start, _)| is_by_itself(text, start, start + pattern.len()))
}
