//! The messages between an actor and its worker, as `docs/environment-abi.md` defines them.

use serde::{Deserialize, Serialize};

use super::source::Source;
use impala_env::{ActionSpec, Dtype, EnvOptions, EnvSpec, ObservationSpec, RemedyPart};

/// Version of the messages.
pub(super) const ABI: u32 = 3;

/// Longest packet in either direction.
pub(super) const PACKET_BYTES: usize = 65_536;

/// Memory that the worker maps, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Region {
    /// Of this worker alone, for slices that are not in the ring.
    Scratch = 0,
    /// The payload of the ring.
    Ring = 1,
}

impl Region {
    /// A place in this memory, as a command says it.
    pub(super) const fn address(self, offset: u64) -> u64 {
        (self as u64) << 56 | offset
    }
}

/// A command: operation, argument, five addresses; little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Command {
    operation: u32,
    argument: u32,
    addresses: [u64; 5],
}

impl Command {
    /// The descriptor has been sent.
    pub(super) const fn map(region: Region, len_bytes: u64) -> Self {
        Self { operation: 1, argument: region as u32, addresses: [len_bytes, 0, 0, 0, 0] }
    }

    /// Start all episodes anew.
    pub(super) const fn reset(frames: u64, masks: u64) -> Self {
        Self { operation: 2, argument: 0, addresses: [frames, 0, 0, masks, 0] }
    }

    /// One step of all environments: frames, rewards, ends, masks, actions.
    pub(super) const fn step(addresses: [u64; 5]) -> Self {
        Self { operation: 3, argument: 0, addresses }
    }

    pub(super) fn bytes(&self) -> [u8; 48] {
        let mut bytes = [0; 48];
        bytes[..4].copy_from_slice(&self.operation.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.argument.to_le_bytes());
        for (bytes, address) in bytes[8..].chunks_exact_mut(8).zip(self.addresses) {
            bytes.copy_from_slice(&address.to_le_bytes());
        }
        bytes
    }
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    /// A packet says why.
    Failed,
}

impl Answer {
    /// `None`: it is not a valid answer.
    pub(super) const fn of(bytes: [u8; 4]) -> Option<Self> {
        match u32::from_le_bytes(bytes) {
            0 => Some(Self::Done),
            1 => Some(Self::Failed),
            _ => None,
        }
    }
}

/// The first packet: what to make.
#[derive(Debug, Serialize)]
pub(super) struct Request<'a> {
    pub(super) abi: u32,
    /// Where environments come from: "gym" or "envpool".
    pub(super) source: &'static str,
    /// `ID` or `module:ID`.
    pub(super) env: &'a str,
    pub(super) options: Vec<(&'a str, &'a str)>,
    pub(super) wrapper: Option<&'a str>,
    pub(super) envs: usize,
    pub(super) seed: u64,
    /// Where modules are looked for first.
    pub(super) path: Vec<String>,
    /// Parts of the observation that are seen; none for all.
    pub(super) keys: Option<&'a [String]>,
    /// Whether the worker tries what it made before it answers.
    pub(super) trial: bool,
}

impl<'a> Request<'a> {
    pub(super) fn new(
        source: Source,
        env: &'a str,
        options: &'a EnvOptions,
        envs: usize,
        seed: u64,
    ) -> Self {
        let path = options.external.python_path.as_ref();
        Self {
            abi: ABI,
            source: source.name(),
            env,
            options: options.iter().collect(),
            wrapper: options.external.wrapper.as_deref(),
            envs,
            seed,
            path: path.map(|folder| folder.to_string_lossy().into_owned()).into_iter().collect(),
            keys: Some(&options.external.observation_keys[..]).filter(|keys| !keys.is_empty()),
            trial: options.external.trial,
        }
    }
}

