//! Checks the spec that a server sends of its environments, before any of it is used (S1).

use impala_env::{ActionSpec, Dtype, EnvSpec, ObservationSpec};

use super::error::shown_line;
use super::messages::{ActionKind, Dtype as Element, Spec, VERSION};

/// Largest message that is taken.
pub(super) const MESSAGE_BYTES: usize = 256 << 20;
/// What a message holds beside its arrays, at most.
const HEAD_BYTES: usize = 4096;
/// Most values of all choices together, and most numbers.
const MOST_VALUES: usize = 1 << 20;
const MOST_NOTES: usize = 16;

impl Spec {
    /// The spec of environments `id`, of which `envs` step together; in words what is wrong.
    pub(super) fn checked(&self, id: &str, envs: usize) -> Result<EnvSpec, String> {
        if self.version != VERSION {
            let theirs = self.version;
            return Err(format!(
                "version {theirs} of the protocol, and this program speaks {VERSION}"
            ));
        }
        let dtype = match Element::try_from(self.dtype) {
            Ok(Element::U8) => Dtype::U8,
            Ok(Element::F32) => Dtype::F32,
            _ => return Err(format!("an element type that does not exist ({})", self.dtype)),
        };
        let shape: Vec<_> = self.shape.iter().map(|&length| length as usize).collect();
        let sizes: Vec<_> = self.sizes.iter().map(|&size| size as usize).collect();
        let values = sizes.iter().try_fold(0_usize, |sum, &size| sum.checked_add(size));
        if values.is_none_or(|values| values > MOST_VALUES) || self.low.len() > MOST_VALUES {
            return Err(format!("an action space of more than {MOST_VALUES} values"));
        }
        let frame =
            shape.iter().try_fold(dtype.size_bytes(), |bytes, &length| bytes.checked_mul(length));
        let step = frame.and_then(|bytes| bytes.checked_mul(envs));
        let masks = if self.masks { values.unwrap_or(0) * envs } else { 0 };
        let step = step.and_then(|bytes| bytes.checked_add(masks + 6 * envs + HEAD_BYTES));
        if step.is_none_or(|bytes| bytes > MESSAGE_BYTES) {
            return Err(format!(
                "observations of shape {shape:?}, of which {envs} do not fit into a message of {} MiB",
                MESSAGE_BYTES >> 20
            ));
        }
        let (low, high) = (self.low.clone(), self.high.clone());
        let (choices, numbers) = (!sizes.is_empty(), !low.is_empty() || !high.is_empty());
        let action = match (ActionKind::try_from(self.action), &sizes[..], choices, numbers) {
            (Ok(ActionKind::Discrete), &[n], _, false) => ActionSpec::Discrete { n },
            (Ok(ActionKind::MultiDiscrete), _, true, false) => ActionSpec::MultiDiscrete { sizes },
            (Ok(ActionKind::Continuous), _, false, true) => ActionSpec::Continuous { low, high },
            (Ok(ActionKind::Hybrid), _, true, true) => ActionSpec::Hybrid { sizes, low, high },
            _ => {
                return Err(format!(
                    "an action space that does not exist (kind {}, {} choices, {} numbers)",
                    self.action,
                    sizes.len(),
                    low.len()
                ));
            }
        };
        Ok(EnvSpec {
            id: id.to_owned(),
            observation: ObservationSpec::new(dtype, &shape),
            action,
            masks: self.masks,
        })
    }

    /// What is to be said of the environments, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let name = shown_line(&self.name);
        let name = (!name.is_empty()).then(|| format!("its server has {name}"));
        name.into_iter()
            .chain(self.notes.iter().take(MOST_NOTES).map(|note| shown_line(note)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cartpole() -> Spec {
        Spec {
            version: 1,
            dtype: Element::F32.into(),
            shape: vec![4],
            action: ActionKind::Discrete.into(),
            sizes: vec![2],
            ..Spec::default()
        }
    }

    #[test]
    fn a_spec_is_taken_as_it_is() {
        let spec = cartpole().checked("grpc://h:1", 8).expect("valid");
        assert_eq!(spec.observation, ObservationSpec::new(Dtype::F32, &[4]));
        assert_eq!(spec.action, ActionSpec::Discrete { n: 2 });
        assert_eq!((spec.id.as_str(), spec.masks), ("grpc://h:1", false));
        let (low, high) = (vec![-1.0, f32::NEG_INFINITY], vec![1.0, f32::INFINITY]);
        let hybrid = Spec {
            action: ActionKind::Hybrid.into(),
            low: low.clone(),
            high: high.clone(),
            dtype: Element::U8.into(),
            shape: vec![84, 84],
            ..cartpole()
        };
        let action = hybrid.checked("grpc://h:1", 8).expect("valid").action;
        assert_eq!(action, ActionSpec::Hybrid { sizes: vec![2], low, high });
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let kind = |kind: ActionKind, sizes: &[u32]| Spec {
            action: kind.into(),
            sizes: sizes.to_vec(),
            ..cartpole()
        };
        for (spec, part) in [
            (Spec { version: 2, ..cartpole() }, "version 2"),
            (Spec { dtype: 0, ..cartpole() }, "element type"),
            (Spec { dtype: 9, ..cartpole() }, "element type"),
            (Spec { shape: vec![u32::MAX; 3], ..cartpole() }, "do not fit"),
            (Spec { shape: vec![1 << 24], ..cartpole() }, "do not fit"),
            (kind(ActionKind::Unspecified, &[2]), "action space"),
            (kind(ActionKind::Discrete, &[2, 2]), "action space"),
            (kind(ActionKind::Discrete, &[]), "action space"),
            (kind(ActionKind::Continuous, &[]), "action space"),
            (kind(ActionKind::Hybrid, &[2]), "action space"),
            (kind(ActionKind::MultiDiscrete, &[u32::MAX; 9]), "values"),
        ] {
            let problem = spec.checked("grpc://h:1", 8).expect_err("refused");
            assert!(problem.contains(part), "{problem}");
        }
    }

    #[test]
    fn notes_are_few_and_short() {
        let notes = vec!["x\x1b[0m\n".repeat(500); 99];
        let lines = Spec { name: "gym:A".into(), notes, ..cartpole() }.lines();
        assert_eq!((lines.len(), lines[0].as_str()), (1 + MOST_NOTES, "its server has gym:A"));
        assert!(lines.iter().all(|line| line.len() <= 400 && !line.contains(char::is_control)));
    }
}
