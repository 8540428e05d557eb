#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    calico_upgrader::cli::main()
}
