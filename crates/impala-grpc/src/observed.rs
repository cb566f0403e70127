//! Checks the observations, rewards and ends of episodes that a server sends, before any of them is used (S1).

use impala_env::EnvSpec;

use super::messages::Observed;

/// What is asked for: E environments of a spec, and whether this is a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) spec: &'a EnvSpec,
    pub(super) envs: usize,
    pub(super) number: u64,
    pub(super) step: bool,
}

impl Observed {
    /// Whether its number and all its lengths are right; in words what is not.
    pub(super) fn check(&self, expected: Expected<'_>) -> Result<(), String> {
        let Expected { spec, envs, number, step } = expected;
        if self.number != number {
            return Err(format!("an answer to request {}, where {number} was asked", self.number));
        }
        let ends = if step { envs } else { 0 };
        let lengths = [
            ("frames", self.frames.len(), envs * spec.observation.frame_bytes()),
            ("rewards", self.rewards.len(), ends * size_of::<f32>()),
            ("terminated", self.terminated.len(), ends),
            ("truncated", self.truncated.len(), ends),
            ("masks", self.masks.len(), envs * spec.mask_bytes()),
        ];
        match lengths.into_iter().find(|(_, found, wanted)| found != wanted) {
            Some((name, found, wanted)) => {
                Err(format!("{found} bytes of {name}, and {envs} environments have {wanted}"))
            }
            None => Ok(()),
        }
    }

    /// Writes frames and masks where they belong; lengths were checked.
    pub(super) fn show(&self, frames: &mut [u8], masks: &mut [u8]) {
        frames.copy_from_slice(&self.frames);
        for (mask, &told) in masks.iter_mut().zip(&self.masks) {
            *mask = u8::from(told != 0);
        }
    }

    /// Writes rewards and ends `[2][E]`; lengths were checked.
    pub(super) fn judge(&self, rewards: &mut [f32], ends: &mut [u8]) {
        let (told, _) = self.rewards.as_chunks();
        for (reward, &bytes) in rewards.iter_mut().zip(told) {
            *reward = f32::from_le_bytes(bytes);
        }
        let (terminated, truncated) = ends.split_at_mut(rewards.len());
        terminated.copy_from_slice(&self.terminated);
        truncated.copy_from_slice(&self.truncated);
    }
}

#[cfg(test)]
mod tests {
    use impala_env::{ActionSpec, Dtype, ObservationSpec};
    use prost::bytes::Bytes;

    use super::*;

    fn masked() -> EnvSpec {
        let observation = ObservationSpec::new(Dtype::U8, &[3]);
        let action = ActionSpec::Discrete { n: 2 };
        EnvSpec { masks: true, ..EnvSpec::new("grpc://h:1", observation, action) }
    }

    fn step() -> Observed {
        Observed {
            number: 5,
            frames: Bytes::from_static(b"abcdef"),
            rewards: [1.5_f32, -2.0].iter().flat_map(|reward| reward.to_le_bytes()).collect(),
            terminated: Bytes::from_static(&[0, 1]),
            truncated: Bytes::from_static(&[7, 0]),
            masks: Bytes::from_static(&[1, 0, 9, 1]),
        }
    }

    #[test]
    fn arrays_are_written_where_they_belong() {
        let spec = masked();
        let told = step();
        told.check(Expected { spec: &spec, envs: 2, number: 5, step: true }).expect("right");
        let (mut frames, mut masks, mut rewards, mut ends) = ([0; 6], [8; 4], [0.0; 2], [8; 4]);
        told.show(&mut frames, &mut masks);
        told.judge(&mut rewards, &mut ends);
        assert_eq!((&frames, masks), (b"abcdef", [1, 0, 1, 1]));
        assert_eq!((rewards, ends), ([1.5, -2.0], [0, 1, 7, 0]));
    }

    #[test]
    fn a_wrong_number_or_length_is_named() {
        let spec = masked();
        let expected = Expected { spec: &spec, envs: 2, number: 5, step: true };
        let short = Bytes::from_static(b"x");
        for (told, part) in [
            (Observed { number: 4, ..step() }, "request 4, where 5"),
            (Observed { frames: short.clone(), ..step() }, "1 bytes of frames"),
            (Observed { rewards: short.clone(), ..step() }, "1 bytes of rewards"),
            (Observed { terminated: short.clone(), ..step() }, "1 bytes of terminated"),
            (Observed { truncated: Bytes::new(), ..step() }, "0 bytes of truncated"),
            (Observed { masks: short.clone(), ..step() }, "1 bytes of masks"),
        ] {
            let problem = told.check(expected).expect_err("wrong");
            assert!(problem.contains(part), "{problem}");
        }
        let reset = Expected { step: false, ..expected };
        assert!(step().check(reset).is_err(), "a reset gives no rewards");
        let none = Bytes::new;
        let first = Observed { rewards: none(), terminated: none(), truncated: none(), ..step() };
        assert_eq!(first.check(reset), Ok(()));
    }
}
