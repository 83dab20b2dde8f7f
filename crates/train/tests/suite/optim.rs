//! Optimisers against PyTorch's (golden/optim), and the step that holds them.

use medley_kernels::optim::{AdamW, Muon, adamw, muon};
use medley_nn::train::{Compute, Gradients, backward};
use medley_nn::weights::Tensors;
use medley_nn::{Device, Parameters, Tensor};
use medley_testkit::fill::fill;
use medley_testkit::{Case, Tolerance, assert_close};
use medley_train::optim::{clip_factor, global_norm};
use medley_train::{Error, Objective, OptimiserSettings, Schedule, StepSettings, Trainer};

fn shapes(case: &Case) -> Vec<(usize, usize)> {
    let numbers = case.i64s("shapes").unwrap();
    let pair = |p: &[i64]| (p[0] as usize, p[1] as usize);
    numbers.chunks(2).map(pair).collect()
}

/// Parameter and gradients of golden/optim/make.py.
fn start((rows, cols): (usize, usize)) -> (Vec<f32>, Vec<Vec<f32>>) {
    let (name, count) = (format!("({rows}, {cols})"), rows * cols);
    let gradients = (0..3).map(|step| fill(&format!("g{step}{name}"), count, 0.0, 0.1));
    (
        fill(&format!("p{name}"), count, 0.0, 1.0),
        gradients.collect(),
    )
}

#[test]
fn steps_of_adamw_are_those_of_pytorch() {
    let case = Case::open("optim").unwrap();
    let settings = AdamW {
        lr: 0.01,
        beta2: 0.95,
        weight_decay: 0.1,
        ..AdamW::default()
    };
    for (i, shape) in shapes(&case).into_iter().enumerate() {
        let (mut p, gradients) = start(shape);
        let (mut m, mut v) = (vec![0.0; p.len()], vec![0.0; p.len()]);
        let mut all = Vec::new();
        for (step, g) in gradients.iter().enumerate() {
            adamw(&settings, step as u64 + 1, 1.0, &mut p, g, &mut m, &mut v);
            all.extend_from_slice(&p);
        }
        let name = format!("adamw.{i}");
        assert_close(
            &name,
            &all,
            case.f32s(&name).unwrap(),
            Tolerance::absolute(1e-6),
        );
    }
}

#[test]
fn steps_of_muon_are_those_of_pytorch() {
    let case = Case::open("optim").unwrap();
    let exact = Muon {
        lr: 0.02,
        rounded: false,
        ..Muon::default()
    };
    let as_adamw = Muon {
        lr: 0.01,
        weight_decay: 0.0,
        nesterov: false,
        as_adamw: true,
        ..exact
    };
    // PyTorch's iteration runs in bf16 with eight bits; ours only multiplies in it.
    let rounded = Muon {
        rounded: true,
        ..exact
    };
    for (kind, settings, tolerance) in [
        ("muon", exact, 2e-6),
        ("muon_as_adamw", as_adamw, 2e-6),
        ("muon_bf16", rounded, 1e-3),
    ] {
        for (i, shape) in shapes(&case).into_iter().enumerate() {
            let (mut p, gradients) = start(shape);
            let mut means = vec![0.0; p.len()];
            let mut all = Vec::new();
            for g in &gradients {
                muon(&settings, 1.0, shape, &mut p, g, &mut means);
                all.extend_from_slice(&p);
            }
            let name = format!("{kind}.{i}");
            let expected = case.f32s(&name).unwrap();
            assert_close(&name, &all, expected, Tolerance::absolute(tolerance));
        }
    }
}

fn parameters(lists: &[(&str, Vec<usize>, Vec<f32>)]) -> Parameters {
    let tensors: Tensors = lists
        .iter()
        .map(|(name, shape, values)| ((*name).to_owned(), (shape.clone(), values.clone())))
        .collect();
    Parameters::new(&tensors, |_| 0.0, &Device::Cpu).unwrap()
}

