//! The cost of recognition: `cargo bench -p agents --bench cost`.
//!
//! With 500 patterns: a user agent that the thread remembers, one that it does not, of an agent and
//! of people, and one of 64 KiB.

use std::hint::black_box;
use std::time::Instant;

use agents::{KnownAgents, Recognizer};

const CALLS: usize = 1_000;
const ROUNDS: usize = 500;
const PERSON: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
const AGENT: &str = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.3; +https://openai.com/gptbot)";

fn main() {
    let recognizer = Recognizer::new(with_500_patterns());
    let patterns: usize = recognizer
        .known()
        .all()
        .iter()
        .map(|agent| agent.patterns.len())
        .sum();
    println!(
        "recognition with {patterns} patterns, one thread, ns a call: best round, median round"
    );
    let same = |text: &str| vec![text.to_owned(); CALLS];
    // More than a thread remembers, in turn: each is forgotten before it comes again.
    let new = |text: &str| {
        (0..200_000)
            .map(|n| format!("{text} {n:06}"))
            .collect::<Vec<_>>()
    };
    report("  remembered: person", &recognizer, &same(PERSON));
    report("  remembered: agent", &recognizer, &same(AGENT));
    report("  new: person", &recognizer, &new(PERSON));
    report("  new: agent", &recognizer, &new(AGENT));
    report(
        "  remembered: 64 KiB",
        &recognizer,
        &vec!["x".repeat(65_536); 8],
    );
}

/// Returns the agents that ship, and as many more as make 500 patterns.
fn with_500_patterns() -> KnownAgents {
    let shipped = include_str!("../known-agents.toml");
    let had = KnownAgents::shipped()
        .all()
        .iter()
        .map(|agent| agent.patterns.len())
        .sum();
    let more = (had..500_usize).map(|n| {
        format!(
            "\n[[agent]]\noperator = \"Operator {n}\"\nagent = \"Crawler-{n}\"\npurpose = \"other\"\npage = \"https://example.com/\"\n\
             verify = \"none\"\npatterns = [\"{n}-crawler-of-{n}\"]\nvat = \"OTHER\"\nact = \"ACT-3\"\n"
        )
    });
    let text: String = std::iter::once(shipped.to_owned()).chain(more).collect();
    KnownAgents::read("bench", &text).expect("valid")
}

fn report(what: &str, recognizer: &Recognizer, user_agents: &[String]) {
    let mut next = user_agents.iter().cycle();
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            for user_agent in next.by_ref().take(CALLS) {
                black_box(recognizer.recognize(black_box(user_agent.as_bytes())));
            }
            begun.elapsed().as_nanos() as f64 / CALLS as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{what:<28} {:>8.0} {:>8.0}", rounds[0], rounds[ROUNDS / 2]);
}
