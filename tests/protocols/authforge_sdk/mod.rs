//! AuthForge's own SDKs, the crate and the package for Python, and the examples of its guide, against a real gate.

mod crate_sdk;
mod devices;
mod examples;
mod lost_answers;
mod moving_in;
mod offline;
mod programs;
mod python_sdk;
mod sdk;
mod seller;
mod sessions;
mod stripe;
