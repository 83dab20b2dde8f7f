//! Text as it is written to text as it is said: no digits, signs or abbreviations are left.
//!
//! Rules come in an order: what is more special takes its text before what is more general. Each is a pattern and what
//! it becomes; a match that turns out to be something else is left alone.

use std::borrow::Cow;
use std::sync::LazyLock;

use fancy_regex::{Captures, Regex};

use super::numbers::{cardinal, digits, number, ordinal, plural, roman, year};
use super::tables::{ABBREVIATIONS, CURRENCIES, MONTHS, ROMAN_NUMBER, ROMAN_RANK, SIGNS, UNITS};

type Reading = fn(&Captures<'_>) -> Option<String>;

/// Whole numbers with or without commas, with decimals.
const NUM: &str = r"\d+(?:,\d{3})*(?:\.\d+)?";

/// How many rules there are; all must compile.
const COUNT: usize = 24;

static RULES: LazyLock<Vec<(Regex, Reading)>> = LazyLock::new(|| {
    let months = MONTHS.map(|m| format!("{m}|{}", &m[..3])).join("|");
    let either = |words: &[&str]| {
        let mut words: Vec<String> = words.iter().map(|w| regex_escape(w)).collect();
        words.sort_by_key(|w| std::cmp::Reverse(w.len()));
        words.join("|")
    };
    let units = either(&UNITS.iter().map(|u| u.0).collect::<Vec<_>>());
    let money = either(&CURRENCIES.iter().map(|c| c.0).collect::<Vec<_>>());
    let short = either(&ABBREVIATIONS.iter().map(|a| a.0).collect::<Vec<_>>());
    let rules: [(String, Reading); COUNT] = [
        (r"\b(?:https?|ftp)://\S+|\bwww\.\S+|\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\b(?:[A-Za-z0-9-]+\.)+(?:com|org|net|edu|gov|io|co|uk|de|fr|info|dev|ai|app|ly|rs)\b(?:/[\w./?=&%#-]*)?".into(), address),
        (r"\b(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\s?([AaPp])\.?[Mm]\b\.?)?(?!\d)".into(), time),
        (r"\b(\d{1,2})\s?([AaPp])\.?[Mm]\b\.?".into(), hour),
        (r"\b(\d{4})-(\d{2})-(\d{2})\b".into(), |c| date(c, 1, 2, 3)),
        (r"\b(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})\b".into(), |c| date(c, 3, 1, 2)),
        (format!(r"\b({months})\.? (\d{{1,2}})(?:st|nd|rd|th)?\b(?![\d:%])(?:,? (\d{{4}})\b)?"), month_day),
        (format!(r"\b(the )?(\d{{1,2}})(?:st|nd|rd|th)? (?:of )?({months})\b\.?(?:,? (\d{{4}})\b)?"), day_month),
        (format!(r"(?<!\w)({money})\s?({NUM})\s?(hundred|thousand|million|billion|trillion|[kKmMbB])?(?!\w)"), currency),
        (r"\b\d{3}-\d{3}-\d{4}\b|(?<![\d-])\d{3}-\d{4}(?![\d-])|\+\d[\d -]{7,}\d".into(), phone),
        (r"(?<![\w.-])(\d{1,4})\s?[-–]\s?(\d{1,4})(?![\w-]|\.\d)".into(), range),
        (format!(r"(?<![\w.])(-|−)?({NUM})\s?({units})(?![\w/])"), unit),
        (format!(r"(?<!\w)({short})(?!\w)"), abbreviation),
        (r"\bSt\. ?(?=[A-Z])".into(), |_| Some("Saint ".into())),
        (r"\bSt\.".into(), |_| Some("Street".into())),
        (r"\b(No|Nos)\. ?(?=\d)".into(), |c| Some(if &c[1] == "No" { "Number " } else { "Numbers " }.into())),
        (r"(?<![\w&])#(?=\d)".into(), |_| Some("number ".into())),
        (r"\b([A-Za-z]+) ([IVXLC]+)\b(?!['’.]\w)".into(), roman_numeral),
        (r"(?<![\w./])(\d{1,2})/(\d{1,2})(?![\w./])".into(), fraction),
        (r"\b(\d+)(?:st|nd|rd|th)\b".into(), |c| Some(ordinal(c[1].parse().ok()?))),
        (r"(?<!\w)['’]?(\d{2}|\d{3}0)['’]?s\b".into(), decade),
        (r"\b(\d+(?:\.\d+){2,})\b".into(), |c| Some(c[1].split('.').map(number).collect::<Vec<_>>().join(" point "))),
        (format!(r"(?<![\w.])[-−](?={NUM})"), |_| Some("minus ".into())),
        (r"(?<![\d.,])(1[1-9]\d{2}|20\d{2})(?![\d]|[.,]\d)".into(), |c| Some(format!(" {} ", year(c[1].parse().ok()?)))),
        (format!(r"(?<!\d)(?:{NUM}|\.\d+)"), plain),
    ];
    let compile =
        |(pattern, reading): (String, Reading)| Some((Regex::new(&pattern).ok()?, reading));
    rules.into_iter().filter_map(compile).collect()
});

fn regex_escape(text: &str) -> String {
    fancy_regex::escape(text).into_owned()
}

/// The text as it is said. Line ends become spaces.
pub fn normalize(text: &str) -> String {
    let mut text = squeeze(text);
    text = text
        .replace(['’', '‘', 'ʼ'], "'")
        .replace(['‐', '‑', '‒'], "-");
    for (pattern, reading) in RULES.iter() {
        let replaced = pattern.try_replacen(&text, 0, |c: &Captures<'_>| {
            reading(c).unwrap_or_else(|| c[0].to_owned())
        });
        // A text that a pattern cannot cope with stays as it is written.
        if let Ok(Cow::Owned(replaced)) = replaced {
            text = replaced;
        }
    }
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match SIGNS.iter().find(|(sign, _)| *sign == letter) {
            Some((_, words)) => {
                out.push(' ');
                out += words;
                out.push(' ');
            }
            // What only marks something up.
            None if matches!(letter, '*' | '_' | '\\' | '|' | '`' | '™' | '®' | '•' | '←') => {
                out.push(' ')
            }
            None if letter == '/' => out += " slash ",
            None => out.push(letter),
        }
    }
    let mut text = squeeze(&out);
    for mark in [",", ".", ";", ":", "!", "?"] {
        text = text.replace(&format!(" {mark}"), mark);
    }
    text
}

