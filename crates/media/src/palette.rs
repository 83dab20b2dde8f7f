//! At most 256 colours for a picture: boxes of colours are halved at the mean of their longest side,
//! the box with the largest error first
//! ([Heckbert 1982](https://doi.org/10.1145/965145.801294), with the splitting of
//! [Wan et al. 1990](https://doi.org/10.1002/col.5080150109)), then a few rounds of k-means.

use crate::picture::{Layout, Picture};

/// Colours of a palette, one of which may stand for "transparent".
const COLOURS: usize = 256;
/// Beyond so many different colours, those that agree in their upper five bits count as one.
const EXACT: usize = 1 << 15;
const ROUNDS: usize = 4;
/// Pixels below this opacity are transparent: GIF knows nothing between.
const OPAQUE: u8 = 128;

/// A picture as indices into its own colours.
pub(crate) struct Indexed {
    /// Red, green and blue of each colour.
    pub palette: Vec<u8>,
    /// One index a pixel.
    pub indices: Vec<u8>,
    /// The index of transparent pixels, if there are any.
    pub transparent: Option<u8>,
}

/// A colour (or the mean of several), and how many pixels have it.
#[derive(Clone, Copy)]
struct Bin {
    key: u32,
    colour: [f32; 3],
    count: f32,
}

pub(crate) fn index(picture: &Picture) -> Indexed {
    let channels = picture.layout().channels();
    let pixels = || picture.pixels().chunks_exact(channels);
    let visible = |pixel: &[u8]| picture.layout() == Layout::Rgb || pixel[3] >= OPAQUE;
    let has_hidden = pixels().any(|pixel| !visible(pixel));
    let mut keys: Vec<u32> = pixels()
        .filter(|pixel| visible(pixel))
        .map(|pixel| key(pixel, 0))
        .collect();
    keys.sort_unstable();
    let different = keys.chunk_by(|a, b| a == b).count();
    let cut = if different > EXACT { 3 } else { 0 };
    let mut bins = histogram(&keys, cut);
    let palette = colours(&mut bins, COLOURS - usize::from(has_hidden));
    let nearest: Vec<u8> = bins
        .iter()
        .map(|bin| nearest(&palette, bin.colour) as u8)
        .collect();
    let transparent = has_hidden.then_some(palette.len() as u8);
    let indices = pixels().map(|pixel| {
        if !visible(pixel) {
            return transparent.unwrap_or(0);
        }
        let found = bins.binary_search_by_key(&key(pixel, cut), |bin| bin.key);
        nearest[found.unwrap_or(0)]
    });
    let indices = indices.collect();
    let mut bytes: Vec<u8> = palette
        .iter()
        .flat_map(|colour| colour.map(|c| c.round() as u8))
        .collect();
    if has_hidden {
        bytes.extend_from_slice(&[0; 3]);
    }
    Indexed {
        palette: bytes,
        indices,
        transparent,
    }
}

/// The colour as one number, without the lowest `cut` bits of each part.
fn key(pixel: &[u8], cut: u32) -> u32 {
    let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(|part| u32::from(part >> cut));
    r << 16 | g << 8 | b
}

/// Bins by rising key, of rising full colours.
fn histogram(keys: &[u32], cut: u32) -> Vec<Bin> {
    let parts = |key: u32| [key >> 16, key >> 8, key].map(|part| part & 0xFF);
    let mut bins: Vec<Bin> = keys
        .chunk_by(|a, b| a == b)
        .map(|same| {
            let colour = parts(same[0]);
            Bin {
                key: key(&colour.map(|part| part as u8), cut),
                colour: colour.map(|part| part as f32),
                count: same.len() as f32,
            }
        })
        .collect();
    bins.sort_by_key(|bin| bin.key);
    bins.chunk_by(|a, b| a.key == b.key)
        .map(|group| Bin {
            key: group[0].key,
            colour: mean(group),
            count: group.iter().map(|bin| bin.count).sum(),
        })
        .collect()
}

fn mean(bins: &[Bin]) -> [f32; 3] {
    let total: f64 = bins.iter().map(|bin| f64::from(bin.count)).sum();
    [0, 1, 2].map(|part| {
        let weighted = |bin: &Bin| f64::from(bin.colour[part]) * f64::from(bin.count);
        (bins.iter().map(weighted).sum::<f64>() / total) as f32
    })
}

/// The part of the colour that spreads most in a box, and the box's squared error along it.
fn spread(bins: &[Bin]) -> (usize, f64) {
    let centre = mean(bins);
    let errors = [0, 1, 2].map(|part| {
        let error =
            |bin: &Bin| f64::from(bin.count) * f64::from(bin.colour[part] - centre[part]).powi(2);
        bins.iter().map(error).sum::<f64>()
    });
    let longest = (1..3).fold(0, |best, part| {
        if errors[part] > errors[best] {
            part
        } else {
            best
        }
    });
    (longest, errors[longest])
}

