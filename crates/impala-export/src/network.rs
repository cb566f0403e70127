//! Builds the ONNX model of a policy: normalisation, network, and the choice of the most likely action.

use impala_rl::env::Dtype;
use impala_rl::play::Policy;
use impala_rl::policy::normalize;
use impala_rl::policy::spec::{Activation, Core, Torso};
use prost::Message as _;

use crate::actions::actions;
use crate::graph::{Graph, Value, list, number};
use crate::memory::before;
use crate::proto::{
    DataType, IR_VERSION, ModelProto, OPSET, OperatorSetIdProto, StringStringEntryProto,
};

/// The bytes of an ONNX model of `policy`: normalisation, network and the choice of the most likely action.
///
/// Inputs: `observation` `[batch][frame_stack, if above 1][shape]`, f32 or u8; `mask` `[batch][logits]` of bool, if the environment
/// has masks. Outputs: `logits` `[batch][outputs]`, `value` `[batch]`, and `action` (i64 `[batch]` for one choice, `[batch][choices]` for
/// several; f32 `[batch][numbers]`), or `choices` and `numbers` where an action is both. A network that remembers has the input `state` `[batch][M]`
/// and the output `next_state`, and the input `reward` `[batch]` if it sees the action and the reward before.
#[must_use]
pub fn onnx(policy: &Policy) -> Vec<u8> {
    let spec = policy.spec();
    let mut graph = Graph::named(&spec.id);
    let observed = observation(&mut graph, policy);
    let before = before(&mut graph, policy);
    let mut layers = Layers { graph: &mut graph, policy };
    let (mut features, mut seen) = layers.features(observed);
    let mut core = Vec::new();
    if let Some(before) = &before {
        if let Some(extra) = &before.extra {
            let together = features == seen;
            features = layers.join("features", features, extra);
            seen = if together { features.clone() } else { layers.join("seen", seen, extra) };
        }
        if policy.network().core != Core::None {
            let of = |graph: &mut Graph, name: &str| parameter(graph, policy, name);
            (features, core) = before.core(layers.graph, policy.network().core, features, of);
            seen = features.clone();
        }
    }
    let logits = layers.dense("policy", features);
    let value = layers.dense("value", seen);
    let axis = graph.integers("value.axis", &[1]);
    let value = graph.node("Squeeze", "value.squeezed", &[value, axis]);
    let value = match policy.value_scale() {
        Some(scale) => {
            let deviation = graph.numbers("value.deviation", &[], &[scale.deviation]);
            let scaled = graph.node("Mul", "value.scaled", &[value, deviation]);
            let mean = graph.numbers("value.mean", &[], &[scale.mean]);
            graph.node("Add", "value.shifted", &[scaled, mean])
        }
        None => value,
    };
    let outputs = [spec.action.outputs()];
    graph.output(
        &logits,
        ("logits", DataType::Float),
        &outputs,
        "logits of choices, means, raw log-deviations",
    );
    graph.output(
        &value,
        ("value", DataType::Float),
        &[],
        "discounted return, in the units of learning",
    );
    let action = actions(&mut graph, policy, &logits);
    if let Some(before) = &before {
        before.next(&mut graph, core, action);
    }
    let property = |key: &str, value: String| StringStringEntryProto { key: key.to_owned(), value };
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "impala-rl".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        doc_string: format!("policy for {} after {} frames", spec.id, policy.trained_frames()),
        graph: Some(graph.into_proto()),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: vec![
            property("env", spec.id.clone()),
            property("trained_frames", policy.trained_frames().to_string()),
        ],
    };
    model.encode_to_vec()
}

/// The input, as f32 from 0 to 1 if it is bytes.
fn observation(graph: &mut Graph, policy: &Policy) -> Value {
    let observation = &policy.spec().observation;
    let stack = Some(observation.frame_stack).filter(|&k| k > 1);
    let shape: Vec<usize> = stack.into_iter().chain(observation.shape.iter().copied()).collect();
    let about =
        if stack.is_some() { "the newest frame last, zeros before the episode" } else { "" };
    match observation.dtype {
        Dtype::F32 => graph.input("observation", DataType::Float, &shape, about),
        Dtype::U8 => {
            let bytes = graph.input("observation", DataType::Uint8, &shape, about);
            let to = i64::from(i32::from(DataType::Float));
            let cast = graph.node_with("Cast", "observation.f32", &[bytes], vec![number("to", to)]);
            let scale = graph.numbers("observation.scale", &[], &[1.0 / 255.0]);
            graph.node("Mul", "observation.scaled", &[cast, scale])
        }
    }
}

/// Layers with the weights of a policy.
struct Layers<'a> {
    graph: &'a mut Graph,
    policy: &'a Policy,
}

