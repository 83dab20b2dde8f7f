//! Sentences of real voices, joined: no click where one ends and the next begins.

use medley_pipelines::Run;
use medley_pipelines::speech::{Level, load};
use medley_testkit::pulled;
use medley_types::{SpeechRequest, SpeechTimings};

const TEXT: &str =
    "The old clock stopped. A small boat drifted down the river! Could you tell me where it is?";

/// The largest step from a sample to the next.
fn step(samples: &[f32]) -> f32 {
    let steps = samples.windows(2).map(|pair| (pair[1] - pair[0]).abs());
    steps.fold(0.0, f32::max)
}

#[test]
fn real_voices_join_without_clicks() {
    let Some(english) = pulled("hibari", false) else {
        return;
    };
    for name in ["hibari", "piper-joe"] {
        let Some(folder) = pulled(name, true) else {
            continue;
        };
        let voice = load(&folder, None, Some(&english)).unwrap();
        let request = SpeechRequest {
            text: TEXT.into(),
            pause: 0.0,
            ..SpeechRequest::default()
        };
        let request = voice.complete(&request).unwrap();
        let whole = voice.generate(&request, &mut Run::quiet()).unwrap();
        // As a server sends them, piece by piece.
        let mut level = Level::new(voice.sample_rate(), request.loudness);
        let (mut streamed, mut joins) = (Vec::new(), Vec::new());
        let mut heard = |mut piece: medley_pipelines::speech::Piece| {
            level.apply(&mut piece.samples);
            streamed.append(&mut piece.samples);
            joins.push(streamed.len());
            Ok(())
        };
        let mut timings = SpeechTimings::default();
        voice
            .stream(&request, &mut Run::quiet(), &mut timings, &mut heard)
            .unwrap();
        assert_eq!(joins.len(), 3, "{name}");
        assert_eq!(whole.audio.samples().len(), streamed.len(), "{name}");
        // Five milliseconds on both sides.
        let near = voice.sample_rate() as usize / 200;
        for samples in [whole.audio.samples(), &streamed] {
            let usual = step(samples);
            for &join in &joins[..2] {
                let largest = step(&samples[join - near..join + near]);
                assert!(largest < usual / 10.0, "{name}: {largest} of {usual}");
            }
        }
    }
}
