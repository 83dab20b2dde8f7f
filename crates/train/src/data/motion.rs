//! Pictures set in motion: clips of still pictures that grow, swing or jump, with captions that say so, so that a model learns
//! what verbs mean for things that nobody filmed.

use medley_media::{Layout, MediaError, Picture};

use super::transform::Chance;
use crate::random::{Purpose, below};

/// A motion that ends where it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Motion {
    Beat,
    Bounce,
    Spin,
    Turn,
    Swing,
    Shake,
    Float,
    Blink,
}

/// Every motion and the words for it.
const MOTIONS: [(Motion, &[&str]); 8] = [
    (Motion::Beat, &["beating", "pulsing", "throbbing"]),
    (Motion::Bounce, &["bouncing", "jumping", "hopping"]),
    (Motion::Spin, &["spinning", "rotating", "rolling"]),
    (Motion::Turn, &["turning", "flipping"]),
    (Motion::Swing, &["swinging", "rocking", "swaying", "waving"]),
    (Motion::Shake, &["shaking", "trembling", "vibrating"]),
    (Motion::Float, &["floating", "hovering", "drifting"]),
    (Motion::Blink, &["blinking", "flashing", "fading"]),
];

/// Where a point of the moved picture comes from: an affine map over coordinates of -1 to 1, and how much of the picture is
/// there.
struct Pose {
    /// Of the moved picture against the still one.
    scale: [f64; 2],
    /// In radians, with the hands of the clock.
    angle: f64,
    /// To the right and down.
    shift: [f64; 2],
    /// The point that stays where it is under scaling and turning.
    centre: [f64; 2],
    opacity: f64,
}

impl Motion {
    /// The motion and its word that chance chooses.
    pub(super) fn chosen(chance: Chance) -> (Self, &'static str) {
        let bits = chance.bits(Purpose::Motion);
        let (motion, words) = MOTIONS[below(MOTIONS.len() as u64, bits) as usize];
        let word = below(words.len() as u64, bits.rotate_left(32)) as usize;
        (motion, words[word])
    }

    /// The pose at a share of the loop.
    fn pose(self, share: f64) -> Pose {
        let turn = std::f64::consts::TAU * share;
        let mut pose = Pose {
            scale: [1.0; 2],
            angle: 0.0,
            shift: [0.0; 2],
            centre: [0.0; 2],
            opacity: 1.0,
        };
        match self {
            Self::Beat => {
                // Twice a loop, quick to grow and slow to shrink.
                let phase = (2.0 * share).fract();
                let wave = (std::f64::consts::PI * phase.powf(0.6)).sin();
                pose.scale = [0.72 + 0.28 * wave; 2];
            }
            Self::Bounce => {
                let height = (turn).sin().abs();
                let squash = 0.14 * (1.0 - height).powi(4);
                pose.scale = [0.78 * (1.0 + squash), 0.78 * (1.0 - squash)];
                pose.centre = [0.0, 1.0];
                pose.shift = [0.0, -0.42 * height];
            }
            Self::Spin => {
                pose.angle = turn;
                pose.scale = [0.8; 2];
            }
            Self::Turn => {
                let width = turn.cos();
                // Never a mere line.
                pose.scale = [width.signum() * width.abs().max(0.08), 1.0];
            }
            Self::Swing => {
                pose.angle = 0.45 * turn.sin();
                pose.scale = [0.85; 2];
                pose.centre = [0.0, 0.8];
            }
            Self::Shake => {
                pose.shift = [0.12 * (3.0 * turn).sin(), 0.0];
                pose.angle = 0.06 * (3.0 * turn).sin();
                pose.scale = [0.88; 2];
            }
            Self::Float => {
                pose.shift = [0.05 * turn.cos(), 0.16 * turn.sin()];
                pose.scale = [0.84; 2];
            }
            Self::Blink => pose.opacity = 0.5 + 0.5 * turn.cos(),
        }
        pose
    }

    /// `count` frames of the picture in motion, of its size, over white.
    pub(super) fn frames(
        self,
        picture: &Picture,
        count: usize,
    ) -> Result<Vec<Picture>, MediaError> {
        let still = picture.over([255; 3]);
        (0..count)
            .map(|i| moved(&still, &self.pose(i as f64 / count as f64)))
            .collect()
    }
}

