//! What a request says in the end.

use medley_media::score::{Key, Metre, Mode, Tune};
use medley_music::{Mood, Motion, Style, TempoClass, Traits, Wish, metres_of};
use medley_tokenize::notes::{Form, METRES};
use medley_types::MusicRequest;

use super::is_quiet;
use crate::PipelineError;

/// Longest music in seconds.
pub const LONGEST_S: f64 = 600.0;

/// How freely a melody is drawn if nothing is said.
const TEMPERATURE: f64 = 0.9;

/// What a complete request comes to.
pub(super) struct Plan {
    /// What the grammar is told.
    pub form: Form,
    /// Quarters a minute.
    pub quarters: f64,
    /// Style of the accompaniment.
    pub style: Style,
    /// Mood.
    pub mood: Mood,
    /// How freely it is drawn.
    pub temperature: f64,
    /// Seed.
    pub seed: u64,
}

pub(super) fn refuse(reason: impl ToString) -> PipelineError {
    PipelineError::InvalidRequest(reason.to_string())
}

/// The request with everything filled in that its prompt leaves open; `init` is the tune that is gone on with, whose key,
/// metre and tempo hold where neither the request nor its prompt says otherwise.
///
/// # Errors
/// [`PipelineError::InvalidRequest`] for a metre, key, style or length that cannot be, in one line.
pub fn complete(
    request: &MusicRequest,
    init: Option<&Tune>,
) -> Result<MusicRequest, PipelineError> {
    let seconds = request.seconds.unwrap_or(30.0);
    if !(2.0..=LONGEST_S).contains(&seconds) {
        return Err(refuse(format!(
            "music of {seconds} seconds cannot be made; 2 to {LONGEST_S} can"
        )));
    }
    let temperature = request.temperature.unwrap_or(TEMPERATURE);
    if !(0.0..=2.0).contains(&temperature) {
        return Err(refuse(format!(
            "a temperature of {temperature} must lie between 0 and 2"
        )));
    }
    if request.prompt.trim().is_empty() && init.is_none() {
        return Err(PipelineError::EmptyPrompt);
    }
    let mut wish = Wish::of_prompt(&request.prompt, &METRES).map_err(refuse)?;
    given(&mut wish, request)?;
    if let Some(tune) = init {
        follow(&mut wish, tune)?;
    }
    let style = wish.style_or(request.seed);
    let metre = wish
        .metre
        .unwrap_or_else(|| usual_metre(style, request.seed));
    let key = wish
        .key
        .unwrap_or_else(|| usual_key(&wish, style, request.seed));
    let class = tempo_class(&wish, style);
    let usual = wish.quarters(style, metre, class);
    let quarters = match (
        request.tempo,
        init.and_then(|t| t.tempo),
        wish.beats,
        wish.tempo,
    ) {
        (Some(tempo), ..) => tempo,
        (None, Some(tempo), None, None) => tempo,
        _ => usual,
    };
    if !(10.0..=1200.0).contains(&quarters) {
        return Err(refuse(format!(
            "a tempo of {quarters} quarters a minute cannot be played"
        )));
    }
    Ok(MusicRequest {
        prompt: request.prompt.trim().to_owned(),
        temperature: Some(temperature),
        key: Some(key.to_string()),
        metre: Some(metre.to_string()),
        tempo: Some(quarters),
        style: Some(style.name().to_owned()),
        ..request.clone()
    })
}

/// Fields of the request hold before the words of its prompt.
fn given(wish: &mut Wish, request: &MusicRequest) -> Result<(), PipelineError> {
    if let Some(text) = &request.key {
        let key = Key::parse(text).ok_or_else(|| refuse(format!("{text:?} is no key")))?;
        wish.key = Some(key);
    }
    if let Some(text) = &request.metre {
        let metre = Metre::parse(text).filter(|m| METRES.contains(m));
        wish.metre =
            Some(metre.ok_or_else(|| refuse(format!("music in {text} cannot be written")))?);
    }
    if let Some(text) = &request.style {
        let style = Style::ALL.into_iter().find(|s| s.name() == text);
        wish.style = Some(style.ok_or_else(|| refuse(format!("{text:?} is no style")))?);
    }
    Ok(())
}

