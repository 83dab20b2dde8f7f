//! Frames between frames, by optical flow.
//!
//! [`interpolate`] makes a clip of few frames a smooth one: it finds where every pixel goes from each frame to the next and back, moves both
//! frames to the times between, and blends them. It is meant for short clips of small things on a plain ground, 32 to 512 pixels a side, and
//! works on any. [`flicker`] and [`consistency`] measure how steady a clip is.
//!
//! The flow is dense, coarse to fine: at about 32 pixels all shifts are searched (`coarse`), each level then refines the flow
//! of the one below by variational methods (`refine`), and `between` says what of which frame is seen when. Sources stand there.
//!
//! Against the true middle frame of a drawn house at 128 × 128 (`tests/suite/interpolate.rs`), with cross-fading beside it: moved by 5 pixels 45.1
//! and 24.9 dB, moved by as much as it is wide 29.9 and 21.2, turned by 17 degrees 32.3 and 23.6, grown by a quarter 42.4 and 21.8. Every
//! second of 32 frames of 30 animated emoji, left out and made again: 32.2 and 30.2 dB. What turns away, and limbs that move further
//! than they are wide past each other, tear or fade.
//!
//! The same clip gives the same bytes on every machine and with any number of threads: plain sums of 32-bit floats in one order,
//! square roots, and no function of the mathematical library.

mod between;
mod coarse;
mod flow;
mod measure;
mod planes;
mod refine;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use between::Pair;
use flow::{flow, pyramid};
pub use measure::{consistency, flicker};
use planes::Planes;

use super::{Clip, Rate};
use crate::error::{MediaError, size};
use crate::picture::{Layout, Picture};

/// The most frames that may come of one.
const MOST: u32 = 64;

/// Flow below this, in pixels, of a pixel that is the same in both frames is none.
const STILL: f32 = 0.5;

/// The clip with `factor` - 1 new frames between neighbours, and `factor` times the rate; `closed`, also between the last frame and the first.
///
/// Of n frames come n × `factor` if it is closed, with the duration of the clip; otherwise (n - 1) × `factor` + 1, which end with the last frame, and
/// the duration is shorter by what the last frame was shown longer. Every frame of the clip stays as it is, to the byte, at `factor` times its
/// index. A pixel that is the same in both neighbours, and that nothing passes, is the same between them. The sound stays.
///
/// Frames with opacity are blended premultiplied; between one with and one without it the new ones have it. Pairs of frames are spread over
/// the processor's cores; the result does not depend on how many there are.
///
/// # Errors
/// [`MediaError::Size`] unless `factor` is 1 to 64 and the new rate at most 240 a second.
pub fn interpolate(clip: &Clip, factor: u32, closed: bool) -> Result<Clip, MediaError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    interpolate_on(clip, factor, closed, threads)
}

fn interpolate_on(
    clip: &Clip,
    factor: u32,
    closed: bool,
    threads: usize,
) -> Result<Clip, MediaError> {
    size(
        (1..=MOST).contains(&factor),
        "the number of frames made of one",
        factor,
        format!("1 to {MOST}"),
    )?;
    let rate = clip.rate();
    let rate = Rate::new(rate.frames().saturating_mul(factor), rate.seconds())?;
    let frames = clip.frames();
    let count = frames.len();
    let pairs = if closed { count } else { count - 1 };
    let new = spread(pairs, threads, |i| {
        between(&frames[i], &frames[(i + 1) % count], factor)
    })?;
    let mut all = Vec::with_capacity(count + pairs * (factor as usize - 1));
    let mut new = new.into_iter();
    for frame in frames {
        all.push(frame.clone());
        all.extend(new.next().into_iter().flatten());
    }
    Clip::new(all, rate, clip.audio().cloned())
}

/// What `work` makes of 0 to `count` - 1, in that order, on so many threads.
fn spread<T: Send>(
    count: usize,
    threads: usize,
    work: impl Fn(usize) -> Result<T, MediaError> + Sync,
) -> Result<Vec<T>, MediaError> {
    let next = AtomicUsize::new(0);
    let made = Mutex::new(Vec::with_capacity(count));
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, count.max(1)) {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count {
                        break;
                    }
                    let result = work(i);
                    made.lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .push((i, result));
                }
            });
        }
    });
    let mut made = made
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    made.sort_by_key(|&(i, _)| i);
    made.into_iter().map(|(_, result)| result).collect()
}

