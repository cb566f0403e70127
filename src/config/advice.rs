//! Advice on a valid configuration: settings without effect, and sizes that make processes wait. It is printed once at
//! the start and is never an error.

use super::Activation;
use super::choice::{CoreName, OptimizerName, TorsoName};
use super::settings::Settings;
use super::{Config, Engine, Optimizer};

impl Config {
    /// Settings in `explicit` that have no effect, and sizes that will make processes wait; one line each.
    #[must_use]
    pub(crate) fn advice(&self, explicit: &Settings) -> Vec<String> {
        let adam = matches!(self.learner.optimizer, Optimizer::Adam { .. });
        let continuous = self.env.spec.action.numbers() > 0;
        let torso = self.network.torso;
        let cnn = torso == TorsoName::Cnn;
        let with_torso = match torso {
            TorsoName::Mlp => "an mlp torso",
            TorsoName::Cnn => "a cnn torso, which uses relu",
            TorsoName::AtariShallow | TorsoName::Nature | TorsoName::ImpalaDeep => {
                "a torso that has layers of its own"
            }
        };
        let optimizer = self.learner.optimizer.name().as_str();
        let pointless = [
            (explicit.adam_beta1.is_some() && !adam, "adam-beta1", optimizer),
            (explicit.adam_beta2.is_some() && !adam, "adam-beta2", optimizer),
            (
                explicit.rmsprop_decay.is_some() && adam,
                "rmsprop-decay",
                OptimizerName::Adam.as_str(),
            ),
            (
                explicit.rmsprop_momentum.is_some() && adam,
                "rmsprop-momentum",
                OptimizerName::Adam.as_str(),
            ),
            (explicit.conv.is_some() && !cnn, "conv", with_torso),
            (explicit.action_bounds.is_some() && !continuous, "action-bounds", "discrete actions"),
            (
                explicit.activation == Some(Activation::Tanh) && torso != TorsoName::Mlp,
                "activation",
                with_torso,
            ),
            (
                explicit.max_lag.is_some() && self.pool.schedule.is_lockstep(),
                "max-lag",
                "--schedule lockstep, whose lag is set by --lag",
            ),
            (
                explicit.core_size.is_some() && self.network.core == CoreName::None,
                "core-size",
                "--core none",
            ),
        ];
        let mut lines: Vec<_> = pointless
            .iter()
            .filter(|(applies, ..)| *applies)
            .map(|(_, key, with)| format!("--{key} has no effect with {with}"))
            .collect();
        for task in &self.env.tasks {
            lines.extend(task.notes.iter().map(|note| format!("{}: {note}", task.id)));
        }
        let groups_of_block = self.pool.groups_per_block();
        if self.pool.schedule.is_lockstep() && !groups_of_block.is_multiple_of(self.pool.tasks) {
            lines.push(format!(
                "{groups_of_block} groups of a batch are not shared evenly by {} tasks: the first ones get one more",
                self.pool.tasks
            ));
        }
        let (actors, slots) = (self.pool.actors, self.pool.slots());
        let groups = self.pool.groups_per_block();
        if slots < actors + groups {
            let roomy = actors.div_ceil(groups) + 1;
            lines.push(format!(
                "--blocks {} leaves no slot free while the learner works on a block, actors will wait; use --blocks {roomy} or more",
                self.pool.blocks
            ));
        }
        if self.pool.schedule.is_lockstep() && self.pool.engine == Engine::Libtorch {
            lines.push(
                "--schedule lockstep repeats itself to the bit with the native engine only; libtorch adds up in an order of its own"
                    .to_owned(),
            );
        }
        if self.learner.c_bar > self.learner.rho_bar {
            lines.push(format!(
                "--c-bar {} is above --rho-bar {}; V-trace converges for c-bar at most rho-bar",
                self.learner.c_bar, self.learner.rho_bar
            ));
        }
        lines
    }
}