/// What goes on has the key and metre of what it goes on with.
fn follow(wish: &mut Wish, tune: &Tune) -> Result<(), PipelineError> {
    if !METRES.contains(&tune.metre) {
        return Err(refuse(format!(
            "a tune in {} cannot be gone on with",
            tune.metre
        )));
    }
    for (what, given, own) in [
        (
            "metre",
            wish.metre.map(|m| m.to_string()),
            tune.metre.to_string(),
        ),
        ("key", wish.key.map(|k| k.to_string()), tune.key.to_string()),
    ] {
        if given.as_ref().is_some_and(|given| *given != own) {
            return Err(refuse(format!(
                "the tune's {what} is {own}; what goes on with it cannot be in {}",
                given.unwrap_or_default()
            )));
        }
    }
    wish.key = Some(tune.key);
    wish.metre = Some(tune.metre);
    wish.style = wish.style.or(Some(Traits::of(tune).style));
    Ok(())
}

fn usual_metre(style: Style, seed: u64) -> Metre {
    const fn m(beats: u8, unit: u8) -> Metre {
        Metre { beats, unit }
    }
    match (style, metres_of(style).first()) {
        (_, Some(metre)) => *metre,
        (Style::Air, None) => [m(3, 4), m(4, 4)][(seed % 2) as usize],
        _ => m(4, 4),
    }
}

/// A key that such tunes are often in.
fn usual_key(wish: &Wish, style: Style, seed: u64) -> Key {
    let sad = wish.mood == Mood::Sad;
    let mode = wish.mode.unwrap_or(match (sad, style) {
        (true, _) => Mode::Minor,
        (false, Style::Air) if seed.is_multiple_of(3) && wish.mood != Mood::Bright => Mode::Dorian,
        _ => Mode::Major,
    });
    let tonics: &[u8] = match mode {
        Mode::Major | Mode::Lydian => &[7, 2, 9, 0],
        Mode::Mixolydian => &[9, 2, 7],
        _ => &[4, 9, 2],
    };
    Key::of_tonic(tonics[(seed / 3 % tonics.len() as u64) as usize], mode)
}

fn tempo_class(wish: &Wish, style: Style) -> TempoClass {
    wish.tempo.unwrap_or(match (wish.mood, style) {
        (Mood::Calm | Mood::Sad, _) | (_, Style::Air) => TempoClass::Slow,
        (Mood::Bright, _) => TempoClass::Fast,
        (_, Style::Waltz | Style::March | Style::Other | Style::Strathspey) => TempoClass::Moderate,
        _ => TempoClass::Fast,
    })
}

impl Plan {
    /// What a complete request says.
    ///
    /// # Errors
    /// [`PipelineError::InvalidRequest`] for one that is not complete.
    pub(super) fn of(request: &MusicRequest, init: Option<&Tune>) -> Result<Self, PipelineError> {
        let full = complete(request, init)?;
        let wish = Wish::of_prompt(&full.prompt, &METRES).map_err(refuse)?;
        let missing = || refuse("the request is not complete");
        let metre = full
            .metre
            .as_deref()
            .and_then(Metre::parse)
            .ok_or_else(missing)?;
        let key = full
            .key
            .as_deref()
            .and_then(Key::parse)
            .ok_or_else(missing)?;
        let name = full.style.as_deref().unwrap_or_default();
        let style = Style::ALL
            .into_iter()
            .find(|s| s.name() == name)
            .ok_or_else(missing)?;
        let tempo = tempo_class(&wish, style);
        let motion = match (is_quiet(wish.mood, style), wish.mood, style) {
            (true, ..) | (_, _, Style::Waltz) => Motion::Calm,
            (_, Mood::Bright, _) | (_, _, Style::Polka | Style::March) => Motion::Busy,
            _ => Motion::Steady,
        };
        // No polka is among the tunes that models have learned from; they are nearest to what has no name.
        let known = if style == Style::Polka {
            Style::Other
        } else {
            style
        };
        let traits = Traits {
            style: known,
            tempo,
            motion,
        };
        // A short jingle is one part.
        let parts = match full.seconds {
            Some(seconds) if seconds < 13.0 => (1, 1),
            Some(seconds) if seconds > 100.0 => (3, 3),
            _ => (2, 2),
        };
        Ok(Self {
            form: Form {
                metre: METRES
                    .iter()
                    .position(|m| *m == metre)
                    .ok_or_else(missing)? as u8,
                key,
                traits,
                parts,
                long: false,
            },
            quarters: full.tempo.ok_or_else(missing)?,
            style,
            mood: wish.mood,
            temperature: full.temperature.unwrap_or(TEMPERATURE),
            seed: full.seed,
        })
    }
}
