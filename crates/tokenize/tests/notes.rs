//! Tunes as tokens and back.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, its helpers too; counts are for people"
)]

use medley_media::abc;
use medley_tokenize::notes::{
    Motion, NotesError, Style, TempoClass, Traits, canonical, decode, encode,
};

fn tune(text: &str) -> medley_media::score::Tune {
    abc::read(text.as_bytes()).unwrap()
}

const JIG: &str = "X:1\nT:A Jig\nR:double jig\nM:6/8\nL:1/8\nK:Em\n\
    B|\"Em\"E2F G2A|B>AG (3FGA B|[K:D]d3- d2A|[1 F6:|[2 F3 z2||\nD6|z6:|\n";

#[test]
fn a_tune_comes_back_from_its_tokens() {
    let before = canonical(&tune(JIG));
    let traits = Traits::of(&before);
    let ids = encode(&before, &traits).unwrap();
    let (after, heading) = decode(&ids).unwrap();
    assert_eq!(after.bars, before.bars);
    assert_eq!(
        (after.key, after.metre, heading),
        (before.key, before.metre, traits)
    );
    assert_eq!(traits.style, Style::Jig);
    assert_eq!(traits.tempo, TempoClass::Fast);
    assert_eq!(traits.motion, Motion::Calm);
}

#[test]
fn a_melody_has_the_same_pitches_in_every_key() {
    let words = |semitones: i32| {
        let moved = tune(JIG).transposed(semitones).unwrap();
        let ids = encode(&canonical(&moved), &Traits::of(&moved)).unwrap();
        ids.len()
    };
    assert_eq!(words(0), words(3));
    let of = |key: &str, body: &str| {
        let text = format!("X:1\nM:2/4\nL:1/8\nK:{key}\n{body}|\n");
        let ids = encode(&canonical(&tune(&text)), &Traits::of(&tune(&text))).unwrap();
        ids[5..].to_vec()
    };
    assert_eq!(of("C", "CEGc"), of("D", "DFAd"));
}

#[test]
fn what_has_no_word_is_refused() {
    let refuse = |text: &str| {
        let tune = tune(text);
        encode(&canonical(&tune), &Traits::of(&tune)).unwrap_err()
    };
    assert_eq!(
        refuse("X:1\nM:11/8\nK:C\nC11|\n"),
        NotesError::Metre("11/8".into())
    );
    assert!(matches!(
        refuse("X:1\nK:C\n(7CDEFGAB|\n"),
        NotesError::Length(_)
    ));
    assert_eq!(refuse("X:1\nK:C\nC,,,,|\n"), NotesError::Pitch(12));
    assert!(decode(&[]).is_err());
    assert!(decode(&[0, 0]).is_err());
    let ids = encode(&canonical(&tune(JIG)), &Traits::of(&tune(JIG))).unwrap();
    for cut in 0..ids.len() {
        let _ = decode(&ids[..cut]);
    }
    let wrong = [&ids[..12], &[1_000_000]].concat();
    assert_eq!(
        decode(&wrong),
        Err(NotesError::Token {
            id: 1_000_000,
            place: 12
        })
    );
}

/// Every tune of the ABC files in the folder `MEDLEY_TUNES`.
#[test]
#[ignore = "needs a folder of tunes in MEDLEY_TUNES"]
fn collections_come_back() {
    let folder = std::env::var("MEDLEY_TUNES").unwrap();
    let (mut all, mut read, mut same, mut tokens, mut notes) = (0, 0, 0, 0, 0);
    let mut styles = std::collections::BTreeMap::<String, u32>::new();
    let mut lengths = Vec::new();
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
            let Ok(tune) = tune else { continue };
            read += 1;
            let tune = canonical(&tune);
            let traits = Traits::of(&tune);
            let ids = match encode(&tune, &traits) {
                Ok(ids) => ids,
                Err(error) => {
                    println!("{}: {}: {error}", path.display(), tune.title);
                    continue;
                }
            };
            let (again, _) = decode(&ids).unwrap();
            if again.bars != tune.bars {
                println!("differs: {}: {}", path.display(), tune.title);
                continue;
            }
            same += 1;
            tokens += ids.len();
            lengths.push(ids.len());
            notes += tune.bars.iter().map(|b| b.events.len()).sum::<usize>();
            for name in [
                traits.style.name(),
                traits.tempo.name(),
                traits.motion.name(),
            ] {
                *styles.entry(name.to_owned()).or_default() += 1;
            }
        }
    }
    lengths.sort_unstable();
    println!(
        "{same} of {read} read of {all} tunes come back; {tokens} tokens for {notes} notes; {styles:?}"
    );
    println!(
        "tokens of a tune: median {}, 90 % {}, 99 % {}",
        lengths[lengths.len() / 2],
        lengths[lengths.len() * 9 / 10],
        lengths[lengths.len() * 99 / 100]
    );
    assert!(all > 0 && same * 100 >= read * 98);
}
