//! How steady a clip is.

use super::flow::{flow, pyramid};
use super::planes::{Place, Planes};
use crate::film::Clip;

/// The most that the mean of a block changes while nothing moves in it, of 1: six levels.
const STILL: f32 = 6.0 / 255.0;

/// How much that which does not move changes from frame to frame and back, in levels of 8 bits.
///
/// For every frame t but the first and the last, a block of 4 × 4 pixels does not move if the frames t-1 and t+1, as means of blocks blurred by
/// 1 2 1 in both directions (so that grain is gone), differ by less than 6 levels in every value of it and of the eight blocks around it.
/// The measure is the mean of |x(t-1) - 2 x(t) + x(t+1)| over all pixels of such blocks of all frames, and over red, green and blue (where there is
/// opacity: those premultiplied, and the opacity). Even fading has none; a value that goes up and down by d from
/// frame to frame has 2d. 0 if the clip has fewer than three frames or nothing is still.
///
/// What is there in one frame only, and what is back where it was after two, counts. No flow is taken for it: on a plain ground
/// that says nothing, and grain would be taken for motion.
pub fn flicker(clip: &Clip) -> f64 {
    let planes = planes(clip);
    let blocks: Vec<Planes> = planes
        .iter()
        .map(|p| p.halved().halved().smoothed())
        .collect();
    let (mut sum, mut count) = (0.0f64, 0u64);
    for t in 1..planes.len().saturating_sub(1) {
        let still = still(&blocks[t - 1], &blocks[t + 1]);
        let (before, here, after) = (&planes[t - 1], &planes[t], &planes[t + 1]);
        let (w, across) = (here.width, blocks[t].width);
        for i in (0..w * here.height).filter(|i| still[i / w / 4 * across + i % w / 4]) {
            let planes = before.planes.iter().zip(&here.planes).zip(&after.planes);
            for ((a, b), c) in planes {
                sum += f64::from((a[i] - 2.0 * b[i] + c[i]).abs());
                count += 1;
            }
        }
    }
    sum * 255.0 / count.max(1) as f64
}

/// How unlike each frame is the next one moved back onto it, in levels of 8 bits.
///
/// The mean of |x(t, p) - x(t+1, p + flow(p))| over all frames but the last, all pixels that stay inside the picture, and their
/// values (as in [`flicker`]). What appears, vanishes, is uncovered or changes its colour is in it, and so are errors of the flow: clips are
/// compared by it, at one size. 0 if the clip has one frame.
pub fn consistency(clip: &Clip) -> f64 {
    let planes = planes(clip);
    let pyramids: Vec<_> = planes.iter().map(pyramid).collect();
    let (mut sum, mut count) = (0.0f64, 0u64);
    for (pair, levels) in planes.windows(2).zip(pyramids.windows(2)) {
        let field = flow(&levels[0], &levels[1]);
        let (w, h) = (field.width, field.height);
        for (i, (&u, &v)) in field.u.iter().zip(&field.v).enumerate() {
            let (x, y) = ((i % w) as f32 + u, (i / w) as f32 + v);
            if x < 0.0 || y < 0.0 || x > (w - 1) as f32 || y > (h - 1) as f32 {
                continue;
            }
            sum += f64::from(pair[0].difference(i, &pair[1], Place::new(x, y, w, h)));
            count += 1;
        }
    }
    sum * 255.0 / count.max(1) as f64
}

fn planes(clip: &Clip) -> Vec<Planes> {
    let opacity = super::has_opacity(clip.frames());
    let frames = clip.frames().iter();
    frames.map(|frame| Planes::of(frame, opacity)).collect()
}

/// Of every block whether nothing moves in it and beside it.
fn still(before: &Planes, after: &Planes) -> Vec<bool> {
    let (w, h) = (before.width, before.height);
    let differ = |i: usize| {
        let mut pairs = before.planes.iter().zip(&after.planes);
        pairs.any(|(a, b)| (a[i] - b[i]).abs() >= STILL)
    };
    let mut still = vec![true; w * h];
    for i in (0..w * h).filter(|&i| differ(i)) {
        let (x, y) = (i % w, i / w);
        for row in y.saturating_sub(1)..(y + 2).min(h) {
            still[row * w..][x.saturating_sub(1)..(x + 2).min(w)].fill(false);
        }
    }
    still
}
