//! What a small language model writes, made fit to be shown: several candidates of each text, those that will not do thrown
//! away, the best of the rest taken, and words of the kit where nothing is left.
//!
//! Models of a hundred million parameters repeat themselves, lose the thread and invent numbers; they also write a good line
//! now and then. So a line is chosen among many, and a paragraph is put together of whole sentences, the first of which is the
//! brief's own.

use std::collections::HashSet;

use medley_types::{Message, Prompt, Sampling, TextRequest, TextWork};

use super::kit::Example;
use super::plan::{Form, Part, Plan};
use super::prose::{
    ends_open, joined, misnames, plain_words, question, repeats, sentences, shares, shouts, tidy,
};
use super::stage::{Made, Stage};

/// Candidates for a part, short and long.
const CANDIDATES: (usize, usize) = (24, 12);

/// Examples that short texts are shown, and long ones.
const SHOWN: (usize, usize) = (5, 3);

/// How alike two texts may be, as the cosine of their vectors, before one of them is one too many.
const ALIKE: f32 = 0.86;

/// How near to the brief a text must come, as a cosine: a line, and a sentence of a paragraph.
const FAR: (f32, f32) = (0.25, 0.38);

/// What a nat of log-probability a token counts beside a cosine.
const FLUENT: f32 = 0.12;

/// Words that no offered text holds: of speakers who are not there, of other media, of models.
const NEVER: &[&str] = &[
    "i",
    "my",
    "me",
    "mine",
    "http",
    "www",
    "click",
    "lorem",
    "ai",
    "chatbot",
    "language",
    "assistant",
    "headline",
    "tagline",
    "description",
    "slogan",
    "benefit",
    "name",
    "audience",
    "tone",
    "hashtag",
    "kill",
    "die",
    "dead",
    "sex",
    "sexy",
    "drug",
    "drugs",
    "gun",
    "guns",
    "god",
    "hate",
    "stupid",
    "he",
    "she",
    "his",
    "him",
    "her",
    "sorry",
    "unfortunately",
];

/// The items of one part.
pub(super) async fn part(
    stage: &Stage,
    plan: &Plan,
    part: &Part,
    examples: &[Example],
    seed: u64,
) -> Made<Vec<String>> {
    let shown = nearest(stage, plan, examples).await?;
    let writer = Writer {
        plan,
        part,
        shown: &shown,
    };
    let usual = if writer.is_long() {
        CANDIDATES.1
    } else {
        CANDIDATES.0
    };
    let wanted = usual.max(5 * part.count);
    let requests: Vec<TextRequest> = (0..wanted)
        .map(|number| writer.request(seed.wrapping_add(number as u64)))
        .collect();
    let works = stage.write(&plan.models.text, requests).await?;
    let candidates = writer.candidates(&works);
    let chosen = writer.choose(stage, candidates).await?;
    Ok(writer.finish(chosen))
}

/// The examples, those that are most like what the plan is about last.
async fn nearest<'e>(
    stage: &Stage,
    plan: &Plan,
    examples: &'e [Example],
) -> Made<Vec<&'e Example>> {
    let mut texts = vec![format!("{}, {}", plan.name, plan.what)];
    texts.extend(examples.iter().map(|e| format!("{}, {}", e.name, e.what)));
    let mut all: Vec<&Example> = examples.iter().collect();
    if let Some(vectors) = stage.embed(&texts).await? {
        let mut near: Vec<(f32, &Example)> = vectors[1..]
            .iter()
            .map(|vector| dot(&vectors[0], vector))
            .zip(all)
            .collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        all = near.into_iter().map(|(_, example)| example).collect();
    }
    Ok(all)
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A text that may be taken.
struct Candidate {
    text: String,
    /// Mean log-probability of a token where it was written.
    fluent: f32,
}

/// The mean log-probability of a text's tokens.
fn fluency(work: &TextWork) -> f32 {
    let all = work.logprobs.iter().flatten();
    let (sum, count) = all.fold((0.0, 0), |(sum, count), token| {
        (sum + token.logprob, count + 1)
    });
    sum / count.max(1) as f32
}

