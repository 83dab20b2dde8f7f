//! The forms that answers to tasks have, as regular expressions: sentences that end, the parts of an email, pairs of
//! question and answer; and no numbers but those of the material.

use super::Task;

/// Different words of the material at most that a pattern names; beyond, the text is too long to be held to its words.
const WORDS: usize = 600;

/// Numbers of the material at most that a pattern names.
const NUMBERS: usize = 300;

/// The pattern of a task's answer over some material; none where the task, or the script of the material, has no form.
pub(super) fn pattern(task: &Task, material: &str) -> Option<String> {
    if let Task::Classify(labels) = task {
        let labels = labels.split(',').map(str::trim).filter(|l| !l.is_empty());
        return Some(labels.map(escaped).collect::<Vec<_>>().join("|"));
    }
    if !has_sentences(material) {
        return None;
    }
    let numbers = Numbers::of(material);
    let sentence = |least, most| numbers.sentence(least, most);
    match task {
        Task::Summarize => Some(format!("{0}( {0}){{0,2}}", sentence(10, 240))),
        Task::Rewrite(_) => {
            let one = sentence(4, 300);
            let most = ends(material) + 2;
            Some(format!("{one}((\\n|\\n\\n| ){one}){{0,{most}}}"))
        }
        Task::Headline => headline(material),
        Task::Post => Some(post(&numbers, material)),
        Task::Email => Some(email(&numbers, material)),
        Task::Faq => faq(material),
        _ => None,
    }
}

/// Whether a text is written with letters that have cases and full stops between sentences.
fn has_sentences(material: &str) -> bool {
    let letters = material.chars().filter(|c| c.is_alphabetic()).take(2000);
    let (mut cased, mut all) = (0, 0);
    for letter in letters {
        all += 1;
        cased += usize::from(letter.is_lowercase() || letter.is_uppercase());
    }
    all > 0 && cased * 10 >= all * 9
}

/// `text` as a regular expression for just itself.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        if c.is_ascii_punctuation() {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

/// A character within a sentence, or an abbreviation.
const PLAIN: &str = "[^\\n.!?#\"0-9]|(Mr|Ms|Mrs|Dr|St|No)\\.";

/// The numbers of a text as one pattern.
struct Numbers(Option<String>);

impl Numbers {
    fn of(material: &str) -> Self {
        let inner = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | ':' | '/' | '-');
        let mut found: Vec<&str> = Vec::new();
        for part in material.split(|c: char| !inner(c)) {
            let number = part.trim_matches(|c: char| !c.is_ascii_digit());
            if !number.is_empty() && !found.contains(&number) && found.len() < NUMBERS {
                found.push(number);
            }
        }
        let parts: Vec<String> = found.iter().map(|number| escaped(number)).collect();
        Self((!parts.is_empty()).then(|| parts.join("|")))
    }

    /// So many characters of these classes, in which a number of the material counts as one; no two numbers make a third.
    fn run(&self, class: &str, least: usize, most: usize) -> String {
        match &self.0 {
            Some(numbers) => {
                let (before, after) = ("[ (€$£]", "[^\\n.!?#\"0-9:/,-]");
                format!("({class}|{before}({numbers}){after}){{{least},{most}}}( ({numbers}))?")
            }
            None => format!("({class}){{{least},{most}}}"),
        }
    }

    /// A sentence of so many characters.
    fn sentence(&self, least: usize, most: usize) -> String {
        format!("\\p{{Lu}}{}[.!?]", self.run(PLAIN, least, most))
    }
}

