//! The running average of a model's weights, which usually is the better model.

use medley_kernels::optim::lerp;
use medley_nn::Parameters;

use crate::{Error, Result};

/// Exponential moving averages of parameters.
pub struct Ema {
    decay: f64,
    values: Vec<Vec<f32>>,
}

impl Ema {
    /// Averages that begin at the parameters as they are. `decay` is what a step keeps, such as 0.999.
    pub fn new(parameters: &Parameters, decay: f64) -> Result<Self> {
        if !(0.0..1.0).contains(&decay) {
            return Err(Error::Setting(format!(
                "a decay of averages of {decay} must be at least 0 and below 1"
            )));
        }
        let values = parameters
            .all()
            .iter()
            .map(|p| {
                Ok(p.var
                    .flatten_all()
                    .map_err(medley_nn::Error::from)?
                    .to_vec1()
                    .map_err(medley_nn::Error::from)?)
            })
            .collect::<Result<_>>()?;
        Ok(Self { decay, values })
    }

    /// Takes the parameters in after the `step`th step. Early averages forget faster, `(1 + step) / (10 + step)`, so that
    /// the first weights do not linger.
    pub fn update(&mut self, parameters: &Parameters, step: u64) -> Result<()> {
        let step = step as f64;
        let decay = self.decay.min((1.0 + step) / (10.0 + step));
        for (parameter, average) in parameters.all().iter().zip(&mut self.values) {
            let rate = (1.0 - decay) as f32;
            match medley_nn::tensor::slice(&parameter.var) {
                Some(values) => lerp(average, &values, rate),
                None => {
                    let values = parameter.var.flatten_all().and_then(|v| v.to_vec1::<f32>());
                    lerp(average, &values.map_err(medley_nn::Error::from)?, rate);
                }
            }
        }
        Ok(())
    }

    /// The averages in the order of the parameters, offsets included.
    pub fn values(&self) -> &[Vec<f32>] {
        &self.values
    }

    /// Goes on from saved averages.
    pub fn restore(&mut self, values: Vec<Vec<f32>>) -> Result<()> {
        let fits = values.len() == self.values.len()
            && values
                .iter()
                .zip(&self.values)
                .all(|(a, b)| a.len() == b.len());
        if !fits {
            return Err(Error::State("saved averages do not fit the model".into()));
        }
        self.values = values;
        Ok(())
    }

    /// Exchanges parameters and averages; a second call puts them back.
    pub fn swap(&mut self, parameters: &Parameters) -> Result<()> {
        for (parameter, average) in parameters.all().iter().zip(&mut self.values) {
            parameter.update(|values| values.swap_with_slice(average))?;
        }
        Ok(())
    }
}
