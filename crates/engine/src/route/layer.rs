//! What the router learned: a small layer over the states of a sentence encoder, and how it is fitted to labelled requests.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::Destination;

/// Media that are told apart.
const MEDIA: usize = Destination::ALL.len();

/// Attention with learned queries, whose sums a linear layer weighs: each query looks for words of a kind, and takes from
/// them one number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Layer {
    /// What a destination that the rules chose has ahead of the others, in nats, by the `Strength` of what they found.
    pub(super) rules: [f32; 5],
    /// The queries, each as wide as a state.
    queries: Vec<Vec<f32>>,
    /// What a state that a query found has of what it looked for.
    values: Vec<Vec<f32>>,
    /// For each of [`Destination::ALL`] a weight of each query, and one by itself.
    weights: Vec<Vec<f32>>,
}

/// A labelled request as the encoder reads it.
pub struct Labelled {
    /// Its states `[tokens, width]`.
    pub states: Vec<f32>,
    /// Where it should go.
    pub destination: Destination,
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn softmax(row: &mut [f32]) {
    let most = row.iter().copied().fold(f32::MIN, f32::max);
    row.iter_mut().for_each(|x| *x = (*x - most).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|x| *x /= sum);
}

/// What one query found.
struct Found {
    /// Its attention to each state.
    attention: Vec<f32>,
    /// What each state has.
    has: Vec<f32>,
    /// The sum of these, weighed by the attention.
    sum: f32,
}

impl Layer {
    /// Behind this layer of the encoder are the states that are read: of all six, those behind the fourth tell most.
    pub const BEHIND: usize = 4;
    /// Tokens of a prompt that are read.
    pub const TOKENS: usize = 256;

    /// Width of the states that it reads; nothing where its parts do not fit together.
    pub(super) fn width(&self) -> Option<usize> {
        let width = self.queries.first()?.len();
        let wide = |rows: &[Vec<f32>], width| rows.iter().all(|row| row.len() == width);
        let fits = wide(&self.queries, width)
            && wide(&self.values, width)
            && self.values.len() == self.queries.len()
            && self.weights.len() == MEDIA
            && wide(&self.weights, self.queries.len() + 1);
        fits.then_some(width)
    }

    /// The logarithm of each destination's share in what a prompt with these states may mean.
    pub fn scores(&self, states: &[f32]) -> [f32; MEDIA] {
        let sums: Vec<f32> = self.found(states).iter().map(|found| found.sum).collect();
        let scores = self.weighed(&sums);
        let most = scores.iter().copied().fold(f32::MIN, f32::max);
        let all = most + scores.iter().map(|s| (s - most).exp()).sum::<f32>().ln();
        scores.map(|score| score - all)
    }

    fn found(&self, states: &[f32]) -> Vec<Found> {
        let find = |(query, value): (&Vec<f32>, &Vec<f32>)| {
            let states = || states.chunks_exact(query.len());
            let mut attention: Vec<f32> = states().map(|state| dot(state, query)).collect();
            softmax(&mut attention);
            let has: Vec<f32> = states().map(|state| dot(state, value)).collect();
            let sum = dot(&attention, &has);
            Found {
                attention,
                has,
                sum,
            }
        };
        self.queries.iter().zip(&self.values).map(find).collect()
    }

    fn weighed(&self, sums: &[f32]) -> [f32; MEDIA] {
        let mut scores = [0.0; MEDIA];
        for (score, weights) in scores.iter_mut().zip(&self.weights) {
            *score = dot(weights, sums) + weights.last().unwrap_or(&0.0);
        }
        scores
    }

    /// Fits a layer to `requests`, whose states are `width` wide: the cross-entropy falls by AdamW over small batches, while
    /// parts of what is found are left out.
    pub fn fit(requests: &[&Labelled], width: usize, settings: &Fitting) -> Self {
        let mut random = StdRng::seed_from_u64(settings.seed);
        let mut drawn = |rows: usize, width: usize, deviation: f32| -> Vec<Vec<f32>> {
            let mut row = || {
                (0..width)
                    .map(|_| deviation * normal(&mut random))
                    .collect()
            };
            (0..rows).map(|_| row()).collect()
        };
        let mut layer = Self {
            rules: settings.rules,
            queries: drawn(settings.queries, width, 0.08),
            values: drawn(settings.queries, width, 0.02),
            weights: drawn(MEDIA, settings.queries + 1, 0.1),
        };
        let mut slopes = layer.zero();
        let mut adam = [layer.zero(), layer.zero()];
        let steps = settings.epochs * requests.len().div_ceil(settings.batch);
        let mut order: Vec<usize> = (0..requests.len()).collect();
        let mut step = 0;
        for _ in 0..settings.epochs {
            order.shuffle(&mut random);
            for batch in order.chunks(settings.batch) {
                slopes.rows().for_each(|row| row.fill(0.0));
                for &at in batch {
                    layer.learn(requests[at], settings, &mut random, &mut slopes);
                }
                step += 1;
                layer.update(&mut slopes, &mut adam, step, steps, settings, batch.len());
            }
        }
        layer
    }

