//! The medley command line: a thin shell over the engine.
#![allow(
    clippy::print_stderr,
    reason = "notes and errors of a command line go to stderr"
)]

mod app;
mod args;
mod bench_args;
mod code_args;
mod commands;
mod create_args;
mod desk_args;
mod docs_args;
mod models_args;
mod output;
mod sound_args;
mod train_args;
mod video_args;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Cli, Command};
use output::{Failure, Outcome, end};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let json = std::env::args().any(|a| a == "--json");
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_usage(&error, json),
    };
    let cli = match cli.command {
        Command::Prompt(words) => {
            let line = std::env::args_os().collect();
            match commands::route::with_command(line, &words, &cli.global) {
                Err(failure) => return end(Err(failure), json),
                Ok(line) => match Cli::try_parse_from(line) {
                    Ok(cli) => cli,
                    Err(error) => return wrong_usage(&error, json),
                },
            }
        }
        command => Cli { command, ..cli },
    };
    let json = cli.global.json;
    end(run(cli), json)
}

/// Help and versions as clap prints them; wrong usage in one line.
fn wrong_usage(error: &clap::Error, json: bool) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let code = error.exit_code();
            let _ = error.print();
            ExitCode::from(u8::try_from(code).unwrap_or(2))
        }
        _ => {
            let text = error.render().to_string();
            let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
            let first = lines
                .next()
                .unwrap_or("wrong usage")
                .trim_start_matches("error: ")
                .to_owned();
            let missing: Vec<&str> = lines
                .clone()
                .take_while(|l| l.starts_with('<') || l.starts_with("--"))
                .collect();
            let tip = lines
                .find_map(|l| l.strip_prefix("tip: "))
                .map(str::to_owned);
            let message = if missing.is_empty() {
                first
            } else {
                format!("{first} {}", missing.join(" "))
            };
            let hint = tip.unwrap_or_else(|| "see --help".into());
            let report =
                medley_types::ErrorReport::new(medley_types::ErrorCode::InvalidRequest, message)
                    .with_hint(hint);
            end(Err(Failure::Usage(report)), json)
        }
    }
}

fn run(cli: Cli) -> Outcome {
    let global = cli.global;
    if let Command::ReadDocument { format } = &cli.command {
        return commands::docs::read(format);
    }
    app::prepare(&global)?;
    match cli.command {
        Command::Text(args) => commands::text::run(&args, &global),
        Command::Create(args) => commands::create::run(&args, &global),
        Command::Chat(args) => commands::chat::run(&args, &global),
        Command::Code(args) => commands::code::run(&args, &global),
        Command::Image(args) => commands::image::run(&args, &global),
        Command::Music(args) => commands::music::run(&args, &global),
        Command::Video(args) => commands::video::run(&args, &global),
        Command::Speech(args) => commands::speech::run(&args, &global),
        Command::Transcribe(args) => commands::transcribe::run(&args, &global),
        Command::Embed(args) => commands::embed::run(&args, &global),
        Command::Docs(command) => commands::docs::run(&command, &global),
        Command::Desk(command) => commands::desk::run(&command, &global),
        Command::Ask(args) => commands::ask::run(&args, &global),
        Command::ReadDocument { format } => commands::docs::read(&format),
        Command::Serve(args) => commands::serve::run(&args, &global),
        Command::Keys(command) => commands::keys::run(&command, &global),
        Command::Remake(args) => commands::remake::run(&args, &global),
        Command::Inspect(args) => commands::inspect::run(&args, &global),
        Command::Models(command) => commands::models::run(command, &global),
        Command::Train(command) => commands::train::run(command, &global),
        Command::Bench(command) => commands::bench::run(command, &global),
        Command::Doctor => commands::doctor::run(&global),
        Command::Completions { shell } => commands::help::completions(shell),
        Command::Man => commands::help::man(),
        Command::HelpMarkdown => commands::help::markdown(),
        Command::Prompt(_) => Err(Failure::usage("a command is missing")),
    }
}
