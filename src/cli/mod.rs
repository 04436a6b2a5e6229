//! The commands. One file each; every one ends with 0 done, 1 failed check, 2 usage or configuration, 3 I/O.

mod alert;
mod audit_files;
mod channels;
mod client;
mod config;
mod configured;
mod dead_letter;
mod governor;
mod halt;
mod journal;
mod kaizen;
mod load;
mod log;
mod message_keys;
mod metrics;
mod monitoring;
mod output;
mod pages;
mod parts;
mod policy;
mod privacy;
mod progress;
mod receipts;
mod reload;
mod reloader;
mod request;
mod roles;
mod route;
mod rules;
mod serve;
mod sign;
mod signal;
mod status;
mod system_signals;
mod tap;
mod targets;
mod telemetry;
mod top;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::diagnostics;
use crate::line::SystemOrders;
use crate::logging;
use output::Failure;

/// Verifies signed signals, makes them durable, decides on them, acts, and leaves a proof of every decision.
#[derive(Debug, Parser)]
#[command(name = "gemba", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the line
    Serve(serve::Serve),
    /// Drive a running node with signed signals and measure it
    Load(Box<load::Load>),
    /// Print the headers that sign a body, ready for `curl -H @-`
    Sign(sign::Sign),
    /// Look at the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Have a running node read its configuration anew
    Reload(reload::Reload),
    /// Say how a running node does
    Status(status::Status),
    /// Tell the story of a signal of a running node
    #[command(subcommand)]
    Signal(signal::Command),
    /// Look at the receipts of a running node
    #[command(subcommand)]
    Receipts(receipts::Command),
    /// See what people are told of, acknowledge it, close it
    #[command(subcommand)]
    Alert(alert::Command),
    /// Hold back calls for a time
    #[command(subcommand)]
    Silence(alert::Silence),
    /// Show what people, rules and configuration changed, the newest first
    Audit(receipts::Audit),
    /// Look at and steer the governors of a running node
    #[command(subcommand)]
    Governor(governor::Command),
    /// Look at what operators halted, and at what a halt would hold up
    #[command(subcommand)]
    Halt(halt::Command),
    /// Halt or resume the whole line of a running node
    #[command(subcommand)]
    Line(halt::Line),
    /// Halt or resume one tenant of a running node
    #[command(subcommand)]
    Tenant(halt::Tenant),
    /// Halt or resume one target of a running node
    #[command(subcommand)]
    Target(halt::Target),
    /// Look at orders that wait for a second person, approve and refuse them
    #[command(subcommand)]
    Request(request::Command),
    /// Look at, replay and discard the dead letters of a running node
    #[command(subcommand, name = "deadletter")]
    DeadLetter(dead_letter::Command),
    /// Look at what a running node tells of itself, and change it
    #[command(subcommand)]
    Log(log::Command),
    /// Show signals of a running node as they are decided, without their secrets
    Tap(tap::Tap),
    /// Print the reference of all metrics
    Metrics(metrics::Metrics),
    /// Record what a running node measures, say what to improve next, and whether a change helped
    #[command(subcommand)]
    Kaizen(kaizen::Command),
    /// Watch a running node in this terminal: its line, its stages, tenants, rules and targets
    Top(top::Top),
    /// Print Prometheus rules for a node: objectives, how fast their budgets burn, and alerts
    Rules(monitoring::Monitoring),
    /// Print a Grafana dashboard for a node
    Dashboards(monitoring::Monitoring),
    /// Check, test and compare policy packs
    #[command(subcommand)]
    Policy(policy::Command),
    /// Look at the routes of alerts
    #[command(subcommand)]
    Route(route::Command),
    /// Look at and mend the journal of a stopped node
    #[command(subcommand)]
    Journal(journal::Command),
    /// Print completions for a shell
    Completions {
        /// Which one
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Runs the command that the arguments name.
pub fn run() -> ExitCode {
    logging::start(logging::Settings::default());
    let prepared = std::env::args_os().nth(1).is_some_and(|command| command == "serve").then(prepare);
    let orders = match prepared.transpose() {
        Ok(orders) => orders,
        Err(failure) => return failure.report(),
    };
    let command = Cli::parse().command;
    // A report of a load test is the user's own, as readable as the user wants it.
    if !matches!(command, Command::Load(_)) {
        privacy::close_files();
    }
    privacy::close_memory();
    let result = match command {
        Command::Serve(serve) => orders.map_or_else(prepare, Ok).and_then(|orders| serve.run(&orders)),
        Command::Load(load) => load.run(),
        Command::Sign(sign) => sign.run(),
        Command::Config(command) => command.run(),
        Command::Reload(reload) => reload.run(),
        Command::Status(status) => status.run(),
        Command::Signal(command) => command.run(),
        Command::Receipts(command) => command.run(),
        Command::Alert(command) => command.run(),
        Command::Silence(command) => command.run(),
        Command::Audit(audit) => audit.run(),
        Command::Governor(command) => command.run(),
        Command::Halt(command) => command.run(),
        Command::Line(command) => command.run(),
        Command::Tenant(command) => command.run(),
        Command::Target(command) => command.run(),
        Command::Request(command) => command.run(),
        Command::DeadLetter(command) => command.run(),
        Command::Log(command) => command.run(),
        Command::Kaizen(command) => command.run(),
        Command::Top(top) => top.run(),
        Command::Tap(tap) => tap.run(),
        Command::Metrics(metrics) => metrics.run(),
        Command::Rules(monitoring) => monitoring.rules(),
        Command::Dashboards(monitoring) => monitoring.dashboards(),
        Command::Policy(command) => command.run(),
        Command::Route(command) => command.run(),
        Command::Journal(command) => command.run(),
        Command::Completions { shell } => completions(shell),
        Command::Man => manual(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// What a process that stays needs first: signals are heard and standard error cannot hold it up.
fn prepare() -> Result<SystemOrders, Failure> {
    let orders = system_signals::catch()?;
    diagnostics::start().map_err(Failure::io)?;
    logging::tell_of_panics();
    Ok(orders)
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "gemba", &mut text);
    output::print(&text)
}

fn manual() -> Result<(), Failure> {
    let mut text = Vec::new();
    let man = clap_mangen::Man::new(Cli::command());
    man.render(&mut text).map_err(Failure::io)?;
    output::print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every argument of a command and of those below it that has no help.
    fn silent(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        let arguments = command.get_arguments().filter(|argument| argument.get_help().is_none());
        found.extend(arguments.map(|argument| format!("{path} {}", argument.get_id())));
        for below in command.get_subcommands() {
            silent(below, &format!("{path} {}", below.get_name()), found);
        }
    }

    #[test]
    fn every_argument_says_what_it_is() {
        let mut found = Vec::new();
        silent(&Cli::command(), "gemba", &mut found);
        assert!(found.is_empty(), "{found:#?}");
    }
}