fn squeeze(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn plain(c: &Captures<'_>) -> Option<String> {
    let text = &c[0];
    let long = text.len() > 1 && text.starts_with('0') && !text.contains('.');
    let words = if long { digits(text) } else { number(text) };
    Some(format!(" {words} "))
}

/// Web and mail addresses: dots, slashes and signs are read out.
fn address(c: &Captures<'_>) -> Option<String> {
    let text = &c[0];
    let end = text.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', '"', '\'']);
    let rest = &text[end.len()..];
    let body = end.split_once("://").map_or(end, |(_, body)| body);
    let body = body
        .strip_prefix("www.")
        .unwrap_or(body)
        .trim_end_matches('/');
    let mut out = String::new();
    for letter in body.chars() {
        out += match letter {
            '.' => " dot ",
            '/' => " slash ",
            '@' => " at ",
            '-' => " dash ",
            '_' => " underscore ",
            '?' => " question mark ",
            '=' => " equals ",
            '&' => " and ",
            '%' => " percent ",
            '#' => " hash ",
            ':' => " colon ",
            other => {
                out.push(other);
                continue;
            }
        };
    }
    Some(out + rest)
}

fn time(c: &Captures<'_>) -> Option<String> {
    let part = |i: usize| c.get(i).and_then(|m| m.as_str().parse::<u64>().ok());
    let (hour, minute, second) = (part(1)?, part(2)?, part(3));
    if hour > 24 || minute > 59 || second.is_some_and(|s| s > 59) {
        return None;
    }
    let mut words = cardinal(hour);
    match minute {
        0 if c.get(4).is_some() => {}
        0 => words += " o'clock",
        1..=9 => words += &format!(" oh {}", cardinal(minute)),
        _ => words += &format!(" {}", cardinal(minute)),
    }
    if let Some(second) = second {
        words += &format!(" and {}", count(second, "second", "seconds"));
    }
    Some(words + &half(c, 4))
}

fn hour(c: &Captures<'_>) -> Option<String> {
    let hour: u64 = c[1].parse().ok()?;
    (hour <= 12).then(|| cardinal(hour) + &half(c, 2))
}

/// " A.M." or " P.M.", which are spelled; with the full stop that ends the sentence as well.
fn half(c: &Captures<'_>, group: usize) -> String {
    match c.get(group) {
        Some(letter) => format!(" {}.M.", letter.as_str().to_uppercase()),
        None => String::new(),
    }
}

fn count(n: u64, one: &str, several: &str) -> String {
    format!("{} {}", cardinal(n), if n == 1 { one } else { several })
}

fn date(c: &Captures<'_>, y: usize, m: usize, d: usize) -> Option<String> {
    let (mut month, mut day): (usize, u64) = (c[m].parse().ok()?, c[d].parse().ok()?);
    if month > 12 && day <= 12 {
        (month, day) = (day as usize, month as u64);
    }
    let name = MONTHS.get(month.checked_sub(1)?)?;
    let mut of: u64 = c[y].parse().ok()?;
    if of < 100 {
        of += if of > 30 { 1900 } else { 2000 };
    }
    (1..=31)
        .contains(&day)
        .then(|| format!("{name} {}, {}", ordinal(day), year(of)))
}

fn month(text: &str) -> Option<&'static str> {
    MONTHS.iter().find(|m| m.starts_with(text)).copied()
}

