//! Measures what the embedded store costs: look-ups, leases and rollup rows per second.

fn main() {}
