//! Invented examples of tasks, as earlier turns of the conversation.

use super::Task;

const FERRY: &str = "The ferry to Skarholm will not run next week because its engine has to be repaired. The work takes six days. A smaller boat leaves at 7 and at 18 o'clock, but it takes no cars. Tickets can be returned until the end of August.";

const BREAD: &str = "Our bakery now grinds its own flour every morning. The new rye bread is half price until Sunday.";

/// Material with its answer.
type Example = (&'static str, &'static str);

const SUMMARIES: &[Example] = &[(
    FERRY,
    "The ferry to Skarholm stops next week for six days because its engine has to be repaired. A smaller boat without room for cars leaves at 7 and at 18 o'clock.",
)];

const REWRITES: &[Example] = &[(
    "bc of the works on the road at the moment the bus number 12 doesnt stop at the town hall, it stops at the church which is 200 m away from it.",
    "Because of roadworks, bus 12 does not stop at the town hall at the moment. It stops at the church instead, 200 m away.",
)];

const CORRECTIONS: &[Example] = &[(
    "She dont know were the keys is.",
    "She doesn't know where the keys are.",
)];

const EXPLANATIONS: &[Example] = &[(
    "inflation",
    "Inflation means that prices rise over time, so the same money buys less. If a loaf of bread costs 2 euros this year and 2.10 euros next year, inflation is 5 percent. It happens, for example, when people want to buy more than there is, or when making things becomes dearer.",
)];

const HEADLINES: &[Example] = &[
    (FERRY, "No Ferry to Skarholm Next Week"),
    (BREAD, "New Rye Bread Half Price until Sunday"),
];

const EMAILS: &[Example] = &[
    (
        "ask Ms Lind: can meeting move from Tuesday to Thursday 3 pm, I have a dentist appointment, bring the drawings",
        "Subject: Meeting on Thursday at 3 pm\n\nDear Ms Lind,\n\nI have a dentist appointment on Tuesday. Can our meeting move to Thursday at 3 pm? Please bring the drawings.\n\nKind regards",
    ),
    (
        "tell customer: parcel 318 lost, new one sent today, arrives Friday, postage back, sorry",
        "Subject: Your parcel 318\n\nHello,\n\nWe are sorry: your parcel 318 was lost. We sent a new one today, and it arrives on Friday. You get the postage back.\n\nKind regards",
    ),
];

const POSTS: &[Example] = &[
    (
        FERRY,
        "No ferry to Skarholm next week: its engine has to be repaired. Take the smaller boat at 7 or at 18 o'clock! #Skarholm #Ferry",
    ),
    (
        BREAD,
        "Our bakery now grinds its own flour. Come and taste the new rye bread, half price until Sunday! #Bakery #Bread",
    ),
];

const QUESTIONS: &[Example] = &[(
    FERRY,
    "Q: Why does the ferry not run next week?\nA: The ferry to Skarholm will not run next week because its engine has to be repaired.\n\nQ: How long does the repair take?\nA: The work takes six days.\n\nQ: When does the smaller boat leave?\nA: A smaller boat leaves at 7 and at 18 o'clock, but it takes no cars.\n\nQ: How long can tickets be returned?\nA: Tickets can be returned until the end of August.",
)];

impl Task {
    /// Earlier turns; none where the task has no form of its own.
    pub(super) fn examples(&self) -> &'static [Example] {
        match self {
            Self::Summarize => SUMMARIES,
            Self::Rewrite(None) => REWRITES,
            Self::Correct => CORRECTIONS,
            Self::Explain => EXPLANATIONS,
            Self::Headline => HEADLINES,
            Self::Email => EMAILS,
            Self::Post => POSTS,
            Self::Faq => QUESTIONS,
            _ => &[],
        }
    }
}