/// The answer to it: what was made, or why nothing was.
#[derive(Debug, Deserialize)]
pub(super) struct Hello {
    pub(super) abi: u32,
    /// What was asked for cannot be had; one line.
    pub(super) unusable: Option<String>,
    /// What to do about that.
    #[serde(default)]
    pub(super) remedy: Vec<RemedyPart>,
    /// The environment failed; with a traceback.
    pub(super) failed: Option<String>,
    pub(super) observation: Option<Observation>,
    pub(super) action: Option<Action>,
    #[serde(default)]
    pub(super) masks: bool,
    /// After a trial: the name with which its source knows the environment, its version included.
    pub(super) id: Option<String>,
    /// After a trial: what is odd about it.
    #[serde(default)]
    pub(super) notes: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Observation {
    dtype: Element,
    shape: Vec<usize>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Element {
    U8,
    F32,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Action {
    Discrete {
        n: usize,
    },
    MultiDiscrete {
        sizes: Vec<usize>,
    },
    /// Bounds of each dimension; none where there is no bound.
    Continuous {
        low: Vec<Option<f32>>,
        high: Vec<Option<f32>>,
    },
    /// Choices, then numbers.
    Hybrid {
        sizes: Vec<usize>,
        low: Vec<Option<f32>>,
        high: Vec<Option<f32>>,
    },
}

impl Hello {
    /// What the environments look like; in words what is missing.
    pub(super) fn spec(&self, id: &str) -> Result<EnvSpec, String> {
        let Self { observation: Some(observation), action: Some(action), .. } = self else {
            return Err("the worker did not say what the environment looks like".into());
        };
        let dtype = match observation.dtype {
            Element::U8 => Dtype::U8,
            Element::F32 => Dtype::F32,
        };
        let bound = |bounds: &[Option<f32>], none: f32| {
            bounds.iter().map(|bound| bound.unwrap_or(none)).collect()
        };
        let action = match action {
            Action::Discrete { n } => ActionSpec::Discrete { n: *n },
            Action::MultiDiscrete { sizes } => ActionSpec::MultiDiscrete { sizes: sizes.clone() },
            Action::Continuous { low, high } => ActionSpec::Continuous {
                low: bound(low, f32::NEG_INFINITY),
                high: bound(high, f32::INFINITY),
            },
            Action::Hybrid { sizes, low, high } => ActionSpec::Hybrid {
                sizes: sizes.clone(),
                low: bound(low, f32::NEG_INFINITY),
                high: bound(high, f32::INFINITY),
            },
        };
        let prefix = Source::of(id).map_or("", |(source, _)| source.prefix());
        let known = self.id.as_deref().map(|known| format!("{prefix}{known}"));
        Ok(EnvSpec {
            id: known.unwrap_or_else(|| id.to_owned()),
            observation: ObservationSpec::new(dtype, &observation.shape),
            action,
            masks: self.masks,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_env::EnvSetting;

    #[test]
    fn commands_are_what_the_document_says() {
        let step = Command::step([
            Region::Ring.address(0x0102),
            Region::Scratch.address(3),
            4,
            5,
            Region::Ring.address(6),
        ]);
        let bytes = step.bytes();
        assert_eq!(bytes[..8], [3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[8..16], [2, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(bytes[16..24], [3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[40..], [6, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(
            Command::map(Region::Ring, 4096).bytes()[..16],
            [1, 0, 0, 0, 1, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0]
        );
    }

    #[test]
    fn answers_are_read_and_others_are_not() {
        assert_eq!(Answer::of([0, 0, 0, 0]), Some(Answer::Done));
        assert_eq!(Answer::of([1, 0, 0, 0]), Some(Answer::Failed));
        assert_eq!(Answer::of([0, 0, 0, 1]), None);
    }

    #[test]
    fn a_hello_becomes_a_spec() {
        let hello: Hello = serde_json::from_str(
            r#"{"abi": 3, "observation": {"dtype": "u8", "shape": [84, 84]},
                "action": {"kind": "discrete", "n": 6}, "masks": false}"#,
        )
        .expect("JSON");
        let spec = hello.spec("gym:ALE/Pong-v5").expect("complete");
        assert_eq!(spec.observation, ObservationSpec::new(Dtype::U8, &[84, 84]));
        assert_eq!(spec.action, ActionSpec::Discrete { n: 6 });
        assert_eq!(spec.id, "gym:ALE/Pong-v5");
        let tried = Hello { id: Some("m:Pong-v5".into()), ..hello };
        assert_eq!(tried.spec("gym:m:Pong").expect("complete").id, "gym:m:Pong-v5");
        assert_eq!(tried.spec("envpool:m:Pong").expect("complete").id, "envpool:m:Pong-v5");
        let moving: Hello = serde_json::from_str(
            r#"{"abi": 3, "observation": {"dtype": "f32", "shape": [3]},
                "action": {"kind": "continuous", "low": [-2.0, null], "high": [2, null]}}"#,
        )
        .expect("JSON");
        let (low, high) = (vec![-2.0, f32::NEG_INFINITY], vec![2.0, f32::INFINITY]);
        let action = moving.spec("gym:X").expect("complete").action;
        assert_eq!(action, ActionSpec::Continuous { low, high });
        let empty: Hello = serde_json::from_str(r#"{"abi": 3, "unusable": "no"}"#).expect("JSON");
        assert!(empty.spec("gym:X").is_err());
        let told: Hello = serde_json::from_str(
            r#"{"abi": 3, "unusable": "no", "remedy": ["type ", {"env": "gym:Y"}, {"python": null}]}"#,
        )
        .expect("JSON");
        let setting = |setting, value: Option<&str>| {
            RemedyPart::Setting([(setting, value.map(Into::into))].into())
        };
        let env = setting(EnvSetting::Env, Some("gym:Y"));
        let expected = [RemedyPart::Text("type ".into()), env, setting(EnvSetting::Python, None)];
        assert_eq!(told.remedy, expected);
    }
}
