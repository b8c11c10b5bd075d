//! The `smtp` command: sends mail, and serves as a test server.
//!
//! The rules of this package:
//!
//! - It uses only the public interface of the adapters; what a library cannot do with them, neither can this command.
//! - Nothing secret is printed, whatever fails.
//! - Standard output is for results, standard error for everything else; a reader that went away is no reason to fail.

mod args;
mod certificate;
mod duration;
mod embedded;
mod embedded_proxy;
mod failure;
mod message;
mod output;
mod proxy;
mod runtime;
mod send;
mod serve;
mod settings;
mod url;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use failure::{Failure, status};

fn main() -> ExitCode {
    let status = match Cli::try_parse() {
        Ok(Cli { command: Command::Send(args) }) => send::run(&args),
        Ok(Cli { command: Command::Serve(args) }) => serve::run(&args),
        Err(error) => refused(&error),
    };
    ExitCode::from(status)
}

/// What clap has to say: help and version are no failure.
fn refused(error: &clap::Error) -> u8 {
    let _ = error.print();
    if !error.use_stderr() {
        return status::OK;
    }
    // Who asked for JSON gets it on every failure; the options were not understood, so they are looked for as they stand.
    let mut given = std::env::args_os().skip(1);
    if given.next().is_some_and(|first| first == "send") && given.any(|option| option == "--json") {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        output::json::print(&output::Summary::failed(Failure::usage(first.trim_start_matches("error: "))));
    }
    status::USAGE
}