#[test]
fn clipping_is_that_of_pytorch() {
    let case = Case::open("optim").unwrap();
    let lists: Vec<_> = shapes(&case)
        .into_iter()
        .enumerate()
        .map(|(i, (rows, cols))| (["a", "b", "c"][i], vec![rows, cols], vec![0.0; rows * cols]))
        .collect();
    let parameters = parameters(&lists);
    let mut gradients = Gradients::default();
    for (p, shape) in parameters.all().iter().zip(shapes(&case)) {
        let g = Tensor::from_vec(start(shape).1.remove(0), shape, &Device::Cpu).unwrap();
        let loss = (p.var.as_tensor() * g).unwrap().sum_all().unwrap();
        backward(&loss, &mut gradients).unwrap();
    }
    let norm = global_norm(&parameters, &gradients);
    let expected = f64::from(case.f32s("clip.norm").unwrap()[0]);
    assert!((norm / expected - 1.0).abs() < 1e-6, "{norm} {expected}");
    let factor = clip_factor(norm, 0.5) as f32;
    let clipped: Vec<f32> = gradients
        .get(&parameters.all()[0].var)
        .unwrap()
        .iter()
        .map(|g| g * factor)
        .collect();
    assert_close(
        "clipped",
        &clipped,
        case.f32s("clip.gradient").unwrap(),
        Tolerance::absolute(1e-7),
    );
}

/// `(mean of batch) · sum of p²`.
struct Bowl {
    parameters: Parameters,
}

impl Objective for Bowl {
    type Batch = f64;

    fn loss(&mut self, batch: &f64) -> medley_train::Result<Tensor> {
        let p = self.parameters.all()[0].var.as_tensor();
        let sum = p.sqr().and_then(|p| p.sum_all()).and_then(|p| p * *batch);
        Ok(sum.map_err(medley_nn::Error::from)?)
    }
}

fn trainer(ema: Option<f64>) -> (Trainer, Bowl) {
    let parameters = parameters(&[("p", vec![3], vec![1.0, -2.0, 3.0])]);
    let settings = StepSettings {
        optimiser: OptimiserSettings::default(),
        schedule: Schedule::constant(0.1),
        clip: Some(1.0),
        compute: Compute::F32,
        ema,
    };
    let bowl = Bowl {
        parameters: parameters.clone(),
    };
    (Trainer::new(parameters, settings).unwrap(), bowl)
}

fn values(trainer: &Trainer) -> Vec<f32> {
    trainer.parameters().all()[0].stored().unwrap()
}

#[test]
fn batches_of_a_step_are_averaged() {
    let (mut one, mut bowl) = trainer(None);
    let report = one.step(&mut bowl, &[2.0]).unwrap();
    let (mut many, mut bowl) = trainer(None);
    let other = many.step(&mut bowl, &[1.0, 2.0, 3.0]).unwrap();
    assert!((report.loss - 28.0).abs() < 1e-5 && (other.loss - 28.0).abs() < 1e-5);
    assert!((report.norm - other.norm).abs() < 1e-5);
    assert_close(
        "step",
        &values(&many),
        &values(&one),
        Tolerance::absolute(1e-6),
    );
}

#[test]
fn losses_fall_and_averages_lag_behind() {
    let (mut trainer, mut bowl) = trainer(Some(0.9));
    for _ in 0..60 {
        trainer.step(&mut bowl, &[1.0]).unwrap();
    }
    let now = values(&trainer);
    assert!(now.iter().all(|v| v.abs() < 0.5), "{now:?}");
    let parameters = trainer.parameters().clone();
    trainer.swap_averages().unwrap();
    let averages = parameters.all()[0].stored().unwrap();
    trainer.swap_averages().unwrap();
    assert_ne!(averages, now);
    assert_eq!(values(&trainer), now);
}

#[test]
fn what_is_no_number_changes_nothing() {
    let (mut trainer, mut bowl) = trainer(None);
    let before = values(&trainer);
    for bad in [f64::NAN, f64::INFINITY] {
        let error = trainer.step(&mut bowl, &[1.0, bad]).unwrap_err();
        assert!(matches!(error, Error::NotFinite { step: 1, .. }), "{error}");
    }
    assert_eq!((values(&trainer), trainer.steps()), (before, 0));
    trainer.step(&mut bowl, &[1.0]).unwrap();
}