struct Writer<'w> {
    plan: &'w Plan,
    part: &'w Part,
    shown: &'w [&'w Example],
}

impl Writer<'_> {
    fn is_long(&self) -> bool {
        self.part.words[1] > 24
    }

    fn request(&self, seed: u64) -> TextRequest {
        let (prompt, stop) = match self.part.like.as_str() {
            "" => (self.chat(), Vec::new()),
            like => (Prompt::Raw(self.with_examples(like)), vec!["\n".to_owned()]),
        };
        TextRequest {
            // Words of two tokens at most, and the full stops.
            max_tokens: Some(self.part.words[1] * 2 + 12),
            stop,
            logprobs: Some(0),
            sampling: Sampling {
                temperature: 0.75,
                top_p: 0.92,
                repeat_penalty: 1.08,
                dry_multiplier: 0.6,
                ..Sampling::default()
            },
            ..TextRequest::new(self.plan.models.text.clone(), prompt, seed)
        }
    }

    fn chat(&self) -> Prompt {
        Prompt::Messages(vec![
            Message::new(
                "system",
                "You write short, clear texts in plain words. You answer with the text only.",
            ),
            Message::new("user", self.part.ask.clone()),
        ])
    }

    /// The examples with a text of this kind, and the plan's own thing with none yet.
    fn with_examples(&self, like: &str) -> String {
        let with = self.shown.iter().filter(|e| e.texts.contains_key(like));
        let with: Vec<&&Example> = with.collect();
        let most = if self.is_long() { SHOWN.1 } else { SHOWN.0 };
        let mut prompt = String::new();
        for example in &with[with.len().saturating_sub(most)..] {
            for text in &example.texts[like] {
                prompt += &self.sheet(
                    &example.name,
                    &example.what,
                    &example.audience,
                    &example.tone,
                );
                prompt += &format!("{}: {text}\n\n", self.part.ask);
            }
        }
        let plan = self.plan;
        prompt += &self.sheet(&plan.name, &plan.what, &plan.audience, &plan.tone);
        prompt += &format!("{}:", self.part.ask);
        prompt
    }

    fn sheet(&self, name: &str, what: &str, audience: &str, tone: &str) -> String {
        format!("{name} is {what}. For: {audience}. Tone: {tone}.\n")
    }

    /// What of the texts may be shown, each once: lines, or sentences of paragraphs.
    fn candidates(&self, works: &[TextWork]) -> Vec<Candidate> {
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for work in works {
            let text = tidy(&work.text);
            let fluent = fluency(work);
            let pieces: Vec<String> = match self.part.form {
                Form::Line => vec![text.trim_end_matches('.').to_owned()],
                Form::List if self.is_long() => vec![joined(&self.good_sentences(&text))],
                Form::List => vec![text],
                Form::Questions => question(&text).into_iter().collect(),
                Form::Sentences => self.good_sentences(&text),
            };
            for piece in pieces {
                let text = super::brief::capital(&piece);
                if self.will_do(&text) && seen.insert(text.to_lowercase()) {
                    found.push(Candidate { text, fluent });
                }
            }
        }
        found
    }

    /// The sentences of a text up to the first that will not do: what comes after it hangs on it.
    fn good_sentences(&self, text: &str) -> Vec<String> {
        let all = sentences(text);
        all.into_iter()
            .take_while(|sentence| self.is_sound(sentence))
            .collect()
    }

    fn will_do(&self, text: &str) -> bool {
        let count = text.split_whitespace().count();
        let [least, most] = self.part.words;
        // Of a paragraph these are single sentences.
        let (least, most) = match self.part.form {
            Form::Sentences => (3, 26),
            _ => (least, most),
        };
        (least..=most).contains(&count) && self.is_sound(text)
    }

    /// Whether nothing is wrong with a text as it stands.
    fn is_sound(&self, text: &str) -> bool {
        let lower = text.to_lowercase();
        let words: Vec<&str> = lower
            .split(|c: char| !(c.is_alphanumeric() || c == '\''))
            .filter(|word| !word.is_empty())
            .collect();
        let plan = self.plan;
        let said = format!("{} {} {}", plan.brief, plan.what, plan.name);
        let said: HashSet<String> = plain_words(&said).collect();
        let odd = |c: char| !(c.is_alphanumeric() || " .,!?'’-–&%\n…é".contains(c));
        let digit = |c: char| c.is_ascii_digit();
        let number = |word: &&str| word.contains(digit) && !said.contains(*word);
        let others = self
            .shown
            .iter()
            .any(|e| lower.contains(&e.name.to_lowercase()));
        let never = |word: &&str| {
            let plain = word.split('\'').next().unwrap_or(word);
            NEVER.contains(&plain) && !said.contains(plain)
        };
        let first = text.chars().next();
        !text.chars().any(odd)
            && !text.chars().any(|c| c as u32 > 0x2030)
            && first.is_some_and(char::is_alphanumeric)
            && !words.iter().any(|word| number(word) || never(word))
            && !others
            && !repeats(&words)
            && !self.contradicts(&words)
            && !text.split_whitespace().any(shouts)
            && !misnames(text, &plan.name, &said)
            && !self.copies(&words)
            && (self.part.form == Form::Line || text.ends_with(['.', '!', '?']))
            && !ends_open(&words)
    }

    /// Whether a text says the contrary of the brief: smoke of what is smokeless, sugar of what is sugar-free; or denies where
    /// something is to be praised.
    fn contradicts(&self, words: &[&str]) -> bool {
        const DENY: &[&str] = &[
            "can't", "cannot", "don't", "doesn't", "isn't", "aren't", "won't", "not", "never",
            "nothing", "without",
        ];
        let brief = format!("{} {}", self.plan.what, self.plan.brief).to_lowercase();
        let lacks = brief
            .split(|c: char| !c.is_alphanumeric() && c != '-')
            .filter_map(|word| {
                word.strip_suffix("less")
                    .or(word.strip_suffix("-free"))
                    .map(|stem| stem.trim_end_matches('e'))
                    .filter(|stem| stem.len() > 2)
            });
        let lacks: Vec<&str> = lacks.collect();
        let said: HashSet<String> = plain_words(&brief).collect();
        let against = words.iter().enumerate().any(|(at, word)| {
            let of = lacks
                .iter()
                .any(|stem| word.starts_with(stem) && !said.contains(*word));
            let denied = at > 0 && ["no", "without", "zero"].contains(&words[at - 1]);
            of && !denied
        });
        let praised = !self.part.like.is_empty() && self.part.form != Form::Questions;
        against
            || praised
                && self.part.form != Form::Sentences
                && words.iter().any(|word| DENY.contains(word))
    }

    /// Whether five words in a row come out of an example.
    fn copies(&self, words: &[&str]) -> bool {
        let shown = self.shown.iter().flat_map(|e| e.texts.values().flatten());
        let shown: Vec<String> = shown.map(|text| text.to_lowercase()).collect();
        words.windows(4.min(words.len().max(1))).any(|run| {
            let run = run.join(" ");
            run.len() > 12 && shown.iter().any(|text| text.contains(&run))
        })
    }

    /// The best candidates, no two alike, as many as there are items; of a paragraph its sentences in the order in which they
    /// were written.
    async fn choose(&self, stage: &Stage, candidates: Vec<Candidate>) -> Made<Vec<String>> {
        let plan = self.plan;
        let about = format!("{}, {}. {}", plan.name, plan.what, plan.message);
        let mut texts = vec![about, self.part.opening.clone(), plan.what.clone()];
        texts.extend(candidates.iter().map(|candidate| candidate.text.clone()));
        let vectors = stage.embed(&texts).await?;
        let far = match self.part.form {
            Form::Sentences => FAR.1,
            _ => FAR.0,
        };
        let odd = self.odd(stage, &candidates).await?;
        // A name that means something else draws texts to that: half of what counts is the thing without its name.
        let near = |at: usize| {
            let near = |v: &Vec<Vec<f32>>| 0.5 * (dot(&v[0], &v[at + 3]) + dot(&v[2], &v[at + 3]));
            vectors.as_ref().map_or(1.0, near)
        };
        let mut scored: Vec<(f32, usize)> = (0..candidates.len())
            .filter(|&at| near(at) >= far && !odd[at])
            .map(|at| {
                let Candidate { text, fluent } = &candidates[at];
                (near(at) + self.liking(text) + FLUENT * fluent, at)
            })
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let most = match self.part.form {
            Form::Sentences => usize::MAX,
            _ => self.part.count,
        };
        let mut words = self.part.opening.split_whitespace().count();
        let mut chosen: Vec<usize> = Vec::new();
        for (_, at) in scored {
            let alike = |other: usize| {
                vectors
                    .as_ref()
                    .is_some_and(|v| dot(&v[at + 3], &v[other]) > ALIKE)
                    || shares(&candidates[at].text, &texts[other])
            };
            let opened = !self.part.opening.is_empty() && alike(1);
            if chosen.len() == most || opened || chosen.iter().any(|&other| alike(other + 3)) {
                continue;
            }
            if self.part.form == Form::Sentences {
                let more = candidates[at].text.split_whitespace().count();
                let enough = words >= self.part.words[0] && chosen.len() >= 2;
                if enough || words + more > self.part.words[1] {
                    continue;
                }
                words += more;
            }
            chosen.push(at);
        }
        if self.part.form == Form::Sentences {
            chosen.sort_unstable();
        }
        Ok(chosen
            .into_iter()
            .map(|at| candidates[at].text.clone())
            .collect())
    }

    /// Which candidates have words that the encoder's vocabulary knows only in three pieces or more, which invented words are.
    async fn odd(&self, stage: &Stage, candidates: &[Candidate]) -> Made<Vec<bool>> {
        let said = format!("{} {} {}", self.plan.name, self.plan.what, self.plan.brief);
        let said: HashSet<String> = plain_words(&said).collect();
        let all = candidates.iter().flat_map(|c| plain_words(&c.text));
        let words: Vec<String> = all
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect();
        let Some(pieces) = stage.pieces(&words).await? else {
            return Ok(vec![false; candidates.len()]);
        };
        let known = |word: &String| said.contains(word) || word.len() < 5;
        let odd = words
            .iter()
            .zip(pieces)
            .filter(|(word, pieces)| *pieces > 2 && !known(word));
        let odd: HashSet<&String> = odd.map(|(word, _)| word).collect();
        let has = |c: &Candidate| plain_words(&c.text).any(|word| odd.contains(&word));
        Ok(candidates.iter().map(has).collect())
    }

    /// What speaks for a text beside its meaning.
    fn liking(&self, text: &str) -> f32 {
        let lower = text.to_lowercase();
        let named = lower.contains(&self.plan.name.to_lowercase());
        let [least, most] = self.part.words;
        let count = text.split_whitespace().count() as f32;
        let middle = (least + most) as f32 / 2.0;
        let length = match self.part.form {
            Form::Sentences => 0.0,
            _ => -0.1 * ((count - middle).abs() / middle.max(1.0)),
        };
        // A name in a headline that stands under the name is one word lost; "and" makes lists of what should be one thought.
        let name = match self.part.form {
            Form::Line if named => -0.08,
            // It has been named, and voices say invented names as they may.
            Form::Sentences if named && !self.part.opening.is_empty() => -0.2,
            _ => 0.0,
        };
        let plain = if lower.matches(',').count() > 2 {
            -0.08
        } else {
            0.0
        };
        length + name + plain
    }

    /// The items of the part, with the kit's words where the model's did not do.
    fn finish(&self, mut chosen: Vec<String>) -> Vec<String> {
        let part = self.part;
        if part.form == Form::Sentences {
            let mut all: Vec<String> = Vec::new();
            if !part.opening.is_empty() {
                all.push(super::brief::capital(&part.opening));
            }
            all.append(&mut chosen);
            let count = |all: &[String]| {
                all.iter()
                    .map(|s| s.split_whitespace().count())
                    .sum::<usize>()
            };
            if count(&all) < part.words[0] || all.len() < 2 {
                all.push(super::brief::capital(&part.fallback[0]));
            }
            return vec![joined(&all)];
        }
        for fallback in &part.fallback {
            if chosen.len() >= part.count {
                break;
            }
            chosen.push(super::brief::capital(fallback));
        }
        chosen.truncate(part.count);
        chosen
    }
}
