//! Written music: what ABC and MIDI files say, and that they say it again when they are written.

use medley_media::score::{BarEnd, Event, Note, QUARTER, Score, Track, Tune};
use medley_media::{Label, Origin, abc, midi};

const HEAD: &str = "X:1\nT:Test\nM:4/4\nL:1/8\nK:";

fn tune(key: &str, body: &str) -> Tune {
    abc::read(format!("{HEAD}{key}\n{body}\n").as_bytes()).unwrap()
}

/// Pitches and lengths of all notes as played; rests are not among them.
fn played(key: &str, body: &str) -> Vec<(u8, u32)> {
    let score = tune(key, body).play();
    score.tracks[0]
        .notes
        .iter()
        .map(|n| (n.pitch, n.length))
        .collect()
}

fn pitches(key: &str, body: &str) -> Vec<u8> {
    played(key, body).into_iter().map(|n| n.0).collect()
}

#[test]
fn letters_octaves_and_accidentals() {
    assert_eq!(pitches("C", "C, C c c'"), [48, 60, 72, 84]);
    assert_eq!(pitches("D", "F c =F F | F"), [66, 73, 65, 65, 66]);
    assert_eq!(pitches("F", "B ^B _B B | B"), [70, 72, 70, 70, 70]);
    // An accidental holds to the end of the bar, over the bar line only on a tied note.
    assert_eq!(played("C", "^F4- | F4 F4"), [(66, 1920), (65, 960)]);
    assert_eq!(pitches("C", "^^C __E"), [62, 62]);
}

#[test]
fn lengths_broken_rhythms_and_tuplets() {
    let lengths = |body: &str| -> Vec<u32> { played("C", body).into_iter().map(|n| n.1).collect() };
    assert_eq!(
        lengths("C C2 C/ C// C3/2 C/4"),
        [240, 480, 120, 60, 360, 60]
    );
    assert_eq!(
        lengths("A>B A<B A>>B A2>B2"),
        [360, 120, 120, 360, 420, 60, 720, 240]
    );
    assert_eq!(lengths("(3CDE C"), [160, 160, 160, 240]);
    assert_eq!(lengths("(3:2:2C2D C"), [320, 160, 240]);
    // Sevenths are no whole ticks, but their group is.
    let seven = lengths("(7CDEFGAB C");
    assert_eq!(seven[..7].iter().sum::<u32>(), 480);
    assert_eq!(seven[7], 240);
}

#[test]
fn repeats_and_endings_are_played() {
    assert_eq!(pitches("C", "C2|:D2|E2:|F2|"), [60, 62, 64, 62, 64, 65]);
    assert_eq!(
        pitches("C", "C2|D2|1 E2:|2 F2||G2|"),
        [60, 62, 64, 60, 62, 65, 67]
    );
    assert_eq!(
        pitches("C", "|:C2|[1 D2:|[2 E2|]|:F2:|"),
        [60, 62, 60, 64, 65, 65]
    );
    assert_eq!(pitches("C", "C2::D2:|"), [60, 60, 62, 62]);
    assert_eq!(
        pitches("C", "|:C2|[1,2 D2:|[3 E2||"),
        [60, 62, 60, 62, 60, 64]
    );
}

#[test]
fn what_is_not_melody_is_skipped() {
    let plain = pitches("C", "CDEF|");
    for body in [
        "\"Am\"C{gab}D!trill!E\"4\"F|",
        "(CD) .E~F|",
        "C`D uE vF|",
        "CDEF|% G A B\nw:some words here\n",
        "CDEF & GABc|",
        "[V:1] CDEF|",
    ] {
        assert_eq!(pitches("C", body), plain, "{body}");
    }
    // Of a chord the highest note.
    assert_eq!(played("C", "[CEG]2 [C2E2]"), [(67, 480), (64, 480)]);
    let chords: Vec<(u32, String)> = tune("C", "\"Am\"CD\"4\"E\"G7\"F|").bars[0]
        .chords
        .iter()
        .map(|(at, c)| (*at, c.name(false)))
        .collect();
    assert_eq!(chords, [(0, "Am".to_owned()), (720, "G7".to_owned())]);
}

#[test]
fn fields_within_the_music_change_what_follows() {
    assert_eq!(pitches("C", "F|[K:D]F|\nK:Bb\nB"), [65, 66, 70]);
    let changed = tune("C", "C8|[M:3/4]C6|\nL:1/4\nC3|");
    assert_eq!(changed.bars[1].metre.unwrap().to_string(), "3/4");
    assert_eq!(changed.bars[2].length(), 3 * QUARTER);
}

#[test]
fn tunes_that_cannot_be_used_say_why() {
    for (text, reason) in [
        ("", "no tune"),
        ("X:1\nT:a\n", "K:"),
        ("X:1\nM:7/9\nK:C\nC|", "metre"),
        ("X:1\nK:C\nz4|", "no notes"),
        ("X:1\nK:?\nC|", "no key"),
    ] {
        let error = abc::read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason), "{text:?}: {error}");
    }
    let two = abc::tunes(b"X:1\nK:C\nC|\n\nX:2\nK:?\nC|\n").unwrap();
    assert!(two[0].is_ok() && two[1].is_err());
}