/// The picture in a pose.
fn moved(still: &Picture, pose: &Pose) -> Result<Picture, MediaError> {
    let (width, height) = (still.width(), still.height());
    let half = [f64::from(width) / 2.0, f64::from(height) / 2.0];
    let (sin, cos) = pose.angle.sin_cos();
    let mut pixels = Vec::with_capacity(still.pixels().len());
    for y in 0..height {
        for x in 0..width {
            let place = [
                (f64::from(x) + 0.5) / half[0] - 1.0 - pose.shift[0] - pose.centre[0],
                (f64::from(y) + 0.5) / half[1] - 1.0 - pose.shift[1] - pose.centre[1],
            ];
            let back = [
                (cos * place[0] + sin * place[1]) / pose.scale[0] + pose.centre[0],
                (cos * place[1] - sin * place[0]) / pose.scale[1] + pose.centre[1],
            ];
            let at = [0, 1].map(|i| (back[i] + 1.0) * half[i] - 0.5);
            let colour = between(still, at);
            pixels.extend(colour.map(|c| (255.0 + (c - 255.0) * pose.opacity).round() as u8));
        }
    }
    Picture::new(width, height, Layout::Rgb, pixels)
}

/// The colour between four pixels; white outside.
fn between(picture: &Picture, at: [f64; 2]) -> [f64; 3] {
    let (width, height) = (i64::from(picture.width()), i64::from(picture.height()));
    let first = at.map(f64::floor);
    let share = [at[0] - first[0], at[1] - first[1]];
    let mut sum = [0.0; 3];
    for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let weight = |d: i64, share: f64| if d == 1 { share } else { 1.0 - share };
        let weight = weight(dx, share[0]) * weight(dy, share[1]);
        let (x, y) = (first[0] as i64 + dx, first[1] as i64 + dy);
        let inside = (0..width).contains(&x) && (0..height).contains(&y);
        for (channel, sum) in sum.iter_mut().enumerate() {
            let value = match inside {
                true => f64::from(picture.pixels()[(y * width + x) as usize * 3 + channel]),
                false => 255.0,
            };
            *sum += weight * value;
        }
    }
    sum
}

/// A caption with the word of a motion before what moves: `a red heart` becomes `a beating red heart`.
pub(super) fn moving_caption(caption: &str, word: &str) -> String {
    for article in [" icon of a ", " icon of an "] {
        if let Some((before, after)) = caption.split_once(article) {
            return format!("{before} icon of a {word} {after}");
        }
    }
    if let Some((before, after)) = caption.split_once(" icon of ") {
        return format!("{before} icon of {word} {after}");
    }
    for article in ["a ", "an "] {
        if let Some(rest) = caption.strip_prefix(article) {
            return format!("a {word} {rest}");
        }
    }
    format!("{word} {caption}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_say_what_moves() {
        for (caption, moving) in [
            ("red heart, 3d", "beating red heart, 3d"),
            ("a red heart", "a beating red heart"),
            ("an apple, flat icon", "a beating apple, flat icon"),
            ("a 3d icon of an apple", "a 3d icon of a beating apple"),
            ("a flat icon of glasses", "a flat icon of beating glasses"),
            ("flag of France", "beating flag of France"),
        ] {
            assert_eq!(moving_caption(caption, "beating"), moving);
        }
    }

    /// A black bar in the upper half.
    fn bar() -> Picture {
        let mut pixels = vec![255; 16 * 16 * 3];
        for y in 2..6 {
            pixels[(y * 16 + 4) * 3..(y * 16 + 12) * 3].fill(0);
        }
        Picture::new(16, 16, Layout::Rgb, pixels).unwrap()
    }

    /// Sum of what is not white, and its mean place.
    fn ink(picture: &Picture) -> (f64, f64, f64) {
        let (mut sum, mut x, mut y) = (0.0, 0.0, 0.0);
        for (i, pixel) in picture.pixels().chunks_exact(3).enumerate() {
            let dark = f64::from(255 - pixel[0]) / 255.0;
            sum += dark;
            x += dark * (i % 16) as f64;
            y += dark * (i / 16) as f64;
        }
        (sum, x / sum.max(1e-9), y / sum.max(1e-9))
    }

    #[test]
    fn each_motion_moves_as_its_name_says() {
        let frames = |motion: Motion| motion.frames(&bar(), 8).unwrap();
        let whole = ink(&bar()).0;
        let beat: Vec<f64> = frames(Motion::Beat).iter().map(|f| ink(f).0).collect();
        let (least, most) = (beat[0], beat.iter().copied().fold(0.0, f64::max));
        assert!(least < 0.6 * whole && most > 0.9 * whole, "{beat:?}");
        let bounce = frames(Motion::Bounce);
        assert!(ink(&bounce[2]).2 + 2.0 < ink(&bounce[0]).2);
        // Half a turn brings the bar down, a quarter to the right.
        let spin = frames(Motion::Spin);
        assert!(ink(&spin[0]).2 < 6.0 && ink(&spin[4]).2 > 9.0);
        assert!(ink(&spin[2]).1 > 9.0, "{:?}", ink(&spin[2]));
        let blink = frames(Motion::Blink);
        assert!(ink(&blink[4]).0 < 0.05 * whole && ink(&blink[0]).0 > 0.95 * whole);
        for (motion, _) in MOTIONS {
            let frames = frames(motion);
            assert!(frames.iter().any(|f| *f != frames[0]), "{motion:?}");
        }
    }
}
