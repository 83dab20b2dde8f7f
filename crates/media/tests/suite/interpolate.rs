//! Frames between frames: against the true ones, what must not change, and what may be asked for.

use medley_media::film::interpolate::{consistency, flicker};
use medley_media::film::{Clip, Rate, film_limits, interpolate, read_clip};
use medley_media::{Filter, Layout, MediaError, Picture};

/// A house with a window and a door, each point of it in -1 to 1, or nothing.
fn house(x: f32, y: f32) -> Option<[f32; 3]> {
    if (x + 0.4).abs() < 0.2 && (y + 0.1).abs() < 0.2 {
        return Some([90.0, 170.0, 240.0]);
    }
    if (x - 0.35).abs() < 0.2 && (0.1..0.8).contains(&y) {
        return Some([120.0, 60.0 + 50.0 * y, 40.0]);
    }
    if x.abs() < 0.8 && (-0.4..0.8).contains(&y) {
        return Some([240.0, 200.0 - 40.0 * y, 90.0 + 40.0 * x]);
    }
    let roof = (-0.95..=-0.4).contains(&y) && x.abs() < (y + 0.95) * 1.8;
    roof.then_some([200.0, 40.0, 50.0])
}

/// A house, `scale` pixels from its middle to its side, turned, at a place on white.
#[derive(Clone, Copy)]
struct Pose {
    x: f32,
    y: f32,
    scale: f32,
    turn: f32,
}

fn draw(side: u32, pose: Pose) -> Picture {
    const FINE: u32 = 4;
    let (sin, cos) = pose.turn.sin_cos();
    let mut pixels = Vec::new();
    for y in 0..side {
        for x in 0..side {
            let mut sum = [0.0f32; 3];
            for k in 0..FINE * FINE {
                let part = |i: u32| (i as f32 + 0.5) / FINE as f32;
                let dx = (x as f32 + part(k % FINE) - pose.x) / pose.scale;
                let dy = (y as f32 + part(k / FINE) - pose.y) / pose.scale;
                let colour = house(cos * dx + sin * dy, cos * dy - sin * dx).unwrap_or([255.0; 3]);
                for (sum, value) in sum.iter_mut().zip(colour) {
                    *sum += value;
                }
            }
            pixels.extend(sum.map(|sum| (sum / (FINE * FINE) as f32).round() as u8));
        }
    }
    Picture::new(side, side, Layout::Rgb, pixels).unwrap()
}

/// A noise without seams between 0 and 1, the same for the same index.
fn noise(index: u32) -> f32 {
    let mut state = index.wrapping_mul(0x9e37_79b9) ^ 0x85eb_ca6b;
    for _ in 0..3 {
        state = (state ^ (state >> 15)).wrapping_mul(0x2c1b_3c6d);
    }
    (state >> 8) as f32 / (1 << 24) as f32
}

fn clip(frames: Vec<Picture>) -> Clip {
    Clip::new(frames, Rate::new(8, 1).unwrap(), None).unwrap()
}

/// Decibels below full range; 99 for the same picture.
fn psnr(a: &Picture, b: &Picture) -> f64 {
    let squares: f64 = a.pixels().iter().zip(b.pixels()).map(square).sum();
    if squares == 0.0 {
        return 99.0;
    }
    10.0 * (255.0 * 255.0 * a.pixels().len() as f64 / squares).log10()
}

fn square((&a, &b): (&u8, &u8)) -> f64 {
    let difference = f64::from(a) - f64::from(b);
    difference * difference
}

fn faded(a: &Picture, b: &Picture) -> Picture {
    let mean = |(&a, &b): (&u8, &u8)| (u16::from(a) + u16::from(b)).div_ceil(2) as u8;
    let pixels = a.pixels().iter().zip(b.pixels()).map(mean).collect();
    Picture::new(a.width(), a.height(), a.layout(), pixels).unwrap()
}

