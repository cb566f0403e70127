//! One branch of a composed network: a torso and everything above it, up to one head or both.

use super::join::Join;
use super::torso::Torso;
use crate::heads::Heads;
use crate::inputs::LearnInputs;
use crate::lstm::{Lstm, Shape};
use crate::simd::Level;
use crate::simd::aligned::Aligned;
use crate::simd::kernels::Rows;
use crate::spec::{Core, NetworkSpec, ParamSpec, SpecError};

/// The way from observations to the outputs of one head or of both.
#[derive(Debug)]
pub(super) struct Branch {
    torso: Torso,
    join: Join,
    core: Option<Lstm>,
    heads: Heads,
    /// Gradients with respect to the joined rows, and to the core's outputs.
    d_joined: Aligned,
    d_outputs: Aligned,
}

impl Branch {
    /// The branches of `spec`, that of the policy first: two if the value has a torso of its own. With zero weights, for acting
    /// or for learning.
    ///
    /// # Errors
    /// [`SpecError`] if `spec` is not a valid network, or not one that this engine computes.
    pub(super) fn all(
        spec: &NetworkSpec,
        parameters: &ParamSpec,
        level: Level,
        learns: bool,
    ) -> Result<Vec<Self>, SpecError> {
        let branch = |torso, heads| Self::new(spec, parameters, (torso, heads), level, learns);
        Ok(if spec.separate_value {
            vec![branch("torso", &["policy"])?, branch("value_torso", &["value"])?]
        } else {
            vec![branch("torso", &["policy", "value"])?]
        })
    }

    fn new(
        spec: &NetworkSpec,
        parameters: &ParamSpec,
        (torso, heads): (&str, &[&str]),
        level: Level,
        learns: bool,
    ) -> Result<Self, SpecError> {
        let torso = Torso::new(spec, parameters, torso, level, learns)?;
        let (features, mut places) = torso.features();
        let join = Join::new(features, spec.extra_inputs());
        places.extend(features..join.width());
        let (core, below) = match spec.core {
            Core::None => (None, (join.width(), places)),
            Core::Lstm { hidden } => {
                let shape = Shape::of(parameters, join.width(), places);
                let core = Lstm::new(shape.ok_or(SpecError::NotNative)?, level, learns);
                (Some(core), (hidden, (0..hidden).collect()))
            }
        };
        Ok(Self {
            torso,
            join,
            core,
            heads: Heads::new(parameters, heads, below, level),
            d_joined: Aligned::zeros(0),
            d_outputs: Aligned::zeros(0),
        })
    }

    /// Takes the weights from the flat vector, and forgets the gradient.
    pub(super) fn load(&mut self, flat: &[f32]) {
        self.torso.load(flat);
        if let Some(core) = &mut self.core {
            core.load(flat);
        }
        self.heads.load(flat);
    }

    /// Writes the outputs of its heads for `inputs`: logits `[rows][A]`, values `[rows]`, of which nothing is written if they are empty.
    pub(super) fn forward(
        &mut self,
        inputs: &LearnInputs<'_>,
        logits: &mut [f32],
        values: &mut [f32],
    ) {
        let features = self.torso.forward(&inputs.observations);
        let x = self.join.join(features, inputs.extra);
        let x = match &mut self.core {
            Some(core) => core.forward(x, inputs.flags, inputs.state),
            None => x,
        };
        self.heads.forward(x, logits, values);
    }

    /// Writes the state of the core after the last step.
    pub(super) fn write_state(&self, state: &mut [f32]) {
        if let Some(core) = &self.core {
            core.write_state(state);
        }
    }

    /// Adds the gradient with respect to the parameters, from that with respect to the outputs of the first rows of the last
    /// [`Branch::forward`]; the others have none. `inputs` are those it was given.
    pub(super) fn backward(
        &mut self,
        inputs: &LearnInputs<'_>,
        d_logits: &[f32],
        d_values: &[f32],
    ) {
        let rows = d_values.len();
        let Self { torso, join, core, heads, d_joined, d_outputs } = self;
        let x = join.joined(torso.outputs());
        let x = Rows { data: &x.data[..rows * x.stride], ..x };
        let d_x = room(d_joined, rows * x.stride);
        match core {
            None => heads.backward(x, d_logits, d_values, d_x),
            Some(core) => {
                let outputs = core.outputs();
                let d_outputs = room(d_outputs, rows * outputs.stride);
                heads.backward(outputs, d_logits, d_values, d_outputs);
                core.backward(x, inputs.flags, d_outputs, d_x);
            }
        }
        let (stride, width) = (x.stride, x.width);
        torso.backward(&inputs.observations, Rows { data: d_x, stride, width });
    }

    /// Writes the gradient in the order of the flat vector.
    pub(super) fn write_gradient(&self, flat: &mut [f32]) {
        self.torso.write_gradient(flat);
        if let Some(core) = &self.core {
            core.write_gradient(flat);
        }
        self.heads.write_gradient(flat);
    }
}

/// The first `len` numbers of `buffer`, which grows as needed.
fn room(buffer: &mut Aligned, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        *buffer = Aligned::zeros(len);
    }
    &mut buffer[..len]
}