/// Different words of a text as they stand, without the marks around them.
fn words(material: &str) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for word in material.split_whitespace() {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric());
        if !word.is_empty() && !found.contains(&word) {
            found.push(word);
        }
        if found.len() == WORDS {
            break;
        }
    }
    found
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// Three to ten words of the text, and the small words between them.
fn headline(material: &str) -> Option<String> {
    const SMALL: &[&str] = &[
        "a", "an", "the", "of", "to", "in", "on", "for", "and", "with", "at", "by", "from", "is",
        "are", "as", "or", "its", "our", "their", "new", "now", "until", "after", "not", "no",
        "how", "why", "what", "who", "will",
    ];
    let own = words(material);
    if own.len() < 3 {
        return None;
    }
    let all = own.iter().chain(SMALL);
    let mut all: Vec<String> = all
        .flat_map(|word| [(*word).to_owned(), capital(word)])
        .collect();
    all.sort_unstable();
    all.dedup();
    let any = all
        .iter()
        .map(|word| escaped(word))
        .collect::<Vec<_>>()
        .join("|");
    let firsts: Vec<String> = all
        .iter()
        .filter(|word| word.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit()))
        .map(|word| escaped(word))
        .collect();
    Some(format!("({})( ({any})){{2,9}}", firsts.join("|")))
}

/// One or two short sentences, and up to two hashtags that are words of the text: within 280 characters.
fn post(numbers: &Numbers, material: &str) -> String {
    const PLAIN: &[&str] = &[
        "about", "after", "also", "been", "because", "before", "each", "every", "from", "have",
        "here", "into", "more", "most", "next", "only", "other", "over", "some", "still", "than",
        "that", "their", "them", "then", "there", "these", "they", "this", "those", "unless",
        "until", "what", "when", "where", "which", "while", "will", "with", "would", "your",
    ];
    let tag = |word: &&&str| {
        word.chars().all(|c| c.is_ascii_alphabetic())
            && (4..=20).contains(&word.len())
            && !PLAIN.contains(&word.to_lowercase().as_str())
    };
    let own = words(material);
    let mut tags: Vec<String> = own.iter().filter(tag).map(|word| capital(word)).collect();
    tags.sort_unstable();
    tags.dedup();
    let sentences = format!(
        "{}( {})?",
        numbers.sentence(8, 130),
        numbers.sentence(5, 90)
    );
    match tags.is_empty() {
        true => sentences,
        false => format!("{sentences}( #({})){{0,2}}", tags.join("|")),
    }
}

/// Subject, greeting, two to five sentences, and the end. Who is greeted by name is named so in the notes.
fn email(numbers: &Numbers, material: &str) -> String {
    let mut named: Vec<String> = Vec::new();
    let all: Vec<&str> = material.split_whitespace().collect();
    for pair in all.windows(2) {
        let title = pair[0].trim_end_matches('.');
        let name = pair[1].trim_matches(|c: char| !c.is_alphanumeric());
        let is_name = name.starts_with(char::is_uppercase);
        if ["Mr", "Ms", "Mrs", "Dr"].contains(&title) && is_name {
            named.push(escaped(&format!("Dear {title} {name},")));
        }
    }
    let greeting = match named.is_empty() {
        true => "Hello,".to_owned(),
        false => named.join("|"),
    };
    let subject = numbers.run("[^\\n.!?#\"0-9]", 4, 60);
    // Held to a capital after an empty line, small models lose the thread.
    let sentence = format!("{}[.!?]", numbers.run(PLAIN, 9, 180));
    format!(
        "Subject: \\p{{Lu}}{subject}\\n\\n({greeting})\\n\\n{sentence}( {sentence}){{1,4}}\\n\\nKind regards"
    )
}

/// Up to five questions with their answers, which are sentences of the text: one out of each part of it, in order.
fn faq(material: &str) -> Option<String> {
    let sentences = sentences(material);
    let pairs = sentences.len().min(5);
    if pairs == 0 {
        return None;
    }
    let group = |k: usize| {
        let share = &sentences[k * sentences.len() / pairs..(k + 1) * sentences.len() / pairs];
        let any: Vec<String> = share.iter().map(|sentence| escaped(sentence)).collect();
        format!(
            "Q: (What|Who|How|When|Where|Why|Can|Do|Does|Is|Are|Which|Will) [^\\n?\"]{{5,90}}\\?\\nA: ({})",
            any.join("|")
        )
    };
    Some((0..pairs).map(group).collect::<Vec<_>>().join("\\n\\n"))
}

/// How many sentences and lines a text has.
fn ends(material: &str) -> usize {
    let marks = material
        .chars()
        .filter(|c| matches!(c, '.' | '!' | '?' | '\n'));
    marks.count().min(200)
}