impl Layers<'_> {
    /// A convolution, pooling, and two residual blocks (Espeholt et al. 2018, figure 3).
    fn section(&mut self, name: &str, x: Value) -> Value {
        let x = self.convolve(&format!("{name}.conv"), x);
        let window = [("kernel_shape", 3), ("strides", 2)].map(|(key, n)| list(key, &[n, n]));
        let attributes = window.into_iter().chain([list("pads", &[1; 4])]).collect();
        let mut x = self.graph.node_with("MaxPool", &format!("{name}.pooled"), &[x], attributes);
        for block in 0..2 {
            let name = format!("{name}.block.{block}");
            let mut y = x.clone();
            for conv in 0..2 {
                let name = format!("{name}.conv.{conv}");
                y = self.graph.node("Relu", &format!("{name}.relu"), &[y]);
                y = self.convolve(&name, y);
            }
            x = self.graph.node("Add", &format!("{name}.sum"), &[y, x]);
        }
        x
    }

    /// 3x3, with one pixel of padding.
    fn convolve(&mut self, name: &str, x: Value) -> Value {
        let inputs = self.parameters(name, x);
        let attributes = vec![list("kernel_shape", &[3; 2]), list("pads", &[1; 4])];
        self.graph.node_with("Conv", &format!("{name}.out"), &inputs, attributes)
    }

    /// What the policy's head sees, and what the value's does.
    fn features(&mut self, observed: Value) -> (Value, Value) {
        let network = self.policy.network();
        match &network.torso {
            Torso::Mlp { hidden, activation } => {
                let input = self.normalised(observed);
                let features = self.all_dense("torso", hidden.len(), *activation, input.clone());
                let seen = if network.separate_value {
                    self.all_dense("value_torso", hidden.len(), *activation, input)
                } else {
                    features.clone()
                };
                (features, seen)
            }
            Torso::Cnn { convs, hidden } => {
                let image = network.image().unwrap_or_default();
                let mut x = self.graph.reshape("image", &observed, &image);
                for (index, conv) in convs.iter().enumerate() {
                    let name = format!("torso.conv.{index}");
                    let inputs = self.parameters(&name, x);
                    let sizes = [("kernel_shape", conv.kernel), ("strides", conv.stride)];
                    let attributes = sizes.map(|(key, n)| list(key, &[n, n])).to_vec();
                    let out = format!("{name}.out");
                    let out = self.graph.node_with("Conv", &out, &inputs, attributes);
                    x = self.graph.node("Relu", &format!("{name}.relu"), &[out]);
                }
                let flat = vec![number("axis", 1)];
                let flat = self.graph.node_with("Flatten", "image.flat", &[x], flat);
                let features = self.all_dense("torso.fc", hidden.len(), Activation::Relu, flat);
                (features.clone(), features)
            }
            Torso::ImpalaDeep { channels, hidden } => {
                let image = network.image().unwrap_or_default();
                let mut x = self.graph.reshape("image", &observed, &image);
                for section in 0..channels.len() {
                    x = self.section(&format!("torso.section.{section}"), x);
                }
                let x = self.graph.node("Relu", "torso.relu", &[x]);
                let flat = vec![number("axis", 1)];
                let flat = self.graph.node_with("Flatten", "image.flat", &[x], flat);
                let features = self.all_dense("torso.fc", hidden.len(), Activation::Relu, flat);
                (features.clone(), features)
            }
        }
    }

    /// The observation as one row of numbers, normalised if the run does that.
    fn normalised(&mut self, observed: Value) -> Value {
        let observation = &self.policy.spec().observation;
        let (k, frame) = (observation.frame_stack, observation.frame_len());
        let Some(clip) = self.policy.network().observation_clip else {
            return self.graph.reshape("observation.row", &observed, &[k * frame]);
        };
        let frames = self.graph.reshape("observation.frames", &observed, &[k, frame]);
        let [mean, scale] = [normalize::MEAN, normalize::SCALE].map(|name| self.parameter(name));
        let centred = self.graph.node("Sub", "observation.centred", &[frames, mean]);
        let scaled = self.graph.node("Mul", "observation.normalised", &[centred, scale]);
        let [low, high] = [("low", -clip), ("high", clip)]
            .map(|(name, bound)| self.graph.numbers(&format!("observation.{name}"), &[], &[bound]));
        let clipped = self.graph.node("Clip", "observation.clipped", &[scaled, low, high]);
        self.graph.reshape("observation.row", &clipped, &[k * frame])
    }

    fn all_dense(
        &mut self,
        name: &str,
        count: usize,
        activation: Activation,
        input: Value,
    ) -> Value {
        let operator = match activation {
            Activation::Tanh => "Tanh",
            Activation::Relu => "Relu",
        };
        (0..count).fold(input, |x, index| {
            let layer = format!("{name}.{index}");
            let out = self.dense(&layer, x);
            self.graph.node(operator, &format!("{layer}.active"), &[out])
        })
    }

    fn dense(&mut self, name: &str, input: Value) -> Value {
        let inputs = self.parameters(name, input);
        let transposed = vec![number("transB", 1)];
        self.graph.node_with("Gemm", &format!("{name}.out"), &inputs, transposed)
    }

    /// `features` with what else is seen behind them.
    fn join(&mut self, name: &str, features: Value, extra: &Value) -> Value {
        let parts = [features, extra.clone()];
        self.graph.node_with("Concat", &format!("{name}.joined"), &parts, vec![number("axis", 1)])
    }

    /// The input, weight and bias of a layer.
    fn parameters(&mut self, layer: &str, input: Value) -> [Value; 3] {
        let [weight, bias] =
            ["weight", "bias"].map(|part| self.parameter(&format!("{layer}.{part}")));
        [input, weight, bias]
    }

    fn parameter(&mut self, name: &str) -> Value {
        parameter(self.graph, self.policy, name)
    }
}

fn parameter(graph: &mut Graph, policy: &Policy, name: &str) -> Value {
    let entry = policy.parameters().get(name).expect("a parameter of this network");
    graph.numbers(name, &entry.shape, &policy.weights()[entry.range()])
}
