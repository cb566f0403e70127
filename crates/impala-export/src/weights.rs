//! Writes the parameters of a policy as safetensors, under their PyTorch-style names.

use std::collections::HashMap;

use impala_rl::play::Policy;
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, TensorView};

/// The bytes of a file with all parameters of `policy`, with PyTorch's names and shapes.
pub(crate) fn safetensors(policy: &Policy) -> Result<Vec<u8>, SafeTensorError> {
    let weights = policy.weights();
    let entries = policy.parameters().entries().iter();
    let views = entries
        .map(|entry| {
            let bytes = bytemuck::cast_slice(&weights[entry.range()]);
            Ok((entry.name.as_str(), TensorView::new(Dtype::F32, entry.shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>, SafeTensorError>>()?;
    let about = [
        ("format", "pt".to_owned()),
        ("env", policy.spec().id.clone()),
        ("trained_frames", policy.trained_frames().to_string()),
    ];
    let about: HashMap<String, String> =
        about.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    safetensors::serialize(views, Some(about))
}
