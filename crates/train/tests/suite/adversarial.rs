//! Steps of two networks against each other, held against PyTorch (golden/adversarial), and what distorts pictures.

use medley_models::stylegan2::{Discriminator, StyleGan2Config};
use medley_nn::train::{Gradients, backward};
use medley_nn::weights::Tensors;
use medley_nn::{Device, Parameters, Tensor, Weights};
use medley_testkit::fill::fill;
use medley_testkit::{Case, Tolerance, assert_close};
use medley_train::Objective;
use medley_train::adversarial::{AdversarialLoss, Distortion, Judged, distort, input_gradient, r1};
use medley_train::gan::{GanBatch, Judge, Pair};

const BATCH: usize = 8;
const PENALTY: f64 = 1.5;
const SAMPLES: usize = 8;

fn array(name: &str, shape: &[usize]) -> Tensor {
    let values = fill(name, shape.iter().product(), 0.0, 1.0);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// The parameters of one of the two networks.
fn half(case: &Case, prefix: &str) -> Parameters {
    let tensors: Tensors = case
        .weights()
        .unwrap()
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor)))
        .collect();
    Parameters::new(&tensors, |_| 0.0, &Device::Cpu).unwrap()
}

struct Twin {
    case: Case,
    config: StyleGan2Config,
    halves: [Parameters; 2],
}

impl Twin {
    fn open(name: &str) -> Self {
        let case = Case::open(&format!("adversarial/{name}")).unwrap();
        Self {
            config: StyleGan2Config::from_json(&case.config().unwrap()).unwrap(),
            halves: ["generator.", "discriminator."].map(|prefix| half(&case, prefix)),
            case,
        }
    }

    fn pair(&self) -> Pair {
        Pair::new(&self.config, &self.halves[0], &self.halves[1]).unwrap()
    }

    fn batch(&self) -> GanBatch {
        let c = &self.config;
        GanBatch {
            pixels: array("x", &[BATCH, 3, c.size, c.size]),
            condition: (c.condition > 0).then(|| array("condition", &[BATCH, c.condition])),
            latents: ["judging", "making"].map(|name| array(name, &[BATCH, c.latent])),
            distortions: [(); 3].map(|()| vec![Distortion::default(); BATCH]),
            number: 0,
        }
    }

    fn number(&self, name: &str) -> f32 {
        self.case.f32s(name).unwrap()[0]
    }

    /// Holds a loss and its gradients against the twin's: that of every parameter of one network, and none of the other.
    fn holds(&self, what: &str, which: usize, loss: &Tensor) {
        let label = |of: &str| format!("condition of {}, {what}: {of}", self.config.condition);
        assert_close(
            &label("loss"),
            &values(loss),
            self.case.f32s(what).unwrap(),
            Tolerance::new(1e-5, 1e-4),
        );
        let mut gradients = Gradients::default();
        backward(loss, &mut gradients).unwrap();
        for parameter in self.halves[1 - which].all() {
            let name = label(&parameter.name);
            assert!(gradients.get(&parameter.var).is_none(), "{name}");
        }
        let learning = self.halves[which]
            .all()
            .iter()
            .filter(|p| !p.name.ends_with("w_avg"));
        let norms = self.case.f32s(&format!("{what}.norms")).unwrap();
        let samples = self.case.f32s(&format!("{what}.samples")).unwrap();
        assert_eq!(learning.clone().count(), norms.len());
        // A gradient that is 0 but for rounding has no relative error.
        let rounding = 1e-6 * norms.iter().fold(0.0f32, |m, n| m.max(*n));
        for ((parameter, norm), samples) in learning.zip(norms).zip(samples.chunks_exact(SAMPLES)) {
            let label = label(&parameter.name);
            let Some(found) = gradients.get(&parameter.var) else {
                assert_eq!(*norm, 0.0, "{label} has no gradient");
                continue;
            };
            let square: f64 = found.iter().map(|x| f64::from(*x).powi(2)).sum();
            let mine = square.sqrt() as f32;
            assert_close(&label, &[mine], &[*norm], Tolerance::new(rounding, 1e-3));
            let at: Vec<f32> = (0..SAMPLES)
                .map(|i| found[i * found.len() / SAMPLES])
                .collect();
            let typical = norm / (found.len() as f32).sqrt();
            let tolerance = Tolerance::new(1e-3 * typical + rounding, 1e-3);
            assert_close(&label, &at, samples, tolerance);
        }
    }
}

#[test]
fn losses_and_gradients_of_a_step_are_those_of_pytorch() {
    for (name, loss) in [
        ("logistic", AdversarialLoss::Logistic),
        ("hinge", AdversarialLoss::Hinge),
    ] {
        let twin = Twin::open(name);
        let (pair, batch) = (twin.pair(), twin.batch());
        for (what, penalty) in [("judging", None), ("penalised", Some(PENALTY))] {
            let mut judge = Judge {
                pair: &pair,
                loss,
                penalty,
                seen: Judged::default(),
            };
            let loss = Objective::loss(&mut judge, &batch).unwrap();
            twin.holds(what, 1, &loss);
            let slope = judge.seen.squared_slope;
            assert_eq!(slope.is_some(), penalty.is_some());
            if let Some(slope) = slope {
                let expected = twin.number("squared_slope");
                assert!((slope as f32 / expected - 1.0).abs() < 1e-4, "{slope}");
            }
        }
        twin.holds("making", 0, &pair.making(&batch, loss).unwrap());
    }
}

