//! The byte pattern: what every byte of an unroll must be, a function of its writer, its sequence number and its place.
//!
//! A *writer* is one incarnation of one actor. Its environments take steps 1, 2, 3 ...; unroll `q` holds
//! the steps `q * T + 1 ..= (q + 1) * T`, and step 0 is the reset. Every number below follows from writer,
//! step, environment and field, so the learner can say what each byte must be without having seen
//! another one.

use impala_rl::env::flag;
use impala_rl::ring::Owner;
use impala_rl::unroll::LOSS_WORDS;

/// Actions to choose from.
pub(crate) const ACTIONS: usize = 4;

/// Logits of actions that are never drawn; the others have 0, and are drawn alike.
const NEVER: f32 = -100.0;

/// splitmix64: enough to tell all places apart.
#[must_use]
pub(crate) const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// One incarnation of one actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Incarnation {
    /// Which actor.
    pub(crate) actor: u16,
    /// Which writer of it, from 1.
    pub(crate) incarnation: u16,
}

#[derive(Clone, Copy)]
enum What {
    Frame = 1,
    Reward = 2,
    Flag = 3,
    Logits = 4,
    Gradient = 5,
    Loss = 6,
}

impl From<Owner> for Incarnation {
    fn from(owner: Owner) -> Self {
        Self { actor: owner.actor(), incarnation: owner.incarnation() }
    }
}

impl Incarnation {
    /// A number of its own for each writer: the seed of its random actions.
    #[must_use]
    pub(crate) const fn number(self) -> u64 {
        (self.actor as u64) << 16 | self.incarnation as u64
    }

    const fn at(self, what: What, step: u64, env: usize) -> u64 {
        mix(mix(mix(self.number()) ^ step) ^ ((what as u64) << 32 | env as u64))
    }

    /// Writes the frame that step `step` leads to.
    pub(crate) fn frame(self, step: u64, env: usize, frame: &mut [u8]) {
        let seed = self.at(What::Frame, step, env);
        for (word, bytes) in (0..).zip(frame.chunks_mut(8)) {
            bytes.copy_from_slice(&mix(seed ^ word).to_le_bytes()[..bytes.len()]);
        }
    }

    /// The sum of all rewards up to step `step`, a whole number below 2^20: sums of differences of
    /// such numbers are exact in f32.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "20 bits fit an f32")]
    pub(crate) fn return_after(self, step: u64, env: usize) -> f32 {
        if step == 0 { 0.0 } else { (self.at(What::Reward, step, env) >> 44) as f32 }
    }

    /// The reward of step `step`, from 1.
    #[must_use]
    pub(crate) fn reward(self, step: u64, env: usize) -> f32 {
        self.return_after(step, env) - self.return_after(step - 1, env)
    }

    /// The flags of the observation that step `step` leads to. Every episode ends at once and none
    /// begins anew, so that each step has a return and a length.
    #[must_use]
    pub(crate) const fn flags(self, step: u64, env: usize) -> u8 {
        match (step, self.at(What::Flag, step, env) & 1) {
            (0, _) => flag::FIRST,
            (_, 0) => flag::TERMINATED,
            _ => flag::TRUNCATED,
        }
    }

    /// Writes the gradient of unroll `sequence`.
    #[expect(clippy::cast_precision_loss, reason = "24 bits fit an f32")]
    pub(crate) fn gradient(self, sequence: u64, gradient: &mut [f32]) {
        let seed = self.at(What::Gradient, sequence, 0);
        for (index, number) in (0_u64..).zip(gradient) {
            *number = (mix(seed ^ index) >> 40) as f32;
        }
    }

    /// What travels beside it as the sums of its loss.
    pub(crate) fn loss(self, sequence: u64) -> [u64; LOSS_WORDS] {
        let seed = self.at(What::Loss, sequence, 0);
        std::array::from_fn(|index| mix(seed ^ index as u64))
    }

    /// Writes the logits of the observation that step `step` leads to: 1 to 4 actions are equally likely.
    pub(crate) fn logits(self, step: u64, env: usize, logits: &mut [f32]) {
        let number = self.at(What::Logits, step, env);
        let (first, likely) = ((number & 3) as usize, 1 + (number >> 2 & 3) as usize);
        logits.fill(NEVER);
        for action in first..first + likely {
            logits[action % ACTIONS] = 0.0;
        }
    }
}

/// Writes the weights of a version. The first names the version.
#[expect(clippy::cast_precision_loss, reason = "24 bits fit an f32")]
pub(crate) fn weights(version: u64, weights: &mut [f32]) {
    let name = version & 0xFF_FFFF;
    for (index, weight) in (0_u64..).zip(&mut *weights) {
        *weight = if index == 0 { name as f32 } else { (mix(name << 20 ^ index) >> 40) as f32 };
    }
}

/// Whether these are the weights of one version, without a mixture.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "compared with what it was made from")]
#[expect(clippy::cast_sign_loss, reason = "compared with what it was made from")]
pub(crate) fn are_whole(found: &[f32]) -> bool {
    let mut expected = vec![0.0; found.len()];
    weights(found.first().map_or(0, |&name| name as u64), &mut expected);
    found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITER: Incarnation = Incarnation { actor: 3, incarnation: 7 };

    #[test]
    fn returns_are_exact_sums_of_rewards() {
        let mut sum = 0.0_f32;
        for step in 1..10_000 {
            sum += WRITER.reward(step, 1);
            assert_eq!(sum.to_bits(), WRITER.return_after(step, 1).to_bits(), "step {step}");
        }
    }

    #[test]
    fn neighbours_differ() {
        let frame = |writer: Incarnation, step, env| {
            let mut bytes = [0; 20];
            writer.frame(step, env, &mut bytes);
            bytes
        };
        let one = frame(WRITER, 5, 1);
        assert_eq!(one, frame(WRITER, 5, 1));
        assert_ne!(one, frame(WRITER, 6, 1));
        assert_ne!(one, frame(WRITER, 5, 2));
        assert_ne!(one, frame(Incarnation { incarnation: 8, ..WRITER }, 5, 1));
        assert_ne!(one, frame(Incarnation { actor: 4, ..WRITER }, 5, 1));
        assert_ne!(one[..8], one[8..16], "a frame that repeats itself hides a shift");
    }

    #[test]
    fn mixtures_of_weights_are_seen() {
        let (mut one, mut other) = ([0.0; 100], [0.0; 100]);
        weights(41, &mut one);
        weights(42, &mut other);
        assert!(are_whole(&one) && are_whole(&other));
        for cut in 1..100 {
            let mut torn = one;
            torn[cut..].copy_from_slice(&other[cut..]);
            assert!(!are_whole(&torn), "cut at {cut}");
        }
    }
}
