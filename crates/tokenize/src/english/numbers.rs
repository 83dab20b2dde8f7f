//! Numbers as words, the American way: no "and", no hyphens.

const ONES: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] = [
    "", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];
const SCALES: [&str; 7] = [
    "",
    "thousand",
    "million",
    "billion",
    "trillion",
    "quadrillion",
    "quintillion",
];

/// 1234 → "one thousand two hundred thirty four".
pub fn cardinal(n: u64) -> String {
    if n == 0 {
        return ONES[0].to_owned();
    }
    let mut groups = Vec::new();
    let (mut rest, mut scale) = (n, 0);
    while rest > 0 {
        let group = (rest % 1000) as usize;
        if group > 0 {
            let mut words = below_thousand(group);
            if scale > 0 {
                words.push(SCALES[scale]);
            }
            groups.push(words.join(" "));
        }
        rest /= 1000;
        scale += 1;
    }
    groups.reverse();
    groups.join(" ")
}

fn below_thousand(n: usize) -> Vec<&'static str> {
    let mut words = Vec::new();
    if n >= 100 {
        words.extend([ONES[n / 100], "hundred"]);
    }
    match n % 100 {
        0 => {}
        low if low < 20 => words.push(ONES[low]),
        low => {
            words.push(TENS[low / 10]);
            if low % 10 > 0 {
                words.push(ONES[low % 10]);
            }
        }
    }
    words
}

/// 23 → "twenty third".
pub fn ordinal(n: u64) -> String {
    let words = cardinal(n);
    let (head, last) = match words.rsplit_once(' ') {
        Some((head, last)) => (format!("{head} "), last),
        None => (String::new(), words.as_str()),
    };
    let last = match last {
        "one" => "first".to_owned(),
        "two" => "second".to_owned(),
        "three" => "third".to_owned(),
        "five" => "fifth".to_owned(),
        "eight" => "eighth".to_owned(),
        "nine" => "ninth".to_owned(),
        "twelve" => "twelfth".to_owned(),
        other => match other.strip_suffix('y') {
            Some(stem) => format!("{stem}ieth"),
            None => format!("{other}th"),
        },
    };
    head + &last
}

/// As years are said: 1905 → "nineteen oh five", 2024 → "twenty twenty four", 2005 → "two thousand five".
pub fn year(n: u64) -> String {
    let (high, low) = (n / 100, n % 100);
    if !(10..100).contains(&high) || (high.is_multiple_of(10) && low < 10) {
        return cardinal(n);
    }
    let low = match low {
        0 => "hundred".to_owned(),
        1..=9 => format!("oh {}", cardinal(low)),
        _ => cardinal(low),
    };
    format!("{} {low}", cardinal(high))
}

/// Each digit by itself.
pub fn digits(text: &str) -> String {
    let words: Vec<&str> = text
        .chars()
        .filter_map(|c| c.to_digit(10))
        .map(|d| ONES[d as usize])
        .collect();
    words.join(" ")
}

/// A number as it is written, with commas between thousands and a decimal point: "1,250.05" → "one thousand two
/// hundred fifty point zero five". Longer numbers than any name are read digit by digit.
pub fn number(text: &str) -> String {
    let plain = text.replace(',', "");
    let (whole, fraction) = match plain.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (plain.as_str(), ""),
    };
    let mut words = match whole.parse::<u64>() {
        Ok(n) => cardinal(n),
        Err(_) if whole.is_empty() => String::new(),
        Err(_) => digits(whole),
    };
    if !fraction.is_empty() {
        let point = if words.is_empty() {
            "point "
        } else {
            " point "
        };
        words += point;
        words += &digits(fraction);
    }
    words
}

/// Plural of the last word: "nineteen ninety" → "nineteen nineties".
pub fn plural(words: &str) -> String {
    match words.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if words.ends_with('x') => format!("{words}es"),
        None => format!("{words}s"),
    }
}

/// The value of a Roman numeral; none where it is not written as they are.
pub fn roman(text: &str) -> Option<u64> {
    const VALUES: [(&str, u64); 13] = [
        ("M", 1000),
        ("CM", 900),
        ("D", 500),
        ("CD", 400),
        ("C", 100),
        ("XC", 90),
        ("L", 50),
        ("XL", 40),
        ("X", 10),
        ("IX", 9),
        ("V", 5),
        ("IV", 4),
        ("I", 1),
    ];
    let (mut rest, mut value) = (text, 0);
    for (numeral, worth) in VALUES {
        let most = if matches!(worth, 1 | 10 | 100 | 1000) {
            3
        } else {
            1
        };
        for _ in 0..most {
            let Some(after) = rest.strip_prefix(numeral) else {
                break;
            };
            rest = after;
            value += worth;
        }
    }
    (rest.is_empty() && value > 0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_as_people_say_them() {
        assert_eq!(cardinal(0), "zero");
        assert_eq!(cardinal(1_000_017), "one million seventeen");
        assert_eq!(cardinal(342), "three hundred forty two");
        assert_eq!(ordinal(3), "third");
        assert_eq!(ordinal(21), "twenty first");
        assert_eq!(ordinal(40), "fortieth");
        assert_eq!(ordinal(100), "one hundredth");
        assert_eq!(year(1999), "nineteen ninety nine");
        assert_eq!(year(1905), "nineteen oh five");
        assert_eq!(year(2000), "two thousand");
        assert_eq!(year(2005), "two thousand five");
        assert_eq!(year(1900), "nineteen hundred");
        assert_eq!(
            number("1,250.05"),
            "one thousand two hundred fifty point zero five"
        );
        assert_eq!(number(".5"), "point five");
        assert_eq!(number("99999999999999999999999").split(' ').count(), 23);
        assert_eq!(cardinal(u64::MAX).split(' ').next(), Some("eighteen"));
    }

    #[test]
    fn roman_numerals_are_read_strictly() {
        assert_eq!(roman("XIV"), Some(14));
        assert_eq!(roman("MCMXCIX"), Some(1999));
        for wrong in ["", "IIII", "VX", "ABC", "IC"] {
            assert_eq!(roman(wrong), None, "{wrong}");
        }
    }
}