#[test]
fn known_motions_are_followed() {
    let pose = |x, y, scale, turn| Pose { x, y, scale, turn };
    let middle = |a: f32, b: f32| (a + b) / 2.0;
    // What moves, and how many decibels over cross-fading it must be.
    for (name, a, b, gain) in [
        (
            "moved by 5 pixels",
            pose(60.0, 64.0, 30.0, 0.0),
            pose(64.0, 67.0, 30.0, 0.0),
            10.0,
        ),
        (
            "moved by 28 pixels, a small one",
            pose(40.0, 50.0, 14.0, 0.0),
            pose(65.0, 62.0, 14.0, 0.0),
            6.0,
        ),
        (
            "turned by 17 degrees",
            pose(64.0, 64.0, 35.0, -0.1),
            pose(64.0, 64.0, 35.0, 0.2),
            6.0,
        ),
        (
            "grown by a quarter",
            pose(64.0, 64.0, 32.0, 0.0),
            pose(64.0, 64.0, 40.0, 0.0),
            6.0,
        ),
    ] {
        let between = Pose {
            x: middle(a.x, b.x),
            y: middle(a.y, b.y),
            scale: middle(a.scale, b.scale),
            turn: middle(a.turn, b.turn),
        };
        let (a, b, truth) = (draw(128, a), draw(128, b), draw(128, between));
        let fade = psnr(&faded(&a, &b), &truth);
        let made = interpolate(&clip(vec![a, b]), 2, false).unwrap();
        let got = psnr(&made.frames()[1], &truth);
        println!("{name}: {got:.1} dB, cross-fading {fade:.1} dB");
        assert!(
            got > fade + gain,
            "{name}: {got:.1} dB, cross-fading {fade:.1} dB"
        );
    }
}

#[test]
fn what_is_still_stays_to_the_byte() {
    let texture: Vec<u8> = (0..64 * 48 * 3).map(|i| (noise(i) * 255.0) as u8).collect();
    let frame = Picture::new(64, 48, Layout::Rgb, texture).unwrap();
    let still = clip(vec![frame.clone(); 3]);
    let made = interpolate(&still, 4, true).unwrap();
    assert_eq!(made.frames().len(), 12);
    assert!(made.frames().iter().all(|f| *f == frame));
    assert_eq!((flicker(&made), consistency(&made)), (0.0, 0.0));

    // Half of it still, the other half changed: the still one does not change.
    let mut pixels = frame.pixels().to_vec();
    for row in pixels.chunks_exact_mut(64 * 3) {
        row[40 * 3..].fill(200);
    }
    let other = Picture::new(64, 48, Layout::Rgb, pixels).unwrap();
    let made = interpolate(&clip(vec![frame.clone(), other]), 4, false).unwrap();
    for made in made.frames() {
        let left = |f: &Picture| f.crop(0, 0, 34, 48).unwrap();
        assert_eq!(left(made), left(&frame));
    }
}

#[test]
fn counts_rates_and_the_frames_that_were_there() {
    let at = |x| {
        draw(
            48,
            Pose {
                x,
                y: 24.0,
                scale: 12.0,
                turn: 0.0,
            },
        )
    };
    let frames = vec![at(18.0), at(22.0), at(26.0)];
    let clip = clip(frames.clone());
    for (factor, closed, count) in [(4, true, 12), (4, false, 9), (1, true, 3), (1, false, 3)] {
        let made = interpolate(&clip, factor, closed).unwrap();
        assert_eq!(made.frames().len(), count, "{factor} {closed}");
        assert_eq!(made.rate(), Rate::new(8 * factor, 1).unwrap());
        let kept = made.frames().iter().step_by(factor as usize);
        assert!(kept.take(3).eq(&frames), "{factor} {closed}");
        if closed {
            assert!((made.seconds() - clip.seconds()).abs() < 1e-9);
        }
    }
    for factor in [0, 65, u32::MAX, 31] {
        let error = interpolate(&clip, factor, true).unwrap_err();
        assert!(matches!(error, MediaError::Size { .. }), "{error}");
    }
}

#[test]
fn sizes_that_are_hardly_pictures() {
    for (width, height) in [(1, 1), (1, 7), (3, 1), (2, 2), (300, 1), (1, 129), (41, 5)] {
        let picture = |seed: u32, layout: Layout| {
            let count = width * height * layout.channels() as u32;
            let bytes = (0..count).map(|i| (noise(i + seed) * 255.0) as u8);
            Picture::new(width, height, layout, bytes.collect()).unwrap()
        };
        let frames = vec![
            picture(1, Layout::Rgb),
            picture(2, Layout::Rgba),
            picture(3, Layout::Rgba),
        ];
        let noisy = clip(frames.clone());
        let made = interpolate(&noisy, 3, true).unwrap();
        assert_eq!(made.frames().len(), 9);
        assert!(made.frames().iter().step_by(3).eq(&frames));
        assert_eq!(made.frames()[1].layout(), Layout::Rgba);
        assert!(flicker(&noisy).is_finite() && consistency(&noisy).is_finite());

        let one = clip(vec![picture(1, Layout::Rgb)]);
        assert_eq!(interpolate(&one, 3, false).unwrap().frames().len(), 1);
        let looped = interpolate(&one, 3, true).unwrap();
        assert!(
            looped.frames().iter().all(|f| *f == one.frames()[0]) && looped.frames().len() == 3
        );
        assert_eq!((flicker(&one), consistency(&one)), (0.0, 0.0));
    }
}

