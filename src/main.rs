//! The `kad-actor` command: parse, run, exit code.

fn main() {}
