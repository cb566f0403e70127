//! Networks that are known by name, and the network that a configuration describes.

use super::choice::{CoreName, TorsoName};
use super::settings::Settings;
use super::{EnvConfig, NetworkConfig};
use crate::policy::spec::{self, Activation, Conv};

/// Sections of the residual network: 15 convolutions.
const SECTIONS: [usize; 3] = [16, 32, 32];

impl TorsoName {
    /// Convolutions and fully connected layers of a torso that is known by name.
    fn own_layers(self) -> Option<(Vec<Conv>, Vec<usize>)> {
        let torso = match self {
            Self::Mlp | Self::Cnn => return None,
            Self::AtariShallow => spec::Torso::atari_shallow(),
            Self::Nature => spec::Torso::nature(),
            Self::ImpalaDeep => spec::Torso::impala_deep(),
        };
        Some(match torso {
            spec::Torso::Mlp { hidden, .. } | spec::Torso::ImpalaDeep { hidden, .. } => {
                (Vec::new(), hidden)
            }
            spec::Torso::Cnn { convs, hidden } => (convs, hidden),
        })
    }

    /// Whether it works on images.
    pub(super) const fn is_convolutional(self) -> bool {
        !matches!(self, Self::Mlp)
    }
}

/// A layer of settings, with the widths that belong to the torso it names: they take the precedence of that name.
pub(super) fn with_own_widths(layer: Settings) -> Settings {
    let own = layer.torso.and_then(TorsoName::own_layers);
    layer.or(Settings { hidden: own.map(|(_, hidden)| hidden), ..Settings::default() })
}

impl NetworkConfig {
    /// Puts the convolutions of the torso in place of those that were set.
    pub(super) fn use_named_torso(&mut self) {
        if self.torso.is_convolutional() {
            // The paper's networks for images; there is no other in the code.
            self.activation = Activation::Relu;
        } else {
            self.convs.clear();
        }
        if let Some((convs, _)) = self.torso.own_layers() {
            self.convs = convs;
        }
    }

    /// The network for an environment.
    #[must_use]
    pub(crate) fn spec(&self, env: &EnvConfig) -> spec::NetworkSpec {
        let hidden = self.hidden.clone();
        let torso = match self.torso {
            TorsoName::Mlp => spec::Torso::Mlp { hidden, activation: self.activation },
            TorsoName::Cnn | TorsoName::AtariShallow | TorsoName::Nature => {
                spec::Torso::Cnn { convs: self.convs.clone(), hidden }
            }
            TorsoName::ImpalaDeep => {
                spec::Torso::ImpalaDeep { channels: SECTIONS.to_vec(), hidden }
            }
        };
        let core = match self.core {
            CoreName::None => spec::Core::None,
            CoreName::Lstm => spec::Core::Lstm { hidden: self.core_size },
        };
        let (observation, action) = (env.spec.observation.clone(), env.spec.action.clone());
        let base = spec::NetworkSpec::new(observation, action, torso);
        spec::NetworkSpec {
            core,
            action_reward_inputs: self.action_reward_inputs,
            separate_value: self.separate_value,
            observation_clip: self.observation_clip.map(|clip| clip as f32),
            ..base
        }
    }
}