#[test]
fn abc_comes_back_as_it_was() {
    for (key, body) in [
        ("Edor", "|:B|E>FG2 (3ABc d2|[1 e4 z3:|[2 e4- e3|]"),
        ("Bb", "\"Bb\"B,2 =E_G A,/B,/C/D/ c'4|^F8|"),
        ("F#", "EFGABcde||\"C#7\"e8|"),
    ] {
        let before = tune(key, body);
        let text = abc::write(&before, Origin::Collected);
        let after = abc::read(&text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(after.bars, before.bars, "{text}");
        assert_eq!((after.key, after.metre), (before.key, before.metre));
        assert_eq!(after.title, before.title);
    }
}

fn score() -> Score {
    let note = |start, length, pitch| Note {
        start,
        length,
        pitch,
        velocity: 80,
    };
    Score {
        title: "Test".into(),
        key: medley_media::score::Key::parse("D"),
        metre: medley_media::score::Metre { beats: 6, unit: 8 },
        upbeat: 0,
        tempos: vec![(0, 120.0), (960, 60.0)],
        chords: Vec::new(),
        tracks: vec![
            Track {
                name: "melody".into(),
                program: 24,
                drums: false,
                // The second begins where the first ends, at the same pitch.
                notes: vec![note(0, 240, 74), note(240, 240, 74), note(480, 1440, 69)],
            },
            Track {
                name: "drums".into(),
                program: 0,
                drums: true,
                notes: vec![note(0, 120, 36), note(0, 120, 42)],
            },
        ],
    }
}

#[test]
fn midi_comes_back_as_it_was() {
    let bytes = midi::write(&score(), Origin::Collected).unwrap();
    assert_eq!(midi::read(&bytes).unwrap(), score());
    assert!((score().seconds() - (1.0 + 2.0)).abs() < 1e-9);
}

#[test]
fn recipe_and_mark_lie_in_both() {
    let recipe = "{\"medium\":\"music\",\"prompt\":\"a 50% slow\\nwaltz\"}";
    let marked = Origin::Generated {
        recipe: Some(recipe),
    };
    let unnamed = Origin::Generated { recipe: None };
    let written = |origin| {
        let tune = tune("C", "CDEF|");
        [
            abc::write(&tune, origin),
            midi::write(&score(), origin).unwrap(),
        ]
    };
    for bytes in written(marked) {
        let label = Label::of(&bytes);
        assert!(label.synthetic);
        assert_eq!(label.recipe.as_deref(), Some(recipe));
    }
    for bytes in written(unnamed) {
        let label = Label::of(&bytes);
        assert!(label.synthetic && label.recipe.is_none());
    }
    for bytes in written(Origin::Collected) {
        assert_eq!(Label::of(&bytes), Label::default());
    }
}

#[test]
fn the_melody_of_a_score_is_cut_into_bars() {
    let melody = score().melody().unwrap();
    assert_eq!(melody.bars.len(), 2);
    assert!(melody.bars.iter().all(|b| b.length() == melody.metre.bar()));
    let note = |pitch, length, tied| Event {
        pitch: Some(pitch),
        length,
        tied,
    };
    assert_eq!(
        melody.bars[0].events,
        [
            note(74, 240, false),
            note(74, 240, false),
            note(69, 960, true)
        ]
    );
    assert_eq!(melody.bars[1].events[0], note(69, 480, false));
    assert_eq!(melody.bars[1].end, BarEnd::Plain);
}

#[test]
fn hostile_files_are_refused_or_read_but_never_panic() {
    let good = [
        midi::write(&score(), Origin::Collected).unwrap(),
        abc::write(&tune("D", "|:B|E>FG2 (3ABc d2|[1 e4:|[2 [CEG]4|]"), Origin::Collected),
        b"X:1\nK:C\n[[[[|||:::[1[2(9(3:9:9z99999Z99999C////////,,,,,,,,,,^^^^^^^c''''''''''>>>>>>>|".to_vec(),
    ];
    let mut state = 1u64;
    for bytes in &good {
        for cut in 0..bytes.len().min(200) {
            let _ = (midi::read(&bytes[..cut]), abc::read(&bytes[..cut]));
        }
        for _ in 0..3000 {
            let mut broken = bytes.clone();
            for _ in 0..3 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let place = (state >> 33) as usize % broken.len();
                broken[place] = (state >> 20) as u8;
            }
            if let Ok(score) = midi::read(&broken) {
                let _ = score.melody().map(|t| t.play());
            }
            if let Ok(tune) = abc::read(&broken) {
                let _ = tune.play();
            }
        }
    }
}

/// Every tune of ABC files in the folder `MEDLEY_TUNES`: how many are read, and that they come back.
#[test]
#[ignore = "needs a folder of tunes in MEDLEY_TUNES"]
fn collections_come_back() {
    let folder = std::env::var("MEDLEY_TUNES").unwrap();
    let (mut all, mut read, mut same, mut full, mut bars) = (0, 0, 0, 0, 0);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    for path in files
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "abc"))
    {
        for tune in abc::tunes(&std::fs::read(path).unwrap()).unwrap() {
            all += 1;
            let tune = match tune {
                Ok(tune) => tune,
                Err(error) => {
                    println!("{}: {error}", path.display());
                    continue;
                }
            };
            read += 1;
            let signs = tune.signs();
            bars += tune.bars.len();
            full += tune
                .bars
                .iter()
                .zip(&signs)
                .filter(|(b, s)| b.length() == s.0.bar())
                .count();
            let again = abc::read(&abc::write(&tune, Origin::Collected)).unwrap();
            if again.bars == tune.bars {
                same += 1;
            } else {
                println!("differs: {} {}", path.display(), tune.title);
            }
        }
    }
    println!("{read} of {all} tunes read, {same} come back; {full} of {bars} bars full");
    assert!(all > 0 && read * 100 >= all * 99 && same == read);
}
