//! The `smtp` command: sends mail, finds out how a server is to be reached, and serves as a test server.
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
mod probe;
mod proxy;
mod runtime;
mod send;
mod serve;
mod settings;
mod signals;
mod url;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Cli, Command};
use failure::{Failure, status};

fn main() -> ExitCode {
    let status = match Cli::try_parse() {
        Ok(Cli { command: Command::Send(args) }) => send::run(*args),
        Ok(Cli { command: Command::Probe(args) }) => probe::run(*args),
        Ok(Cli { command: Command::Serve(args) }) => serve::run(&args),
        Err(error) => refused(&error),
    };
    ExitCode::from(status)
}

/// What clap has to say: help and version are no failure.
fn refused(error: &clap::Error) -> u8 {
    if !error.use_stderr() {
        let _ = error.print();
        return status::OK;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return status::USAGE;
    }
    // Clap says more, over several lines; the first paragraph is what is wrong.
    let text = error.to_string();
    let first: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let failure = Failure::usage(first.join(" ").trim_start_matches("error: "));
    output::human::print_failure(&failure);
    // Who asked for JSON gets it on every failure; the options were not understood, so they are looked for as they stand.
    let mut given = std::env::args_os().skip(1);
    let command = given.next();
    if given.any(|option| option == "--json") {
        match command {
            Some(command) if command == "send" => output::json::print(&output::Summary::failed(failure)),
            Some(command) if command == "probe" => probe::print_failure(failure),
            Some(command) if command == "serve" => serve::show::failed(&failure),
            _ => {}
        }
    }
    status::USAGE
}
