//! How agents pay for a call: the headers of pay per crawl, and x402.

pub mod crawler;
pub mod x402;
