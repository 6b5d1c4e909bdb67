//! The texts that help pages share.

/// Makes the text for the end of a help page.
macro_rules! examples {
    ($($line:literal),+ $(,)?) => {
        concat!("Examples:", $("\n  ", $line),+)
    };
}

pub(crate) use examples;