    /// As many numbers, all zero.
    fn zero(&self) -> Self {
        let mut zero = self.clone();
        zero.rows().for_each(|row| row.fill(0.0));
        zero
    }

    fn rows(&mut self) -> impl Iterator<Item = &mut Vec<f32>> {
        let (queries, values) = (&mut self.queries, &mut self.values);
        queries.iter_mut().chain(values).chain(&mut self.weights)
    }

    /// Adds the slopes of one request's error.
    fn learn(&self, request: &Labelled, settings: &Fitting, random: &mut StdRng, to: &mut Self) {
        let width = self.queries.first().map_or(1, Vec::len);
        let states = settings.blurred(&request.states, width, random);
        let found = self.found(&states);
        let keep = 1.0 - settings.drop;
        let kept: Vec<f32> = found
            .iter()
            .map(|_| f32::from(u8::from(random.random::<f32>() < keep)) / keep)
            .collect();
        let sums: Vec<f32> = found.iter().zip(&kept).map(|(f, k)| f.sum * k).collect();
        let mut errors = self.weighed(&sums);
        softmax(&mut errors);
        // A label is not all the truth.
        let smooth = settings.smooth;
        for (medium, error) in errors.iter_mut().enumerate() {
            *error -= smooth / MEDIA as f32;
            if medium == request.destination as usize {
                *error -= 1.0 - smooth;
            }
        }
        for (slopes, error) in to.weights.iter_mut().zip(errors) {
            slopes
                .iter_mut()
                .zip(&sums)
                .for_each(|(s, x)| *s += error * x);
            if let Some(by_itself) = slopes.last_mut() {
                *by_itself += error;
            }
        }
        for (at, found) in found.iter().enumerate() {
            let weighed = errors.iter().zip(&self.weights).map(|(e, w)| e * w[at]);
            let slope = weighed.sum::<f32>() * kept[at];
            if slope == 0.0 {
                continue;
            }
            let states = states.chunks_exact(width);
            for (state, (attention, has)) in states.zip(found.attention.iter().zip(&found.has)) {
                let of_value = slope * attention;
                let of_query = of_value * (has - found.sum);
                let both = to.queries[at].iter_mut().zip(&mut to.values[at]);
                for ((query, value), x) in both.zip(state) {
                    *query += of_query * x;
                    *value += of_value * x;
                }
            }
        }
    }

    /// One step of AdamW, whose rate rises for a tenth of the steps and falls along half a cosine.
    fn update(
        &mut self,
        slopes: &mut Self,
        [means, squares]: &mut [Self; 2],
        step: usize,
        steps: usize,
        settings: &Fitting,
        batch: usize,
    ) {
        let (now, rising) = (step as f32, 0.1 * steps as f32);
        let rate = if now < rising {
            settings.rate * now / rising
        } else {
            let at = (now - rising) / (steps as f32 - rising).max(1.0);
            settings.rate * 0.5 * (1.0 + (std::f32::consts::PI * at).cos())
        };
        let [first, second] = [0.9f32, 0.999].map(|beta| 1.0 - beta.powi(step as i32));
        let parts = self.rows().zip(slopes.rows());
        for ((row, slopes), (means, squares)) in parts.zip(means.rows().zip(squares.rows())) {
            let numbers = row.iter_mut().zip(slopes);
            for ((x, slope), (mean, square)) in numbers.zip(means.iter_mut().zip(squares)) {
                let slope = *slope / batch as f32;
                *mean += 0.1 * (slope - *mean);
                *square += 1e-3 * (slope * slope - *square);
                *x -= rate * settings.decay * *x;
                *x -= rate * (*mean / first) / ((*square / second).sqrt() + 1e-8);
            }
        }
    }

