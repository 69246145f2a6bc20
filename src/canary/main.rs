//! The `canary` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    canary::main()
}