/// ", nineteen ninety" or nothing.
fn of_year(c: &Captures<'_>, group: usize) -> String {
    let given = c.get(group).and_then(|m| m.as_str().parse().ok());
    given.map_or(String::new(), |y| format!(", {}", year(y)))
}

fn month_day(c: &Captures<'_>) -> Option<String> {
    let day: u64 = c[2].parse().ok()?;
    let words = format!("{} {}{}", month(&c[1])?, ordinal(day), of_year(c, 3));
    (1..=31).contains(&day).then_some(words)
}

fn day_month(c: &Captures<'_>) -> Option<String> {
    let day: u64 = c[2].parse().ok()?;
    let words = format!("the {} of {}{}", ordinal(day), month(&c[3])?, of_year(c, 4));
    (1..=31).contains(&day).then_some(words)
}

fn currency(c: &Captures<'_>) -> Option<String> {
    let [one, several, cent, cents] = CURRENCIES.iter().find(|(sign, _)| *sign == &c[1])?.1;
    let amount = c[2].replace(',', "");
    if let Some(scale) = c.get(3) {
        let scale = match scale.as_str() {
            "k" | "K" => "thousand",
            "m" | "M" => "million",
            "b" | "B" => "billion",
            word => word,
        };
        return Some(format!("{} {scale} {several}", number(&amount)));
    }
    let (whole, part) = amount.split_once('.').unwrap_or((&amount, ""));
    let whole: u64 = whole.parse().ok()?;
    if !matches!(part.len(), 0 | 2) {
        return Some(format!("{} {several}", number(&amount)));
    }
    let part: u64 = part.parse().unwrap_or(0);
    Some(match (whole, part) {
        (_, 0) => count(whole, one, several),
        (0, _) => count(part, cent, cents),
        _ => format!(
            "{} and {}",
            count(whole, one, several),
            count(part, cent, cents)
        ),
    })
}

/// Digits in their groups, with a short pause between.
fn phone(c: &Captures<'_>) -> Option<String> {
    let groups: Vec<String> = c[0]
        .split(|l: char| !l.is_ascii_digit())
        .filter(|group| !group.is_empty())
        .map(digits)
        .collect();
    Some(groups.join(", "))
}

fn range(c: &Captures<'_>) -> Option<String> {
    let say = |text: &str| match text.parse::<u64>() {
        Ok(n @ 1100..=2099) if text.len() == 4 => year(n),
        _ => number(text),
    };
    Some(format!("{} to {}", say(&c[1]), say(&c[2])))
}

fn unit(c: &Captures<'_>) -> Option<String> {
    let (_, one, several) = UNITS.iter().find(|(sign, ..)| *sign == &c[3])?;
    let minus = if c.get(1).is_some() { "minus " } else { "" };
    let words = if &c[2] == "1" { one } else { several };
    Some(format!("{minus}{} {words}", number(&c[2])))
}

/// The full stop of one that ends the text ends the sentence too.
fn abbreviation(c: &Captures<'_>) -> Option<String> {
    let (_, words) = ABBREVIATIONS.iter().find(|(short, _)| *short == &c[1])?;
    Some((*words).to_owned())
}