/// The sentences of a text that can stand alone.
fn sentences(material: &str) -> Vec<&str> {
    /// Sentences of so many at most.
    const MOST: usize = 60;
    let mut found = Vec::new();
    for line in material.lines() {
        let mut begin = 0;
        for (at, c) in line.char_indices() {
            let behind = &line[at + c.len_utf8()..];
            let ends =
                matches!(c, '.' | '!' | '?') && (behind.is_empty() || behind.starts_with(' '));
            if !ends && !behind.is_empty() {
                continue;
            }
            let sentence = line[begin..at + c.len_utf8()].trim();
            let count = sentence.split_whitespace().count();
            if ends && (4..=50).contains(&count) && found.len() < MOST {
                found.push(sentence);
            }
            begin = at + c.len_utf8();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pattern of a task as what it matches wholly.
    fn matcher(task: Task, material: &str) -> regex::Regex {
        let pattern = pattern(&task, material).unwrap();
        regex::Regex::new(&format!("^({pattern})$")).unwrap()
    }

    const TEXT: &str =
        "Ember weighs 2.4 kg. One filling lasts 50 minutes. It costs 89 euros, says Ms Lind.";

    #[test]
    fn numbers_are_those_of_the_material() {
        let summary = matcher(Task::Summarize, TEXT);
        assert!(summary.is_match("Ember weighs 2.4 kg and lasts 50 minutes. It costs 89 euros."));
        assert!(!summary.is_match("Ember weighs 3 kg and lasts 50 minutes."));
        assert!(!summary.is_match("Ember weighs 2.4 kg and lasts 50 minutes"));
    }

    #[test]
    fn each_form_matches_its_example() {
        for task in [
            Task::Summarize,
            Task::Rewrite(None),
            Task::Headline,
            Task::Email,
            Task::Post,
            Task::Faq,
        ] {
            for (material, answer) in task.examples() {
                assert!(
                    matcher(task.clone(), material).is_match(answer),
                    "{task}: {answer}"
                );
            }
        }
    }

    #[test]
    fn headlines_are_of_the_words_of_the_text() {
        let headline = matcher(Task::Headline, TEXT);
        assert!(headline.is_match("Ember Costs 89 Euros"));
        assert!(!headline.is_match("Ember Costs 90 Euros"));
        assert!(!headline.is_match("ember costs 89 euros"));
    }

    #[test]
    fn emails_greet_who_is_named() {
        let email = matcher(Task::Email, TEXT);
        let body = "It costs 89 euros. One filling lasts 50 minutes.\n\nKind regards";
        assert!(email.is_match(&format!("Subject: The price\n\nDear Ms Lind,\n\n{body}")));
        assert!(!email.is_match(&format!("Subject: The price\n\nDear Ms Weber,\n\n{body}")));
    }

    #[test]
    fn answers_are_sentences_of_the_text() {
        let faq = matcher(Task::Faq, TEXT);
        let pair = "Q: How long does it burn?\nA: One filling lasts 50 minutes.";
        let weight = "Q: What does it weigh?\nA: Ember weighs 2.4 kg.";
        let price = "Q: What does it cost?\nA: It costs 89 euros, says Ms Lind.";
        assert!(faq.is_match(&format!("{weight}\n\n{pair}\n\n{price}")));
        assert!(!faq.is_match(&format!("{pair}\n\n{weight}\n\n{price}")));
    }

    #[test]
    fn posts_are_short() {
        let post = matcher(Task::Post, TEXT);
        assert!(post.is_match("Ember weighs just 2.4 kg! #Ember"));
        assert!(!post.is_match("Ember weighs just 2.4 kg! #Fire"));
        assert!(!post.is_match(&format!("{}!", "Ember is nice and ".repeat(16))));
    }

    #[test]
    fn other_scripts_have_no_form() {
        for material in ["日本の歌を聞きます。", "", "1 2 3"] {
            assert_eq!(pattern(&Task::Summarize, material), None, "{material}");
        }
    }
}