#[test]
fn the_penalty_alone_is_that_of_second_derivatives() {
    for name in ["logistic", "hinge"] {
        let twin = Twin::open(name);
        let weights = Weights::from_vars(twin.halves[1].vars(), &Device::Cpu);
        let frozen = Discriminator::new(twin.config.clone(), &weights.clone().frozen()).unwrap();
        let learning = Discriminator::new(twin.config.clone(), &weights).unwrap();
        let batch = twin.batch();
        let condition = batch.condition.as_ref();
        let critic = |x: &Tensor| Ok(frozen.forward(x, condition)?);
        let gradient = input_gradient(&critic, &batch.pixels).unwrap();
        let (_, slopes) = learning
            .forward_along(&batch.pixels, &gradient, condition)
            .unwrap();
        let (loss, _) = r1(&gradient, &slopes).unwrap();
        twin.holds("penalty", 1, &(loss * PENALTY).unwrap());
    }
}

/// A picture of two by the same number of pixels as another has in a row.
fn picture(size: usize) -> Tensor {
    array("picture", &[1, 3, size, size])
}

fn one(distortion: Distortion, x: &Tensor) -> Vec<f32> {
    values(&distort(x, &[distortion]).unwrap())
}

#[test]
fn each_distortion_is_what_it_says() {
    const SIZE: usize = 8;
    const PLANE: usize = SIZE * SIZE;
    let none = Distortion::default();
    let x = picture(SIZE);
    let before = values(&x);
    assert_eq!(one(none, &x), before);
    let at = |c: usize, y: usize, x: usize| before[c * PLANE + y * SIZE + x];
    let holds = |what: &str, distortion: Distortion, f: &dyn Fn(usize, usize, usize) -> f32| {
        let expected: Vec<f32> = (0..3 * PLANE)
            .map(|i| f(i / PLANE, i % PLANE / SIZE, i % SIZE))
            .collect();
        assert_close(
            what,
            &one(distortion, &x),
            &expected,
            Tolerance::absolute(1e-6),
        );
    };
    let brightness = 0.3;
    holds(
        "brightness",
        Distortion { brightness, ..none },
        &|c, y, x| at(c, y, x) + 0.3,
    );
    let saturation = 0.25;
    holds(
        "saturation",
        Distortion { saturation, ..none },
        &|c, y, x| {
            let grey = (at(0, y, x) + at(1, y, x) + at(2, y, x)) / 3.0;
            grey + 0.25 * (at(c, y, x) - grey)
        },
    );
    let mean = before.iter().sum::<f32>() / before.len() as f32;
    let contrast = 1.4;
    holds("contrast", Distortion { contrast, ..none }, &|c, y, x| {
        mean + 1.4 * (at(c, y, x) - mean)
    });
    let mirrored = true;
    holds("mirrored", Distortion { mirrored, ..none }, &|c, y, x| {
        at(c, y, SIZE - 1 - x)
    });
    let shift = [2, -1];
    holds("shift", Distortion { shift, ..none }, &|c, y, x| {
        at(c, (y + 1).min(SIZE - 1), x.saturating_sub(2))
    });
    let cut = Some([-1, 5]);
    holds("cut", Distortion { cut, ..none }, &|c, y, x| {
        if x < 3 && y >= 5 { 0.0 } else { at(c, y, x) }
    });
}

#[test]
fn gradients_go_back_through_distortions() {
    let distortions = [
        Distortion::default(),
        Distortion {
            brightness: -0.2,
            saturation: 1.7,
            contrast: 0.6,
            mirrored: true,
            shift: [1, -1],
            cut: Some([2, 2]),
        },
    ];
    let x = array("pictures", &[2, 3, 8, 8]);
    let weights = array("loss", &[2, 3, 8, 8]);
    let loss = |x: &Tensor| {
        let y = distort(x, &distortions).unwrap();
        (y * &weights).unwrap().sum_all().unwrap()
    };
    let gradient = input_gradient(&|x: &Tensor| Ok(loss(x)), &x).unwrap();
    // It is linear but for a constant: along a direction the loss changes by the gradient times it.
    let step = array("direction", &[2, 3, 8, 8]);
    let expected = values(&loss(&(&x + &step).unwrap()))[0] - values(&loss(&x))[0];
    let found = (gradient * step).unwrap().sum_all().unwrap();
    assert_close(
        "slope",
        &values(&found),
        &[expected],
        Tolerance::absolute(1e-4),
    );
}
