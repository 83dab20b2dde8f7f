//! What a model consists of, for those who make one to be trained.

/// How a parameter begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// Normal with this standard deviation around 0.
    Normal(f32),
    /// Normal with this standard deviation around 1.
    NormalAroundOne(f32),
    /// Uniform between minus and plus this.
    Uniform(f32),
}

/// One tensor of a model by its name in a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Name.
    pub name: String,
    /// Shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// Values before training.
    pub init: Init,
    /// Whether it learns; running statistics do not.
    pub trained: bool,
}

/// The parameters of a model as they are listed.
#[derive(Default)]
pub(crate) struct List(pub Vec<Parameter>);

impl List {
    pub fn push(&mut self, name: String, shape: &[usize], init: Init) {
        self.0.push(Parameter {
            name,
            shape: shape.to_vec(),
            init,
            trained: true,
        });
    }

    /// A running statistic.
    pub fn statistic(&mut self, name: String, shape: &[usize], init: Init) {
        self.push(name, shape, init);
        if let Some(last) = self.0.last_mut() {
            last.trained = false;
        }
    }

    /// A matrix `[out, in]` and its bias of 0.
    pub fn linear(&mut self, name: &str, out: usize, inputs: usize, init: Init) {
        self.push(format!("{name}.weight"), &[out, inputs], init);
        self.push(format!("{name}.bias"), &[out], Init::Zeros);
    }

    /// A convolution's weight `[out, in, kernel, kernel]` and its bias, both as PyTorch begins them, times `gain`.
    pub fn conv(&mut self, name: &str, out: usize, inputs: usize, kernel: usize, gain: f32) {
        let bound = gain / ((inputs * kernel * kernel).max(1) as f32).sqrt();
        let shape = [out, inputs, kernel, kernel];
        self.push(format!("{name}.weight"), &shape, Init::Uniform(bound));
        self.push(format!("{name}.bias"), &[out], Init::Uniform(bound));
    }

    /// A norm's weight of 1 and bias of 0.
    pub fn norm(&mut self, name: &str, width: usize) {
        self.push(format!("{name}.weight"), &[width], Init::Ones);
        self.push(format!("{name}.bias"), &[width], Init::Zeros);
    }
}

/// Glorot & Bengio 2010.
pub(crate) fn xavier(out: usize, inputs: usize) -> Init {
    Init::Uniform((6.0 / (out + inputs).max(1) as f32).sqrt())
}