    /// With the digits that are needed, so that the file is small.
    #[must_use]
    pub fn rounded(mut self) -> Self {
        self.rows()
            .flat_map(|row| row.iter_mut())
            .for_each(|x| *x = (*x * 1e3).round() / 1e3);
        self
    }
}

/// How a layer is fitted.
pub struct Fitting {
    /// What a destination of the rules has ahead where no word told, a thing was named, a sign told, the head of what is
    /// asked for, or a verb.
    pub rules: [f32; 5],
    /// Number of queries.
    pub queries: usize,
    /// Times that all requests are seen.
    pub epochs: usize,
    /// Requests that are learned from at once.
    pub batch: usize,
    /// Highest rate of AdamW.
    pub rate: f32,
    /// Its decay of the weights.
    pub decay: f32,
    /// Share of the queries that are left out of a request.
    pub drop: f32,
    /// Share of each state's numbers that are.
    pub blur: f32,
    /// Share of the states that are.
    pub skip: f32,
    /// What a label leaves to all media alike.
    pub smooth: f32,
    /// Of the first weights, of the order and of what is left out.
    pub seed: u64,
}

impl Default for Fitting {
    /// As the router's own layer is fitted: chosen on requests that neither rules nor layer had seen. Of these, more videos
    /// and pieces of music than people ask for so are told by no word: things count half a nat more than is best there.
    fn default() -> Self {
        Self {
            rules: [0.5, 1.0, 0.5, 1.0, 1.0],
            queries: 64,
            epochs: 20,
            batch: 64,
            rate: 4e-3,
            decay: 1e-2,
            drop: 0.3,
            blur: 0.2,
            skip: 0.1,
            smooth: 0.05,
            seed: 1,
        }
    }
}

impl Fitting {
    /// States without some of them, and without some of their numbers; the first stays.
    fn blurred(&self, states: &[f32], width: usize, random: &mut StdRng) -> Vec<f32> {
        let keep = 1.0 - self.blur;
        let mut left = Vec::with_capacity(states.len());
        for (at, state) in states.chunks_exact(width).enumerate() {
            if at > 0 && random.random::<f32>() < self.skip {
                continue;
            }
            let kept = |x: &f32| match random.random::<f32>() < keep {
                true => x / keep,
                false => 0.0,
            };
            left.extend(state.iter().map(kept));
        }
        left
    }
}

fn normal(random: &mut StdRng) -> f32 {
    let (radius, turn) = (1.0 - random.random::<f32>(), random.random::<f32>());
    (-2.0 * radius.ln()).sqrt() * (std::f32::consts::TAU * turn).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 5;

    fn plain() -> Fitting {
        Fitting {
            queries: 3,
            epochs: 60,
            batch: 4,
            rate: 2e-2,
            drop: 0.0,
            blur: 0.0,
            skip: 0.0,
            ..Fitting::default()
        }
    }

    /// Requests whose medium is told by one of their states, wherever it stands.
    fn toys(random: &mut StdRng) -> Vec<Labelled> {
        let one = |at: usize, random: &mut StdRng| {
            let destination = Destination::ALL[at % 3];
            let mut states: Vec<f32> = (0..4 * WIDTH).map(|_| 0.3 * normal(random)).collect();
            states[WIDTH * (at % 4) + destination as usize] += 3.0;
            Labelled {
                states,
                destination,
            }
        };
        (0..48).map(|at| one(at, random)).collect()
    }

    #[test]
    fn the_slopes_are_those_of_the_error() {
        let mut random = StdRng::seed_from_u64(3);
        let requests = toys(&mut random);
        let settings = plain();
        let mut layer = Layer::fit(&[], WIDTH, &settings);
        layer
            .rows()
            .flat_map(|row| row.iter_mut())
            .for_each(|x| *x = 0.5 * normal(&mut random));
        let request = &requests[1];
        let mut slopes = layer.zero();
        layer.learn(request, &settings, &mut random, &mut slopes);
        let slopes: Vec<f32> = slopes.rows().flat_map(|row| row.clone()).collect();
        let error = |layer: &Layer| -> f64 {
            let scores = layer.scores(&request.states);
            let share = f64::from(settings.smooth) / MEDIA as f64;
            let all: f64 = scores.iter().map(|s| f64::from(*s)).sum();
            let own = f64::from(scores[request.destination as usize]);
            -(share * all + (1.0 - f64::from(settings.smooth)) * own)
        };
        for (at, slope) in slopes.iter().enumerate() {
            let moved = |by: f32| {
                let mut layer = layer.clone();
                if let Some(x) = layer.rows().flat_map(|row| row.iter_mut()).nth(at) {
                    *x += by;
                }
                error(&layer)
            };
            let measured = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!(
                (measured - f64::from(*slope)).abs() < 2e-3,
                "{at}: {slope} and {measured}"
            );
        }
    }

    #[test]
    fn what_tells_is_found_wherever_it_stands() {
        let mut random = StdRng::seed_from_u64(4);
        let (seen, held) = (toys(&mut random), toys(&mut random));
        let seen: Vec<&Labelled> = seen.iter().collect();
        let layer = Layer::fit(&seen, WIDTH, &plain()).rounded();
        assert_eq!(layer.width(), Some(WIDTH));
        let right = held.iter().filter(|request| {
            let scores = layer.scores(&request.states);
            let most = scores.iter().copied().fold(f32::MIN, f32::max);
            scores[request.destination as usize] == most
        });
        assert!(right.count() >= 46);
    }
}