fn roman_numeral(c: &Captures<'_>) -> Option<String> {
    let (before, value) = (c[1].to_lowercase(), roman(&c[2])?);
    if ROMAN_NUMBER.contains(&before.as_str()) {
        Some(format!("{} {}", &c[1], cardinal(value)))
    } else if ROMAN_RANK.contains(&before.as_str()) && c[1].starts_with(char::is_uppercase) {
        Some(format!("{} the {}", &c[1], ordinal(value)))
    } else {
        None
    }
}

fn fraction(c: &Captures<'_>) -> Option<String> {
    const NAMES: [&str; 9] = [
        "half", "third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
    ];
    let (over, under): (u64, u64) = (c[1].parse().ok()?, c[2].parse().ok()?);
    let name = usize::try_from(under)
        .ok()
        .and_then(|u| NAMES.get(u.checked_sub(2)?));
    Some(match name {
        Some(&"half") if over > 1 => format!("{} halves", cardinal(over)),
        Some(name) if over == 1 => format!("one {name}"),
        Some(name) if over > 0 && over < under => format!("{} {name}s", cardinal(over)),
        _ => format!("{} slash {}", cardinal(over), cardinal(under)),
    })
}

fn decade(c: &Captures<'_>) -> Option<String> {
    let n: u64 = c[1].parse().ok()?;
    let words = if n >= 1000 { year(n) } else { cardinal(n) };
    Some(plural(&words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_compiles() {
        assert_eq!(RULES.len(), COUNT);
    }

    #[test]
    fn texts_are_read_as_people_read_them() {
        for (text, want) in [
            (
                "On the 3rd of March 2024, 1,250 people paid $9.99 each.",
                "On the third of March, twenty twenty four, one thousand two hundred fifty people paid nine dollars and ninety nine cents each.",
            ),
            ("at 7:30 pm or 9:05", "at seven thirty P.M. or nine oh five"),
            ("It is 12:00.", "It is twelve o'clock."),
            ("Meet Dr. Smith at 5pm", "Meet Doctor Smith at five P.M."),
            (
                "12/25/2023 and 2023-12-25",
                "December twenty fifth, twenty twenty three and December twenty fifth, twenty twenty three",
            ),
            ("Jan 5, 1999", "January fifth, nineteen ninety nine"),
            (
                "$1.5 million, £5, €0.50 and $1",
                "one point five million dollars, five pounds, fifty cents and one dollar",
            ),
            (
                "5 km at 60 mph, 1 kg, 20%",
                "five kilometers at sixty miles per hour, one kilogram, twenty percent",
            ),
            ("-5°C", "minus five degrees Celsius"),
            ("Call 555-1234", "Call five five five, one two three four"),
            (
                "pages 10-20 (1914-1918).",
                "pages ten to twenty (nineteen fourteen to nineteen eighteen).",
            ),
            (
                "the 1990s and the 20s",
                "the nineteen nineties and the twenties",
            ),
            (
                "Henry VIII, Chapter IV, I am",
                "Henry the eighth, Chapter four, I am",
            ),
            ("1/2 and 3/4", "one half and three quarters"),
            (
                "See https://www.example.com/a, or mail me@x.org.",
                "See example dot com slash a, or mail me at x dot org.",
            ),
            ("B2B and mp3 in 4K", "B two B and mp three in four K"),
            ("version 1.2.3", "version one point two point three"),
            ("007 and 3.14", "zero zero seven and three point one four"),
            (
                "R&D, 2+2=4, A/B",
                "R and D, two plus two equals four, A slash B",
            ),
            ("#1 of St. Paul", "number one of Saint Paul"),
            ("10,000,000 and -7", "ten million and minus seven"),
        ] {
            assert_eq!(normalize(text), want, "{text}");
        }
    }

    #[test]
    fn nothing_breaks_it() {
        for text in [
            "",
            "   ",
            "99:99",
            "13/13/13",
            "$",
            "$$$",
            "1.2.3.4.5",
            "....",
            "🍎",
            "\u{0}",
            "/////",
            "https://",
        ] {
            let _ = normalize(text);
        }
        let long = "1".repeat(100_000);
        assert!(normalize(&long).len() > 100_000);
    }
}
