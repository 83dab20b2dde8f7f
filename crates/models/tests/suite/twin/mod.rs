//! A golden case of a picture model: its parameters as variables, and its output and gradients held against the twin's.

use medley_nn::train::{Gradients, backward};
use medley_nn::weights::Vars;
use medley_nn::{Device, Tensor, Var, Weights};
use medley_testkit::fill::fill;
use medley_testkit::{Case, Tolerance, assert_close};

const SAMPLES: usize = 8;

pub struct Twin {
    pub name: String,
    pub case: Case,
    pub vars: Vars,
}

pub fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// An array of the generator.
pub fn array(name: &str, shape: &[usize], mean: f32, scale: f32) -> Tensor {
    let values = fill(name, shape.iter().product(), mean, scale);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

pub fn variable(name: &str, shape: &[usize], mean: f32, scale: f32) -> Var {
    Var::from_tensor(&array(name, shape, mean, scale)).unwrap()
}

/// The loss of the twin: the output times an array.
pub fn loss(output: &Tensor) -> Tensor {
    let weights = array("loss", output.dims(), 0.0, 1.0);
    (output * weights).unwrap().sum_all().unwrap()
}

/// Parameters that do not learn.
fn statistic(name: &str) -> bool {
    ["running_mean", "running_var", "w_avg"]
        .iter()
        .any(|end| name.ends_with(end))
}

impl Twin {
    pub fn open(name: &str) -> Self {
        let case = Case::open(name).unwrap();
        let vars = case
            .weights()
            .unwrap()
            .into_iter()
            .map(|(name, (shape, values))| {
                let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
                (name, Var::from_tensor(&tensor).unwrap())
            })
            .collect();
        Self {
            name: name.to_owned(),
            case,
            vars,
        }
    }

    pub fn config(&self) -> serde_json::Value {
        self.case.config().unwrap()
    }

    /// Weights for training.
    pub fn trained(&self) -> Weights {
        Weights::from_vars(self.vars.clone(), &Device::Cpu)
    }

    /// Weights for inference.
    pub fn packed(&self) -> Weights {
        Weights::from_tensors(self.case.weights().unwrap(), &Device::Cpu)
    }

    /// Holds a tensor against a stored array, 1e-4 apart at most, relative to the element or to the root mean square of
    /// the array (where that is below 1).
    pub fn holds(&self, what: &str, found: &Tensor) {
        let label = format!("{}: {what}", self.name);
        assert_eq!(found.dims(), self.case.shape(what).unwrap(), "{label}");
        let expected = self.case.f32s(what).unwrap();
        let square: f32 = expected.iter().map(|x| x * x).sum::<f32>() / expected.len() as f32;
        let absolute = 1e-4 * square.sqrt().min(1.0);
        assert_close(
            &label,
            &values(found),
            expected,
            Tolerance::new(absolute, 1e-4),
        );
    }

    /// Holds the gradient of `loss` at every parameter and input against the twin's: norms and samples, 1e-3 apart at
    /// most, relative to the element or to the root mean square of its tensor.
    pub fn holds_gradients(&self, loss: &Tensor, inputs: &[(&str, &Var)]) {
        let mut gradients = Gradients::default();
        backward(loss, &mut gradients).unwrap();
        let rows = self.case.weight_list().unwrap();
        let mut tensors: Vec<(&str, &Var)> = rows
            .iter()
            .filter(|row| !statistic(&row.name))
            .map(|row| (row.name.as_str(), &self.vars[&row.name]))
            .collect();
        tensors.extend_from_slice(inputs);
        let norms = self.case.f32s("gradient.norms").unwrap();
        let samples = self.case.f32s("gradient.samples").unwrap();
        assert_eq!(norms.len(), tensors.len(), "{}", self.name);
        // A gradient that is 0 but for rounding (a bias of keys, which softmax does not see) has no relative error.
        let rounding = 1e-6 * norms.iter().fold(0.0f32, |m, n| m.max(*n));
        for ((&(name, var), &norm), samples) in
            tensors.iter().zip(norms).zip(samples.chunks_exact(SAMPLES))
        {
            let label = format!("{}: gradient of {name}", self.name);
            let found = gradients
                .get(var)
                .unwrap_or_else(|| panic!("{label} is missing"));
            assert_eq!(found.len(), var.elem_count(), "{label}");
            let mine = found
                .iter()
                .map(|x| f64::from(*x).powi(2))
                .sum::<f64>()
                .sqrt() as f32;
            assert_close(&label, &[mine], &[norm], Tolerance::new(rounding, 1e-3));
            let at: Vec<f32> = (0..SAMPLES)
                .map(|i| found[i * found.len() / SAMPLES])
                .collect();
            let typical = norm / (found.len() as f32).sqrt();
            assert_close(
                &label,
                &at,
                samples,
                Tolerance::new(1e-3 * typical + rounding, 1e-3),
            );
        }
    }

    /// That the list of parameters is the list of weights.
    pub fn lists(&self, parameters: &[medley_models::parameters::Parameter]) {
        let mut listed: Vec<_> = parameters
            .iter()
            .map(|p| (p.name.clone(), p.shape.clone()))
            .collect();
        listed.sort();
        let mut expected: Vec<_> = self
            .case
            .weight_list()
            .unwrap()
            .into_iter()
            .map(|w| (w.name, w.shape))
            .collect();
        expected.sort();
        assert_eq!(listed, expected, "{}", self.name);
        for p in parameters {
            assert_eq!(p.trained, !statistic(&p.name), "{}", p.name);
        }
    }
}
