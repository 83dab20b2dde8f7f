//! Phonemes of other languages, by the program [espeak-ng](https://github.com/espeak-ng/espeak-ng) where it is installed.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use unicode_normalization::UnicodeNormalization;

use medley_tokenize::english::{Spoken, Utterance};

use crate::PipelineError;

/// The program's name; a path to it may stand in this variable.
const PROGRAM: &str = "espeak-ng";
const VARIABLE: &str = "MEDLEY_ESPEAK";
/// Marks between which a voice breathes.
const MARKS: [char; 8] = [',', ';', ':', '.', '!', '?', '…', '—'];

/// One sentence in this voice of espeak-ng, as it is said.
pub(super) fn speak(sentence: &str, voice: &str) -> Result<Utterance, PipelineError> {
    let mut words = Vec::new();
    // The program says nothing of marks, so that they are kept here.
    for part in parts(sentence) {
        let mark = part.chars().last().filter(|c| MARKS.contains(c));
        let text = part.trim_end_matches(MARKS);
        if text.chars().any(char::is_alphanumeric) {
            let said = phonemes(text, voice)?;
            let said: Vec<&str> = said.split_whitespace().collect();
            let written: Vec<&str> = text.split_whitespace().collect();
            for (i, phonemes) in said.iter().enumerate() {
                let same = said.len() == written.len();
                words.push(Spoken {
                    text: if same { written[i].into() } else { "x".into() },
                    phonemes: (*phonemes).to_owned(),
                    space: i + 1 < said.len() || mark.is_none(),
                });
            }
        }
        if let Some(mark) = mark {
            let phonemes = match mark {
                '…' => '.',
                '—' => ',',
                other => other,
            };
            words.push(Spoken {
                text: mark.to_string(),
                phonemes: phonemes.to_string(),
                space: true,
            });
        }
    }
    Ok(Utterance {
        text: sentence.to_owned(),
        words,
        skipped: Vec::new(),
    })
}

/// Bytes of a part at most: the program tears longer lines in the middle of a word, and a pipe takes more than this at
/// once, so that neither side waits for the other.
const LONGEST: usize = 800;

/// A sentence, cut behind marks that end a word and, where it is long, between words.
fn parts(sentence: &str) -> Vec<&str> {
    let (mut parts, mut from, mut space) = (Vec::new(), 0, 0);
    let mut all = sentence.char_indices().peekable();
    while let Some((at, c)) = all.next() {
        let end = at + c.len_utf8();
        let closes = all
            .peek()
            .is_none_or(|(_, next)| next.is_whitespace() || MARKS.contains(next));
        if c.is_whitespace() {
            space = end;
        }
        let cut = match MARKS.contains(&c) && (closes || "…—".contains(c)) {
            true => end,
            false if end - from < LONGEST => continue,
            false if space > from => space,
            false => end,
        };
        parts.push(&sentence[from..cut]);
        from = cut;
    }
    parts.push(&sentence[from..]);
    parts.retain(|part| !part.is_empty());
    parts
}

fn phonemes(text: &str, voice: &str) -> Result<String, PipelineError> {
    let program = std::env::var_os(VARIABLE).unwrap_or_else(|| PROGRAM.into());
    let failed = |what: String| PipelineError::InvalidRequest(what);
    let child = Command::new(&program)
        .args(["-q", "--ipa", "-b", "1", "-v", voice])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| {
            failed(format!(
                "this voice speaks {voice}, whose phonemes come from the program {PROGRAM}, which cannot be run ({e}); \
                 install it (`apt install espeak-ng`, `brew install espeak-ng`) or name it in {VARIABLE}"
            ))
        })?;
    let said = said_within(child, text, PATIENCE)
        .map_err(|problem| failed(format!("{PROGRAM} for the language {voice}: {problem}")))?;
    Ok(plain(&said))
}

/// How long the program may take for one part of a sentence.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most bytes that it may say of one.
const MOST: u64 = 1 << 20;

/// What a program prints of a text; or why it prints nothing. One that takes too long is ended.
fn said_within(mut child: Child, text: &str, patience: Duration) -> Result<String, String> {
    let until = Instant::now() + patience;
    if let Some(mut input) = child.stdin.take() {
        // A program that ended early says why below.
        let _ = input.write_all(text.as_bytes());
    }
    let (out, problems) = (
        read_aside(child.stdout.take()),
        read_aside(child.stderr.take()),
    );
    let left = || until.saturating_duration_since(Instant::now());
    let said = out.recv_timeout(left());
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if left().is_zero() || said.is_err() => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it took longer than {} s", patience.as_secs()));
            }
            Ok(None) => thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error.to_string()),
        }
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    match status.success() {
        true => Ok(text(said.unwrap_or_default())),
        false => {
            let why = text(problems.recv_timeout(left()).unwrap_or_default());
            Err(why.lines().next().unwrap_or("it gave no reason").to_owned())
        }
    }
}

/// All that comes out of a pipe, read by a thread of its own.
fn read_aside(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.take(MOST).read_to_end(&mut all);
        }
        let _ = sender.send(all);
    });
    receiver
}

/// Without the signs that the program puts between and around phonemes, and where it changes the language.
fn plain(said: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in said.chars() {
        match c {
            '(' => inside = true,
            ')' => inside = false,
            '\u{200d}' | '_' => {}
            '\n' | '\r' => out.push(' '),
            other if !inside => out.push(other),
            _ => {}
        }
    }
    // Voices are trained on letters and their marks apart.
    out.trim().nfd().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_the_program_are_taken_out() {
        assert_eq!(plain("(en)həlˈoʊ(de)\nvˈɛlt\n"), "həlˈoʊ vˈɛlt");
        assert_eq!(plain("t\u{200d}ʃ"), "tʃ");
        assert_eq!(plain("ɪç"), "ɪc\u{327}");
    }

    #[cfg(unix)]
    #[test]
    fn programs_that_never_end_are_ended() {
        let run = |script: &str| {
            let child = Command::new("sh")
                .args(["-c", script])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn();
            let Ok(child) = child else {
                panic!("there is a shell")
            };
            said_within(child, "text", Duration::from_secs(1))
        };
        assert_eq!(run("cat").as_deref(), Ok("text"));
        assert_eq!(run("echo so >&2; exit 3"), Err("so".into()));
        let start = Instant::now();
        for script in ["sleep 60", "exec 1>&-; sleep 60"] {
            let Err(problem) = run(script) else {
                panic!("it never ends")
            };
            assert!(problem.contains("longer than 1 s"), "{problem}");
        }
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn numbers_and_words_stay_whole() {
        let found = parts("Es kostet 3,50 Euro, um 10:30 z.B. heute…ja.");
        assert_eq!(
            found,
            ["Es kostet 3,50 Euro,", " um 10:30 z.B.", " heute…", "ja."]
        );
        let long = "Wort ".repeat(2000);
        let found = parts(&long);
        assert!(
            found
                .iter()
                .all(|part| part.len() <= LONGEST && part.ends_with("Wort "))
        );
        assert_eq!(found.concat(), long);
    }

    #[test]
    fn marks_stay_where_they_are() {
        let said = speak("... !", "de").unwrap_or_default();
        let marks: Vec<&str> = said.words.iter().map(|w| w.phonemes.as_str()).collect();
        assert_eq!(marks, [".", ".", ".", "!"]);
    }
}
