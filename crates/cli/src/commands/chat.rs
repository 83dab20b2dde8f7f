use std::io::IsTerminal;

use medley_engine::{Run, Session, TextModel};
use medley_types::{Event, FinishReason, Message, Prompt, TextRequest};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::app::{DEFAULT_TEXT, adapters, cancel_token, fresh_seed, load_for, with_adapters};
use crate::args::{ChatArgs, Global};
use crate::commands::text::{check, request, speculation};
use crate::output::{Failure, Outcome, note, print_now};

const HELP: &str = "\
/help            this list
/system TEXT     set what the model is told first, and begin anew
/clear           begin anew
/undo            take the last question and answer back
/retry           answer the last question again
/save FILE       write the talk to a file as JSON
/bye             leave (also Ctrl-D)
A line that ends with \\ goes on in the next. Lines between two lines of \"\"\" are one message.
Ctrl-C stops an answer.";

/// `medley chat`
pub fn run(args: &ChatArgs, global: &Global) -> Outcome {
    let (loras, adapters) = adapters(&args.adapters)?;
    let template = TextRequest {
        loras,
        model: args.model.clone().unwrap_or_else(|| DEFAULT_TEXT.into()),
        speculation: speculation(&args.speculation, false)?,
        ..request(Prompt::Messages(Vec::new()), &args.sampling)
    };
    check(&template)?;
    let model = load_for(&template, with_adapters(adapters), global)?;
    let mut editor = DefaultEditor::new()
        .map_err(|e| Failure::usage(format!("this terminal cannot be read: {e}")))?;
    let history = medley_engine::Home::from_env()
        .ok()
        .map(|h| h.root().join("chat-history.txt"));
    if let Some(path) = &history {
        let _ = editor.load_history(path);
    }
    if std::io::stdin().is_terminal() {
        note(
            global,
            &format!(
                "{} · /help lists the commands, Ctrl-D leaves",
                template.model
            ),
        );
    }
    let mut talk = Talk {
        session: model.session(),
        model: &model,
        template,
        messages: Vec::new(),
        system: args.system.clone(),
        seeded: args.sampling.seed.is_some(),
    };
    talk.clear();
    while let Some(text) = read_message(&mut editor)? {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            continue;
        }
        let _ = editor.add_history_entry(trimmed);
        match trimmed
            .strip_prefix('/')
            .map(|c| c.split_once(' ').unwrap_or((c, "")))
        {
            Some(("bye" | "exit" | "quit", _)) => break,
            Some(command) => talk.command(command.0, command.1.trim(), global)?,
            None => talk.ask(trimmed, global)?,
        }
    }
    if let Some(path) = &history {
        let _ = path.parent().map(std::fs::create_dir_all);
        let _ = editor.save_history(path);
    }
    Ok(())
}

/// One message, which may have several lines; none at the end of the input.
fn read_message(editor: &mut DefaultEditor) -> Outcome<Option<String>> {
    let mut lines: Vec<String> = Vec::new();
    let mut quoted = false;
    loop {
        let mark = if lines.is_empty() && !quoted {
            "> "
        } else {
            "… "
        };
        match editor.readline(mark) {
            Ok(line) if line.trim() == "\"\"\"" => {
                if quoted {
                    return Ok(Some(lines.join("\n")));
                }
                quoted = true;
            }
            Ok(line) if quoted => lines.push(line),
            Ok(line) => match line.strip_suffix('\\') {
                Some(part) => lines.push(part.to_owned()),
                None => {
                    lines.push(line);
                    return Ok(Some(lines.join("\n")));
                }
            },
            Err(ReadlineError::Interrupted) => {
                lines.clear();
                quoted = false;
            }
            Err(ReadlineError::Eof) => {
                return Ok(if lines.is_empty() {
                    None
                } else {
                    Some(lines.join("\n"))
                });
            }
            Err(error) => {
                return Err(Failure::usage(format!(
                    "the terminal cannot be read: {error}"
                )));
            }
        }
    }
}

/// A conversation with what the model has read of it.
struct Talk<'m> {
    model: &'m TextModel,
    session: Session,
    template: TextRequest,
    messages: Vec<Message>,
    system: Option<String>,
    seeded: bool,
}

impl Talk<'_> {
    fn clear(&mut self) {
        self.messages = self
            .system
            .iter()
            .map(|s| Message::new("system", s))
            .collect();
    }

    fn command(&mut self, name: &str, rest: &str, global: &Global) -> Outcome {
        match name {
            "help" => print_now(&format!("{HELP}\n"))?,
            "clear" => self.clear(),
            "system" => {
                self.system = (!rest.is_empty()).then(|| rest.to_owned());
                self.clear();
            }
            "undo" => {
                self.take_back();
            }
            "retry" => {
                if let Some(question) = self.take_back() {
                    return self.ask(&question, global);
                }
                note(global, "there is no question yet");
            }
            "save" if rest.is_empty() => note(global, "/save needs a file name"),
            "save" => {
                let text = serde_json::to_string_pretty(&self.messages).unwrap_or_default();
                match medley_engine::work_file::write(rest.as_ref(), text.as_bytes()) {
                    Ok(()) => note(global, rest),
                    Err(error) => note(global, &error.report().message),
                }
            }
            other => note(global, &format!("/{other} is no command; /help lists them")),
        }
        Ok(())
    }

    /// Takes the last question and its answer back, and gives the question.
    fn take_back(&mut self) -> Option<String> {
        let at = self.messages.iter().rposition(|m| m.role == "user")?;
        let question = self.messages[at].content.clone();
        self.messages.truncate(at);
        Some(question)
    }

    fn ask(&mut self, question: &str, global: &Global) -> Outcome {
        self.messages.push(Message::new("user", question));
        let seed = if self.seeded {
            self.template.seed
        } else {
            fresh_seed()
        };
        let request = TextRequest {
            prompt: Prompt::Messages(self.messages.clone()),
            seed,
            ..self.template.clone()
        };
        let cancel = cancel_token();
        cancel.reset();
        let mut closed = false;
        let stop = cancel.clone();
        let mut run = Run::new(cancel.clone(), |event| {
            if let Event::Chunk { text } = event
                && print_now(&text).is_err()
            {
                closed = true;
                stop.cancel();
            }
        });
        let work = self
            .model
            .generate_in(&mut self.session, &request, &mut run);
        drop(run);
        cancel.reset();
        if closed {
            return Err(Failure::Closed);
        }
        match work {
            Ok(work) => {
                print_now("\n")?;
                if work.finish_reason == FinishReason::Cancelled {
                    note(global, "(stopped)");
                }
                self.messages.push(Message::new("assistant", work.text));
            }
            Err(error) => {
                self.messages.pop();
                let report = error.report();
                note(
                    global,
                    &format!(
                        "{}{}",
                        report.message,
                        report.hint.map(|h| format!(" ({h})")).unwrap_or_default()
                    ),
                );
            }
        }
        Ok(())
    }
}
