//! Writes the model card: what the policy is, how well it does, how it was trained, how it is used.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use impala_rl::env::{ActionSpec, Dtype};
use impala_rl::metrics::MetricsRecord;
use impala_rl::metrics::human::si;
use impala_rl::play::Policy;
use serde_json::Value;

/// Rows of the learning curve.
const CURVE_ROWS: usize = 10;

/// The card as Markdown, with the front matter that model hubs read. `onnx` is the model that it stands beside, if there is one.
pub(crate) fn card(policy: &Policy, onnx: Option<&Path>) -> String {
    let spec = policy.spec();
    let summary = summary(policy.run_dir());
    let score = summary.as_ref().and_then(|summary| summary["return_mean_100"].as_f64());
    let mut text = front_matter(&spec.id, score);
    let mut line = |words: std::fmt::Arguments<'_>| {
        let _strings_take_all = writeln!(text, "{words}");
    };
    line(format_args!("# A policy for {}\n", spec.id));
    line(format_args!(
        "Trained with IMPALA (V-trace) by impala-rl {}.\n",
        env!("CARGO_PKG_VERSION")
    ));
    line(format_args!("| | |\n|---|---|"));
    line(format_args!("| environment | `{}` |", spec.id));
    let element = match spec.observation.dtype {
        Dtype::F32 => "float32",
        Dtype::U8 => "uint8",
    };
    let stack = match spec.observation.frame_stack {
        1 => String::new(),
        k => format!(", the newest {k}"),
    };
    line(format_args!("| observation | {element} {:?}{stack} |", spec.observation.shape));
    line(format_args!("| action | {} |", action(&spec.action)));
    line(format_args!("| parameters | {} |", policy.weights().len()));
    line(format_args!("| trained on | {} frames |", si(policy.trained_frames() as f64)));
    if let Some(score) = score {
        line(format_args!(
            "| mean return of the last episodes in training, actions drawn | {score:.2} |"
        ));
    }
    if let Some(wall_s) = summary.as_ref().and_then(|summary| summary["wall_s"].as_f64()) {
        line(format_args!("| wall time of the run | {wall_s:.1} s |"));
    }
    let curve = curve(policy.run_dir());
    if !curve.is_empty() {
        line(format_args!("\n## Learning curve\n\n| frames | mean return |\n|---|---|"));
        for (frames, mean) in curve {
            line(format_args!("| {} | {mean:.2} |", si(frames as f64)));
        }
    }
    line(format_args!("\n## Use\n"));
    if let Some(name) = onnx.and_then(Path::file_name) {
        let name = name.to_string_lossy();
        let dtype = element;
        let shape = input_shape(policy);
        line(format_args!(
            "```python\nimport numpy as np\nimport onnxruntime\n\nsession = onnxruntime.InferenceSession(\"{name}\")\n\
             observation = np.zeros((1, {shape}), np.{dtype})\nfeed = {{\"observation\": observation}}{}\n\
             outputs = dict(zip([o.name for o in session.get_outputs()], session.run(None, feed)))\n```\n",
            other_inputs(policy)
        ));
        line(format_args!(
            "`logits`, `value` and the most likely action are outputs; normalisation of observations is part of the model.\n"
        ));
        if policy.state_len() > 0 {
            line(format_args!(
                "The policy remembers: the output `next_state` is the input `state` of the next step; zeros begin an episode.\n"
            ));
        }
    }
    line(format_args!(
        "```python\nimport impala_rl\n\npolicy = impala_rl.load(\"RUN_DIR\").policy()\naction, state = policy.act(observation)\n```\n"
    ));
    if let Ok(settings) = fs::read_to_string(policy.run_dir().join("config.toml")) {
        line(format_args!("## Settings\n\n```toml\n{}```", portable(&settings)));
    }
    text
}

fn front_matter(env: &str, score: Option<f64>) -> String {
    let mut text = String::from(
        "---\nlibrary_name: impala-rl\ntags:\n- reinforcement-learning\n- deep-reinforcement-learning\n- impala-rl\n",
    );
    let quoted = Value::from(env).to_string();
    if let Some(score) = score {
        let _strings_take_all = write!(
            text,
            "model-index:\n- name: IMPALA\n  results:\n  - task:\n      type: reinforcement-learning\n      name: reinforcement-learning\n    \
             dataset:\n      name: {quoted}\n      type: {quoted}\n    metrics:\n    - type: mean_reward\n      value: {score:.2}\n      \
             name: mean_reward\n      verified: false\n"
        );
    }
    text.push_str("---\n\n");
    text
}

fn action(action: &ActionSpec) -> String {
    let (sizes, numbers) = (action.sizes(), action.numbers());
    match action {
        ActionSpec::Discrete { n } => format!("one of {n}"),
        ActionSpec::MultiDiscrete { .. } => format!("choices of {sizes:?}"),
        ActionSpec::Continuous { .. } => format!("{numbers} numbers"),
        ActionSpec::Hybrid { .. } => format!("choices of {sizes:?} and {numbers} numbers"),
    }
}

/// Lines of Python that feed a model what it takes beside the observation.
fn other_inputs(policy: &Policy) -> String {
    let mut lines = String::new();
    let mut line = |name: &str, array: String| {
        let _strings_take_all = write!(lines, "\nfeed[\"{name}\"] = {array}");
    };
    if policy.state_len() > 0 {
        line("state", format!("np.zeros((1, {}), np.float32)", policy.state_len()));
    }
    if policy.network().action_reward_inputs {
        line("reward", "np.zeros(1, np.float32)".to_owned());
    }
    if policy.spec().masks {
        line("mask", format!("np.ones((1, {}), bool)", policy.spec().action.logits()));
    }
    lines
}

fn input_shape(policy: &Policy) -> String {
    let observation = &policy.spec().observation;
    let stack = Some(observation.frame_stack).filter(|&k| k > 1);
    let sizes = stack.into_iter().chain(observation.shape.iter().copied());
    sizes.map(|size| size.to_string()).collect::<Vec<_>>().join(", ")
}

fn summary(run_dir: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(run_dir.join("summary.json")).ok()?).ok()
}

/// Some points of the curve, evenly over the lines of metrics, the last one among them.
fn curve(run_dir: &Path) -> Vec<(u64, f64)> {
    let text = fs::read_to_string(run_dir.join("metrics.jsonl")).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<MetricsRecord>(line).ok());
    let points: Vec<(u64, f64)> =
        lines.filter_map(|line| Some((line.frames, line.return_mean?))).collect();
    let rows = CURVE_ROWS.min(points.len());
    (1..=rows).map(|row| points[row * points.len() / rows - 1]).collect()
}

/// Settings without those that name places of one machine.
fn portable(settings: &str) -> String {
    let places =
        ["# The run folder was", "python =", "python-path =", "run-dir =", "env-arg = [\"file="];
    let kept = settings.lines().filter(|line| !places.iter().any(|place| line.starts_with(place)));
    kept.map(|line| format!("{line}\n")).collect()
}