/// The `factor` - 1 frames between two of one size.
fn between(first: &Picture, second: &Picture, factor: u32) -> Result<Vec<Picture>, MediaError> {
    if factor == 1 {
        return Ok(Vec::new());
    }
    let opacity = has_opacity(&[first, second]);
    let layout = |picture: &Picture| {
        if opacity {
            picture.to_rgba()
        } else {
            picture.clone()
        }
    };
    let (first, second) = (layout(first), layout(second));
    if first == second {
        return Ok(vec![first; factor as usize - 1]);
    }
    let (a, b) = (Planes::of(&first, opacity), Planes::of(&second, opacity));
    let (a_levels, b_levels) = (pyramid(&a), pyramid(&b));
    let there = flow(&a_levels, &b_levels);
    let back = flow(&b_levels, &a_levels);
    let pair = Pair::new(a, b, there, back);
    (1..factor)
        .map(|k| at(&pair, &first, &second, k as f32 / factor as f32))
        .collect()
}

/// The frame at time `t` between two.
fn at(pair: &Pair, first: &Picture, second: &Picture, t: f32) -> Result<Picture, MediaError> {
    let channels = first.layout().channels();
    let field = pair.flow_at(t);
    let mut pixels = Vec::with_capacity(first.pixels().len());
    let both = first.pixels().chunks_exact(channels);
    for (i, (p, q)) in both.zip(second.pixels().chunks_exact(channels)).enumerate() {
        let (u, v) = (field.u[i], field.v[i]);
        if p == q && u * u + v * v < STILL * STILL {
            pixels.extend_from_slice(p);
            continue;
        }
        let values = pair.blend(i % field.width, i / field.width, t, (u, v));
        push(values, first.layout(), &mut pixels);
    }
    Picture::new(first.width(), first.height(), first.layout(), pixels)
}

fn push([r, g, b, a]: [f32; 4], layout: Layout, pixels: &mut Vec<u8>) {
    let byte = |value: f32| (value.clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
    match layout {
        Layout::Rgb => pixels.extend([r, g, b].map(byte)),
        Layout::Rgba => {
            let back = if a > 0.0 { 1.0 / a } else { 0.0 };
            pixels.extend([r * back, g * back, b * back, a].map(byte));
        }
    }
}

fn has_opacity<P: std::borrow::Borrow<Picture>>(pictures: &[P]) -> bool {
    let with = |picture: &P| picture.borrow().layout() == Layout::Rgba;
    pictures.iter().any(with)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_threads_gives_the_same() {
        let frame = |shift: usize| {
            let level = |i: usize| {
                let (x, y) = (i % 40, i / 40);
                let inside = (10..22).contains(&x.saturating_sub(shift)) && (8..24).contains(&y);
                if inside {
                    [200, (7 * y) as u8, 40]
                } else {
                    [255; 3]
                }
            };
            Picture::new(40, 32, Layout::Rgb, (0..1280).flat_map(level).collect()).unwrap()
        };
        let frames = (0..5).map(|i| frame(2 * i)).collect();
        let clip = Clip::new(frames, Rate::new(10, 1).unwrap(), None).unwrap();
        let one = interpolate_on(&clip, 3, true, 1).unwrap();
        for threads in [0, 2, 3, 9] {
            assert_eq!(interpolate_on(&clip, 3, true, threads).unwrap(), one);
        }
    }

    #[test]
    fn opacity_is_kept_apart_from_colour() {
        // A half transparent square on nothing whose colour must not be mixed with black.
        let frame = |left: usize| {
            let level = |i: usize| {
                let inside = (left..left + 10).contains(&(i % 32)) && (8..20).contains(&(i / 32));
                if inside { [240, 120, 60, 128] } else { [0; 4] }
            };
            Picture::new(32, 32, Layout::Rgba, (0..1024).flat_map(level).collect()).unwrap()
        };
        let made = between(&frame(8), &frame(12), 2).unwrap();
        for pixel in made[0].pixels().as_chunks::<4>().0 {
            let [r, g, b, a] = pixel.map(i32::from);
            let near = |got: i32, want: i32| (got - want).abs() <= 128 / a.max(1) + 1;
            assert!(
                a == 0 || near(r, 240) && near(g, 120) && near(b, 60),
                "{pixel:?}"
            );
        }
        let solid = made[0].crop(12, 10, 6, 8).unwrap();
        assert!(
            solid
                .pixels()
                .chunks_exact(4)
                .all(|p| p == [240, 120, 60, 128])
        );
    }
}
