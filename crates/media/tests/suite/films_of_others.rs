//! Films that ffmpeg makes, as ffmpeg reads them; skipped where it is missing.

use std::path::Path;

use crate::ffmpeg::{by_ffmpeg, mean_gap, run};
use medley_media::film::*;

/// A test card of ffmpeg's in H.264, made as these words say; none where ffmpeg is missing.
fn filmed(path: &Path, sound: bool, more: &str) -> Option<()> {
    let sound = if sound {
        "-f lavfi -i sine=frequency=440:duration=2 -c:a aac"
    } else {
        ""
    };
    let words = format!(
        "-v error -y -f lavfi -i testsrc2=size=320x240:rate=25:duration=2 {sound} \
         -c:v libx264 -pix_fmt yuv420p {more} FILE"
    );
    run("ffmpeg", &words, path).map(|_| ())
}

/// That the frames are those of ffmpeg, in order.
fn same_frames(path: &Path, clip: &Clip, name: &str) {
    let raw = by_ffmpeg(path).unwrap();
    let length = clip.frames()[0].pixels().len();
    assert_eq!(raw.len(), length * clip.frames().len(), "{name}");
    for (i, frame) in clip.frames().iter().enumerate() {
        let gap = mean_gap(frame.pixels(), &raw[i * length..][..length]);
        assert!(gap < 3.0, "{name}, frame {i}: {gap}");
    }
}

#[test]
fn reordered_frames_other_profiles_and_matrices() {
    let folder = tempfile::tempdir().unwrap();
    for (name, sound, more) in [
        ("bframes", true, "-bf 3"),
        ("baseline", true, "-profile:v baseline"),
        ("bt601", true, "-colorspace smpte170m"),
        ("unedited", false, "-bf 3 -use_editlist 0"),
    ] {
        let path = folder.path().join(format!("{name}.mp4"));
        if filmed(&path, sound, more).is_none() {
            return;
        }
        let got = read_clip(&path, film_limits(), None).unwrap();
        assert_eq!(
            (got.frames().len(), got.rate().to_string()),
            (50, "25".to_owned()),
            "{name}"
        );
        if let Some(audio) = got.audio() {
            let heard = audio.seconds();
            assert!((heard - 2.0).abs() < 0.03, "{name}: {heard}");
        }
        same_frames(&path, &got, name);
    }
}

#[test]
fn uneven_frames_of_less_than_a_hundredth_keep_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("uneven.mp4");
    let words = "-v error -f lavfi -i testsrc2=size=64x64:rate=120:duration=1 -vf select='not(eq(mod(n,7),3))' \
                 -fps_mode vfr -c:v libx264 -bf 0 -pix_fmt yuv420p FILE";
    if run("ffmpeg", words, &path).is_none() {
        return;
    }
    let got = read_clip(&path, film_limits(), None).unwrap();
    assert!((got.seconds() - 1.0).abs() < 0.02, "{}", got.seconds());
}

#[test]
fn pictures_that_begin_after_the_sound_stay_in_step() {
    let folder = tempfile::tempdir().unwrap();
    let (both, path) = ["both.mp4", "late.mp4"]
        .map(|name| folder.path().join(name))
        .into();
    if filmed(&both, true, "-bf 0").is_none() {
        return;
    }
    let both = both.display();
    let words =
        format!("-v error -itsoffset 0.4 -i {both} -i {both} -map 0:v -map 1:a -c copy FILE");
    run("ffmpeg", &words, &path).unwrap();
    let mut reader = FilmReader::open(&path, film_limits(), None).unwrap();
    let first = reader.next_frame().unwrap().unwrap();
    assert!((first.at - 0.4).abs() < 0.01, "{}", first.at);
    assert!(
        (reader.seconds() - 2.4).abs() < 0.01,
        "{}",
        reader.seconds()
    );
    let clip = read_clip(&path, film_limits(), None).unwrap();
    // The first frame stands for 0.4 s, ten frames.
    assert_eq!(clip.frames().len(), 60);
    assert!(clip.frames()[..=10].iter().all(|f| *f == first.picture));
    assert_ne!(clip.frames()[11], first.picture);
    // Without the sound the film begins with its pictures.
    let alone = folder.path().join("alone.mp4");
    let words = format!("-v error -i {} -an -c copy FILE", path.display());
    run("ffmpeg", &words, &alone).unwrap();
    let clip = read_clip(&alone, film_limits(), None).unwrap();
    assert_eq!(clip.frames().len(), 50);
}

#[test]
fn films_are_turned_as_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let straight = folder.path().join("straight.mp4");
    if filmed(&straight, false, "").is_none() {
        return;
    }
    for (turn, size) in [(90, (240, 320)), (180, (320, 240)), (270, (240, 320))] {
        let path = folder.path().join("turned.mp4");
        let words = format!(
            "-v error -y -i {} -c copy -metadata:s:v rotate={turn} FILE",
            straight.display()
        );
        run("ffmpeg", &words, &path).unwrap();
        let got = read_clip(&path, film_limits(), None).unwrap();
        assert_eq!((got.width(), got.height()), size, "{turn}");
        same_frames(&path, &got, &turn.to_string());
    }
}
