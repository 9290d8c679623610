//! The `kad-actor` command: parse, run, exit code.

use std::process::ExitCode;

use kad_actor::{app, cli};

fn main() -> ExitCode {
    cli::main(std::env::args_os(), |config| app::run(config).map_err(|error| error.to_string()))
}
