//! What software that is sold with an app needs beyond licenses: the app as it knows it, sessions,
//! throttles, offline files.

mod terms;

pub use terms::SoftwareTerms;
