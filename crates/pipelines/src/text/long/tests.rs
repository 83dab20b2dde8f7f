use std::cell::RefCell;

use medley_types::{Constraint, Sampling};

use super::*;

/// Counts words as tokens; answers with the material in capitals, or with its first four words.
struct Stub {
    context: usize,
    asked: RefCell<Vec<TextRequest>>,
    /// Ends the run at this request.
    cancels: Option<usize>,
}

impl Stub {
    fn new(context: usize) -> Self {
        Self {
            context,
            asked: RefCell::default(),
            cancels: None,
        }
    }
}

impl Writer for Stub {
    fn tokens(&self, messages: &[Message]) -> Result<usize, PipelineError> {
        // The role and the examples cost nothing, so that a context can be small.
        let last = messages.last().map_or("", |m| m.content.as_str());
        Ok(last.split_whitespace().count())
    }

    fn context(&self) -> usize {
        self.context
    }

    fn write(&self, request: &TextRequest, run: &mut Run) -> Result<TextWork, PipelineError> {
        self.asked.borrow_mut().push(request.clone());
        if self.cancels == Some(self.asked.borrow().len()) {
            run.cancel.cancel();
        }
        let Prompt::Messages(messages) = &request.prompt else {
            panic!("a task is a conversation");
        };
        let asked = &messages.last().unwrap().content;
        let (task, material) = asked.split_once("\n\n").unwrap();
        let text = if task.starts_with("Summarize") {
            let words: Vec<&str> = material.split_whitespace().take(4).collect();
            format!("{}.", words.join(" "))
        } else {
            material.to_uppercase()
        };
        run.emit(Event::Chunk { text: text.clone() });
        let finish_reason = match run.cancel.is_cancelled() {
            true => FinishReason::Cancelled,
            false => FinishReason::Stop,
        };
        Ok(TextWork {
            tokens: text.split_whitespace().count(),
            text,
            finish_reason,
            ..Total::default().given(String::new(), FinishReason::Stop)
        })
    }
}

fn book() -> String {
    let chapter = |n: usize| {
        let lines: Vec<String> = (0..6)
            .map(|line| format!("In chapter {n} line {line} says something. It goes on a little."))
            .collect();
        format!("# Chapter {n}\n\n{}", lines.join("\n\n"))
    };
    (1..=12).map(chapter).collect::<Vec<_>>().join("\n\n\n")
}

fn template() -> TextRequest {
    TextRequest::new("stub", Prompt::Messages(Vec::new()), 7)
}

#[test]
fn parts_are_all_of_the_text_in_order() {
    let texts = [
        book(),
        "word ".repeat(500),
        "x".repeat(900),
        "日本".repeat(300),
        "a.\n\n\n\nb".into(),
        "é".into(),
    ];
    for text in &texts {
        for most in [1, 7, 40] {
            let fits = |part: &str| part.len() <= most * 4;
            let found = parts(text, &fits);
            assert_eq!(found.concat(), *text);
            assert!(
                found
                    .iter()
                    .all(|part| fits(part) || part.chars().nth(1).is_none()),
                "{found:?}"
            );
        }
    }
}

#[test]
fn paragraphs_stay_whole_where_they_fit() {
    let text = book();
    for part in parts(&text, &|part: &str| part.len() <= 400) {
        assert!(part.trim_end().ends_with('.'), "{part:?}");
    }
}

#[test]
fn what_keeps_its_order_is_joined_with_nothing_lost() {
    let stub = Stub::new(120);
    let task: Task = "translate:Shouting".parse().unwrap();
    let asked = Asked {
        task: &task,
        system: None,
    };
    let text = book();
    assert!(!asked.fits(&stub, &text).unwrap());
    let (mut steps, mut chunks) = (Vec::new(), String::new());
    let work = {
        let mut run = Run::new(Default::default(), |event| match event {
            Event::Progress { done, total, .. } => steps.push((done, total)),
            Event::Chunk { text } => chunks.push_str(&text),
            _ => {}
        });
        asked
            .write_long(&stub, &text, &template(), &mut run)
            .unwrap()
    };
    assert_eq!(work.text, text.to_uppercase());
    assert_eq!(chunks, work.text);
    let count = stub.asked.borrow().len();
    assert!(count > 5, "{count}");
    let wanted: Vec<_> = (0..=count).map(|done| (done, count)).collect();
    assert_eq!(steps, wanted);
    let seeds: Vec<u64> = stub.asked.borrow().iter().map(|r| r.seed).collect();
    assert_eq!(seeds, (0..count as u64).map(|n| 7 + n).collect::<Vec<_>>());
}

#[test]
fn what_is_summarised_is_summarised_again_until_it_fits() {
    let stub = Stub::new(260);
    let asked = Asked {
        task: &Task::Headline,
        system: Some("Be brief."),
    };
    let settings = TextRequest {
        sampling: Sampling {
            temperature: 0.1,
            ..Sampling::default()
        },
        ..template()
    };
    let work = asked
        .write_long(&stub, &book(), &settings, &mut Run::quiet())
        .unwrap();
    let requests = stub.asked.borrow();
    let (last, parts) = requests.split_last().unwrap();
    assert!(parts.len() > 3);
    let content = |r: &TextRequest| match &r.prompt {
        Prompt::Messages(messages) => messages.last().unwrap().content.clone(),
        _ => String::new(),
    };
    assert!(parts.iter().all(|r| content(r).starts_with("Summarize")));
    assert!(content(last).starts_with("Write a headline"));
    // The summaries come in the order of their parts.
    let places: Vec<usize> = [1, 4, 9]
        .iter()
        .map(|n| work.text.find(&format!("CHAPTER {n}")).unwrap())
        .collect();
    assert!(places.is_sorted());
    assert!(matches!(last.constraint, Some(Constraint::Regex(_))));
    assert!(
        requests
            .iter()
            .all(|r| r.sampling.temperature == 0.1 && r.task.is_none())
    );
}

#[test]
fn a_cancelled_run_gives_what_was_written() {
    for (name, wanted) in [("correct", true), ("headline", false)] {
        let stub = Stub {
            cancels: Some(2),
            ..Stub::new(260)
        };
        let task: Task = name.parse().unwrap();
        let asked = Asked {
            task: &task,
            system: None,
        };
        let work = asked
            .write_long(&stub, &book(), &template(), &mut Run::quiet())
            .unwrap();
        assert_eq!(work.finish_reason, FinishReason::Cancelled);
        assert_eq!(work.text.contains("CHAPTER 1"), wanted);
        assert_eq!(stub.asked.borrow().len(), 2);
    }
}

#[test]
fn a_context_that_is_too_small_is_refused() {
    let stub = Stub::new(30);
    let asked = Asked {
        task: &Task::Faq,
        system: None,
    };
    let refused = asked
        .write_long(&stub, &book(), &template(), &mut Run::quiet())
        .unwrap_err();
    assert!(refused.to_string().contains("too small"), "{refused}");
}