/// At most `most` colours for the bins, at least one; the bins stay in the order of their keys.
fn colours(bins: &mut [Bin], most: usize) -> Vec<[f32; 3]> {
    if bins.len() <= most {
        let exact: Vec<[f32; 3]> = bins.iter().map(|bin| bin.colour).collect();
        return if exact.is_empty() {
            vec![[0.0; 3]]
        } else {
            exact
        };
    }
    let mut sorted = bins.to_vec();
    // Boxes as ranges of `sorted`, with what `spread` says of each.
    let mut boxes = vec![(0..sorted.len(), spread(&sorted))];
    while boxes.len() < most {
        let worst = (1..boxes.len()).fold(0, |best, i| {
            if boxes[i].1.1 > boxes[best].1.1 {
                i
            } else {
                best
            }
        });
        let (range, (part, error)) = boxes[worst].clone();
        if error == 0.0 {
            break;
        }
        let within = &mut sorted[range.clone()];
        let centre = mean(within)[part];
        within.sort_by(|a, b| {
            a.colour[part]
                .total_cmp(&b.colour[part])
                .then(a.key.cmp(&b.key))
        });
        let half = within.partition_point(|bin| bin.colour[part] <= centre);
        let middle = range.start + half.clamp(1, within.len() - 1);
        boxes[worst] = (range.start..middle, spread(&sorted[range.start..middle]));
        boxes.push((middle..range.end, spread(&sorted[middle..range.end])));
    }
    let mut palette: Vec<[f32; 3]> = boxes
        .into_iter()
        .map(|(range, _)| mean(&sorted[range]))
        .collect();
    for _ in 0..ROUNDS {
        improve(&mut palette, bins);
    }
    palette
}

/// One round of k-means.
fn improve(palette: &mut [[f32; 3]], bins: &[Bin]) {
    let mut sums = vec![[0.0f64; 4]; palette.len()];
    for bin in bins {
        let sum = &mut sums[nearest(palette, bin.colour)];
        let count = f64::from(bin.count);
        for (total, part) in sum.iter_mut().zip(bin.colour) {
            *total += count * f64::from(part);
        }
        sum[3] += count;
    }
    for (colour, sum) in palette.iter_mut().zip(sums) {
        if sum[3] > 0.0 {
            *colour = [0, 1, 2].map(|part| (sum[part] / sum[3]) as f32);
        }
    }
}

fn nearest(palette: &[[f32; 3]], colour: [f32; 3]) -> usize {
    let distance = |known: &[f32; 3]| {
        let [r, g, b] = [0, 1, 2].map(|part| known[part] - colour[part]);
        r * r + g * g + b * b
    };
    let mut best = (0, f32::INFINITY);
    for (i, known) in palette.iter().enumerate() {
        let far = distance(known);
        if far < best.1 {
            best = (i, far);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_colours_are_kept_exactly() {
        let pixels: Vec<u8> = (0..=255u8).flat_map(|i| [i, 255 - i, i / 3]).collect();
        let picture = Picture::new(16, 16, Layout::Rgb, pixels.clone());
        let indexed = index(&picture.expect("a picture"));
        let back: Vec<u8> = indexed
            .indices
            .iter()
            .flat_map(|&i| indexed.palette[3 * usize::from(i)..][..3].to_vec())
            .collect();
        assert_eq!(back, pixels);
        assert_eq!(indexed.transparent, None);
    }

    #[test]
    fn many_colours_are_near() {
        let pixels: Vec<u8> = (0..256 * 256)
            .flat_map(|i: u32| [(i >> 8) as u8, i as u8, 128])
            .collect();
        let picture = Picture::new(256, 256, Layout::Rgb, pixels.clone()).expect("a picture");
        let indexed = index(&picture);
        assert_eq!(indexed.palette.len(), 3 * 256);
        let far = indexed
            .indices
            .iter()
            .zip(pixels.chunks(3))
            .map(|(&i, want)| {
                let got = &indexed.palette[3 * usize::from(i)..][..3];
                got.iter().zip(want).map(|(a, b)| a.abs_diff(*b)).max()
            });
        // 256 colours for a square of 256 × 256: 16 apart at best.
        assert!(far.max().flatten() < Some(24));
    }

    #[test]
    fn hidden_pixels_have_an_index_of_their_own() {
        let picture = Picture::new(2, 1, Layout::Rgba, vec![9, 9, 9, 0, 5, 6, 7, 255]);
        let indexed = index(&picture.expect("a picture"));
        assert_eq!(indexed.transparent, Some(indexed.indices[0]));
        assert_eq!(indexed.indices, [1, 0]);
        assert_eq!(indexed.palette, [5, 6, 7, 0, 0, 0]);
        let nothing = Picture::new(1, 1, Layout::Rgba, vec![0; 4]);
        assert_eq!(index(&nothing.expect("a picture")).indices, [1]);
    }
}