#[test]
fn flicker_is_seen_and_motion_is_not() {
    let at = |i: u32| {
        let x = 40.0 + 3.0 * i as f32;
        draw(
            96,
            Pose {
                x,
                y: 48.0,
                scale: 20.0,
                turn: 0.0,
            },
        )
    };
    let moving: Vec<Picture> = (0..5).map(at).collect();
    let noisy = |(i, frame): (usize, &Picture)| {
        let grain = |(j, &byte): (usize, &u8)| {
            let up = noise((i * frame.pixels().len() + j) as u32) - 0.5;
            (f32::from(byte) + 16.0 * up).clamp(0.0, 255.0) as u8
        };
        let pixels = frame.pixels().iter().enumerate().map(grain).collect();
        Picture::new(96, 96, Layout::Rgb, pixels).unwrap()
    };
    let grainy = clip(moving.iter().enumerate().map(noisy).collect());
    let moving = clip(moving);
    let (steady, unsteady) = (flicker(&moving), flicker(&grainy));
    let (followed, lost) = (consistency(&moving), consistency(&grainy));
    println!("flicker: moving {steady:.3}, with grain {unsteady:.3} levels");
    println!("consistency: moving {followed:.3}, with grain {lost:.3} levels");
    assert!(steady < 0.3 && unsteady > 10.0 * steady && unsteady > 2.0);
    assert!(followed < 1.0 && lost > 2.0 * followed);
}

#[test]
fn a_second_of_icons_is_quick() {
    let at = |i: u32| {
        let turn = i as f32 / 16.0 * std::f32::consts::TAU;
        let x = 64.0 + 10.0 * turn.cos();
        draw(
            128,
            Pose {
                x,
                y: 64.0,
                scale: 35.0,
                turn: 0.3 * turn.sin(),
            },
        )
    };
    let clip = clip((0..16).map(at).collect());
    let start = std::time::Instant::now();
    let made = interpolate(&clip, 4, true).unwrap();
    println!(
        "48 new frames of 128x128: {:.2} s",
        start.elapsed().as_secs_f64()
    );
    assert_eq!(made.frames().len(), 64);
    assert_eq!(made, interpolate(&clip, 4, true).unwrap());
}

/// The files of a folder, every second of 32 frames left out and made again.
#[test]
#[ignore = "needs a folder of clips: MEDLEY_CLIPS"]
fn frames_left_out_of_real_clips_come_back() {
    let folder = std::env::var("MEDLEY_CLIPS").unwrap();
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let (mut made_sum, mut fade_sum, mut count) = (0.0, 0.0, 0);
    for file in files.iter().step_by(files.len().div_ceil(30)) {
        let clip = read_clip(file, film_limits(), None).unwrap();
        let clip = clip.sampled(32).unwrap();
        let small = |f: &Picture| f.over([255; 3]).resize(128, 128, Filter::Lanczos).unwrap();
        let frames: Vec<Picture> = clip.frames().iter().map(small).collect();
        let kept: Vec<Picture> = frames.iter().step_by(2).cloned().collect();
        let kept = Clip::new(kept, clip.rate(), None).unwrap();
        let made = interpolate(&kept, 2, false).unwrap();
        for i in (1..frames.len() - 1).step_by(2) {
            if frames[i - 1] == frames[i] && frames[i] == frames[i + 1] {
                continue;
            }
            made_sum += psnr(&made.frames()[i], &frames[i]).min(60.0);
            fade_sum += psnr(&faded(&frames[i - 1], &frames[i + 1]), &frames[i]).min(60.0);
            count += 1;
        }
    }
    let (made, fade) = (made_sum / f64::from(count), fade_sum / f64::from(count));
    println!("{count} frames: {made:.2} dB, cross-fading {fade:.2} dB");
    assert!(made > fade + 1.0);
}
