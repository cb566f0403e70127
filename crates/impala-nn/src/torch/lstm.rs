//! The recurrent core in libtorch: one LSTM cell over the steps of an unroll.

use tch::{Kind, TchError, Tensor};

use super::dimensions;
use impala_env::flag;

/// The parameters, with the shapes and the order of gates (input, forget, cell, output) of PyTorch's
/// `LSTMCell`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lstm<'a> {
    pub(super) weight_ih: &'a Tensor,
    pub(super) weight_hh: &'a Tensor,
    pub(super) bias_ih: &'a Tensor,
    pub(super) bias_hh: &'a Tensor,
}

impl Lstm<'_> {
    /// Outputs `[steps * columns][H]` for `features` `[steps * columns][F]`, time-major, and the state
    /// `[columns][2 * H]` (h, then c) after the last step. `state` is that before the first; it is zero
    /// wherever `flags` `[steps][columns]` says that an episode begins.
    pub(super) fn run(
        &self,
        features: &Tensor,
        state: &Tensor,
        flags: &[u8],
    ) -> Result<(Tensor, Tensor), TchError> {
        let columns = usize::try_from(state.size()[0]).unwrap_or(1);
        // What does not depend on the state, for all steps in one product.
        let bias = self.bias_ih.f_add(self.bias_hh)?;
        let inputs = features.f_linear(self.weight_ih, Some(&bias))?;
        let inputs = inputs.f_split(state.size()[0], 0)?;
        let recurrent = self.weight_hh.f_transpose(0, 1)?;
        let mut halves = state.f_chunk(2, 1)?.into_iter();
        let (Some(mut hidden), Some(mut cell)) = (halves.next(), halves.next()) else {
            return Err(TchError::Shape("a state of no width".into()));
        };
        let mut outputs = Vec::with_capacity(inputs.len());
        for (input, flags) in inputs.iter().zip(flags.chunks_exact(columns)) {
            if let Some(keep) = keep(flags, state)? {
                (hidden, cell) = (hidden.f_mul(&keep)?, cell.f_mul(&keep)?);
            }
            let gates = input.f_addmm(&hidden, &recurrent)?.f_chunk(4, 1)?;
            let [input, forget, candidate, output] = &gates[..] else {
                return Err(TchError::Shape(format!("{} gates instead of 4", gates.len())));
            };
            cell = forget.f_sigmoid()?.f_mul(&cell)?;
            cell = cell.f_addcmul(&input.f_sigmoid()?, &candidate.f_tanh()?)?;
            hidden = output.f_sigmoid()?.f_mul(&cell.f_tanh()?)?;
            outputs.push(hidden.shallow_clone());
        }
        Ok((Tensor::f_cat(&outputs, 0)?, Tensor::f_cat(&[hidden, cell], 1)?))
    }
}

/// `[columns][1]`, 0 where an episode begins and else 1; nothing if none does. Owned, because
/// autograd keeps it.
fn keep(flags: &[u8], like: &Tensor) -> Result<Option<Tensor>, TchError> {
    if flags.iter().all(|flags| flags & flag::FIRST == 0) {
        return Ok(None);
    }
    let keep = |flags: &u8| if flags & flag::FIRST == 0 { 1.0_f32 } else { 0.0 };
    let keep: Vec<f32> = flags.iter().map(keep).collect();
    let keep = Tensor::f_from_slice(&keep)?.f_reshape(dimensions(&[flags.len(), 1]))?;
    keep.f_to_device(like.device())?.f_to_kind(Kind::Float).map(Some)
}
