//! A prompt without a command: which one it stands for.

use std::ffi::OsString;
use std::path::Path;

use clap::CommandFactory;
use medley_engine::route::{Destination, Route, Router};

use crate::app::store;

use crate::args::{Cli, Global};
use crate::output::{Failure, Outcome, note};

/// The command line that a prompt without a command stands for. Flags that only some commands have, and the ending of
/// the output file, leave only those to choose from; the words tell the rest. The prompt is the first of the last
/// `words` of `line`; flags may stand around it.
pub fn with_command(
    mut line: Vec<OsString>,
    words: &[String],
    global: &Global,
) -> Outcome<Vec<OsString>> {
    let (prompt, flags) = match words.split_first() {
        Some((prompt, flags)) => (prompt.as_str(), flags),
        None => ("", words),
    };
    if !prompt.trim().contains(char::is_whitespace) {
        return Err(Failure::usage(format!(
            "unrecognized subcommand '{prompt}'; a prompt without a command needs more than one word (see --help)"
        )));
    }
    let at = line.len() - words.len();
    let command = match chosen(prompt, flags) {
        Some(route) => {
            line[at] = route.prompt.into();
            route.destination.as_str()
        }
        None => "code",
    };
    note(global, &format!("{command}:"));
    line.insert(at, command.into());
    Ok(line)
}

/// Where the prompt goes; nothing where the flags are those of `code` alone.
fn chosen(prompt: &str, flags: &[String]) -> Option<Route> {
    // Without the bundled encoder the words decide alone.
    let router = store()
        .map(|store| Router::open(&store))
        .unwrap_or_default();
    let cli = Cli::command();
    let names: Vec<&str> = flags
        .iter()
        .filter_map(|flag| flag.strip_prefix("--"))
        .map(|flag| flag.split_once('=').map_or(flag, |(name, _)| name))
        .filter(|name| !name.is_empty())
        .filter(|name| !is_global(&cli, name))
        .collect();
    let able: Vec<Destination> = Destination::ALL
        .into_iter()
        .filter(|destination| has_flags(&cli, destination.as_str(), &names))
        .collect();
    if able.is_empty() {
        return (!has_flags(&cli, "code", &names)).then(|| router.route(prompt));
    }
    let written: Vec<Destination> = match output(flags).and_then(made_by) {
        Some(makers) => able
            .iter()
            .copied()
            .filter(|d| makers.contains(d))
            .collect(),
        None => Vec::new(),
    };
    router.route_among(prompt, if written.is_empty() { &able } else { &written })
}

fn is_global(cli: &clap::Command, name: &str) -> bool {
    cli.get_arguments().any(|arg| arg.get_long() == Some(name))
}

/// Whether a command takes all of these flags.
fn has_flags(cli: &clap::Command, command: &str, names: &[&str]) -> bool {
    let Some(command) = cli.find_subcommand(command) else {
        return names.is_empty();
    };
    let takes = |name: &&str| {
        command
            .get_arguments()
            .any(|arg| arg.get_long() == Some(name))
    };
    names.iter().all(takes)
}

/// The file that `-o` or `--output` names.
fn output(flags: &[String]) -> Option<&Path> {
    let mut flags = flags.iter().map(String::as_str);
    while let Some(flag) = flags.next() {
        let file = match flag {
            "-o" | "--output" => flags.next(),
            flag => flag
                .strip_prefix("--output=")
                .or_else(|| flag.strip_prefix("-o")),
        };
        if let Some(file) = file {
            return Some(Path::new(file.trim_start_matches('=')));
        }
    }
    None
}

/// What makes files with the ending of this one.
fn made_by(file: &Path) -> Option<&'static [Destination]> {
    let ending = file.extension()?.to_str()?.to_ascii_lowercase();
    Some(match ending.as_str() {
        "txt" | "md" => &[Destination::Text],
        "jpg" | "jpeg" => &[Destination::Image],
        "png" | "webp" => &[Destination::Image, Destination::Video],
        "mp4" | "gif" => &[Destination::Video],
        "wav" | "flac" | "mp3" | "opus" => &[Destination::Speech, Destination::Music],
        "mid" | "midi" | "abc" => &[Destination::Music],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(prompt: &str, flags: &[&str]) -> &'static str {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        chosen(prompt, &flags).map_or("code", |route| route.destination.as_str())
    }

    #[test]
    fn flags_and_endings_win_over_words() {
        for (prompt, flags, wanted) in [
            ("a red apple", &[][..], "image"),
            ("a red apple", &["--frames", "8"], "video"),
            ("a red apple", &["--voice=amy"], "speech"),
            ("a red apple", &["--seconds", "4"], "music"),
            ("write a poem about rain", &["--size", "64x64"], "image"),
            ("a video of rain", &["--size", "64x64"], "video"),
            ("a red apple", &["--max-tokens", "4"], "text"),
            ("sort this list", &["--fix"], "code"),
            ("a red apple", &["-o", "apple.mp4"], "video"),
            ("a red apple", &["-oapple.mid"], "music"),
            ("say good morning", &["--output=a.wav"], "speech"),
            (
                "a waltz",
                &["--output=a.wav", "--seed", "1", "--json"],
                "music",
            ),
            ("a red apple", &["--no-such-flag"], "image"),
        ] {
            assert_eq!(command(prompt, flags), wanted, "{prompt} {flags:?}");
        }
    }
}
