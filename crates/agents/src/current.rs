//! The recognizer of a process, which is replaced when its list is.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use crate::known::KnownAgents;
use crate::recognize::Recognizer;

/// The recognizer that is in force. It is made of the shipped list when it is first asked for, so
/// that a process that asks for none has none; one for all threads.
#[derive(Debug, Default)]
pub struct CurrentRecognizer(OnceLock<ArcSwap<Recognizer>>);

impl CurrentRecognizer {
    /// Returns the recognizer. Costs milliseconds the first time, then one load.
    #[must_use]
    pub fn load(&self) -> arc_swap::Guard<Arc<Recognizer>> {
        let shipped = || ArcSwap::from_pointee(Recognizer::new(KnownAgents::shipped()));
        self.0.get_or_init(shipped).load()
    }

    /// Puts another list in force. Costs milliseconds.
    pub fn replace(&self, known: KnownAgents) {
        let recognizer = Arc::new(Recognizer::new(known));
        let first = || ArcSwap::new(Arc::clone(&recognizer));
        self.0.get_or_init(first).store(recognizer.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_list_is_in_force_until_it_is_replaced() {
        let current = CurrentRecognizer::default();
        let gptbot = b"Mozilla/5.0; compatible; GPTBot/1.2";
        assert!(current.load().recognize(gptbot).is_some());
        let other = r#"
            [[agent]]
            operator = "Example"
            agent = "ExampleBot"
            purpose = "search"
            page = "https://example.com/bot"
            verify = "none"
            patterns = ["ExampleBot"]
            vat = "AI_AGENT"
            act = "ACT-1"
        "#;
        let other = KnownAgents::read("other.toml", other).expect("valid");
        current.replace(other.clone());
        assert!(current.load().recognize(gptbot).is_none());
        let fresh = CurrentRecognizer::default();
        fresh.replace(other);
        assert!(fresh.load().recognize(gptbot).is_none());
    }
}
