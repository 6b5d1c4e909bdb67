//! Texts that help pages share.

/// Text for the end of a help page.
macro_rules! examples {
    ($($line:literal),+ $(,)?) => {
        concat!("Examples:", $("\n  ", $line),+)
    };
}

pub(crate) use examples;
