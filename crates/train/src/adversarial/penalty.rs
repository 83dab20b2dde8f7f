//! The penalty on the gradient of the discriminator at real pictures.

use medley_nn::{Error as NnError, Tensor, Var};

use crate::Result;
use crate::step::scalar;

/// The gradient of the sum of scores `[batch]` at each of the pictures `x`.
///
/// # Errors
/// What `critic` gives, and [`crate::Error::Nn`] from the tensor library.
pub fn input_gradient(critic: &dyn Fn(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Tensor> {
    let nn = NnError::from;
    let x = Var::from_tensor(&x.detach()).map_err(nn)?;
    let sum = critic(x.as_tensor())?.sum_all().map_err(nn)?;
    let mut gradients = sum.backward().map_err(nn)?;
    match gradients.remove(x.as_tensor()) {
        Some(gradient) => Ok(gradient),
        None => Ok(x.as_tensor().zeros_like().map_err(nn)?),
    }
}

/// R₁ ([Mescheder et al. 2018](https://arxiv.org/abs/1801.04406)): ½ E‖∇ₓD(x)‖² as a loss whose gradient reaches the
/// discriminator's parameters, and E‖∇ₓD(x)‖² as a number. `gradient` is ∇ₓD(x) by [`input_gradient`], and `slopes`
/// `[batch]` how the scores change along it.
///
/// The gradient of the penalty is a second derivative, which candle does not have. But with v = ∇ₓD(x) held fast it is that
/// of v·∇ₓD(x), the derivative of D along v, and that one comes out of a forward pass
/// ([Pearlmutter 1994](https://doi.org/10.1162/neco.1994.6.1.147)): see
/// [`Discriminator::forward_along`](medley_models::stylegan2::Discriminator::forward_along). It is exact, where finite
/// differences and random directions ([Lin et al. 2025](https://arxiv.org/abs/2501.08316), section 3.4) stumble over the
/// kinks of activations.
///
/// # Errors
/// [`crate::Error::Nn`] from the tensor library.
pub fn r1(gradient: &Tensor, slopes: &Tensor) -> Result<(Tensor, f64)> {
    let square = gradient.sqr().and_then(|g| g.sum_all());
    let batch = slopes.elem_count().max(1) as f64;
    let mean = f64::from(scalar(&square.map_err(NnError::from)?)?) / batch;
    let slope = slopes.mean_all().map_err(NnError::from)?;
    // Its value is E‖∇D‖², its gradient half of that one's.
    Ok(((slope - 0.5 * mean).map_err(NnError::from)?, mean))
}
