//! The messages of `proto/impala_env.proto`, field by field.

use prost::bytes::Bytes;

/// Version of the protocol.
pub(super) const VERSION: u32 = 1;

/// The method that a stream is of.
pub(super) const METHOD: &str = "/impala.env.v1.Environments/Run";

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {
    #[prost(oneof = "Asked", tags = "1, 2, 3")]
    pub(super) kind: Option<Asked>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Asked {
    #[prost(message, tag = "1")]
    Hello(Hello),
    #[prost(message, tag = "2")]
    Reset(Reset),
    #[prost(message, tag = "3")]
    Step(Step),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Hello {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(uint32, tag = "2")]
    pub(super) envs: u32,
    #[prost(uint64, tag = "3")]
    pub(super) seed: u64,
    #[prost(message, repeated, tag = "4")]
    pub(super) arguments: Vec<Argument>,
    #[prost(bool, tag = "5")]
    pub(super) trial: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Argument {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Reset {
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Step {
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) actions: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Reply {
    #[prost(oneof = "Told", tags = "1, 2, 3, 4")]
    pub(super) kind: Option<Told>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Told {
    #[prost(message, tag = "1")]
    Spec(Spec),
    #[prost(message, tag = "2")]
    Observed(Observed),
    #[prost(message, tag = "3")]
    Failure(Failure),
    #[prost(message, tag = "4")]
    Unusable(Unusable),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Dtype {
    Unspecified = 0,
    U8 = 1,
    F32 = 2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum ActionKind {
    Unspecified = 0,
    Discrete = 1,
    MultiDiscrete = 2,
    Continuous = 3,
    Hybrid = 4,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Spec {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(enumeration = "Dtype", tag = "2")]
    pub(super) dtype: i32,
    #[prost(uint32, repeated, tag = "3")]
    pub(super) shape: Vec<u32>,
    #[prost(enumeration = "ActionKind", tag = "4")]
    pub(super) action: i32,
    #[prost(uint32, repeated, tag = "5")]
    pub(super) sizes: Vec<u32>,
    #[prost(float, repeated, tag = "6")]
    pub(super) low: Vec<f32>,
    #[prost(float, repeated, tag = "7")]
    pub(super) high: Vec<f32>,
    #[prost(bool, tag = "8")]
    pub(super) masks: bool,
    #[prost(string, tag = "9")]
    pub(super) name: String,
    #[prost(string, repeated, tag = "10")]
    pub(super) notes: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Observed {
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) frames: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) rewards: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) terminated: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) truncated: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    pub(super) masks: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Failure {
    #[prost(uint64, tag = "1")]
    pub(super) number: u64,
    #[prost(string, tag = "2")]
    pub(super) reason: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Unusable {
    #[prost(string, tag = "1")]
    pub(super) problem: String,
    #[prost(string, tag = "2")]
    pub(super) remedy: String,
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    /// The fields of the protocol, in the order of the file: message, number, type and name.
    fn fields() -> Vec<(String, u32, String, String)> {
        let mut found = Vec::new();
        let mut message = String::new();
        for line in include_str!("../proto/impala_env.proto").lines() {
            let code = line.split("//").next().unwrap_or_default().trim();
            if let Some(name) = code.strip_prefix("message ") {
                message = name.trim_end_matches([' ', '{']).to_owned();
            }
            let Some((left, right)) = code.split_once(" = ") else { continue };
            let Ok(number) = right.trim_end_matches(';').parse() else { continue };
            if let Some((kind, name)) = left.rsplit_once(' ') {
                found.push((message.clone(), number, kind.to_owned(), name.to_owned()));
            }
        }
        found
    }

    #[test]
    fn the_structs_are_those_of_the_file() {
        let of = |name: &str| -> Vec<String> {
            let own = fields().into_iter().filter(|field| field.0 == name);
            own.map(|(_, number, kind, name)| format!("{kind} {name} {number}")).collect()
        };
        // What prost derives, as Debug shows it: the names in order, and on the wire their numbers.
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        let observed = Observed {
            number: 1,
            frames: bytes("f"),
            rewards: bytes("r"),
            terminated: bytes("e"),
            truncated: bytes("c"),
            masks: bytes("m"),
        };
        let expected = b"\x08\x01\x12\x01f\x1a\x01r\x22\x01e\x2a\x01c\x32\x01m";
        assert_eq!(observed.encode_to_vec(), expected);
        assert_eq!(
            of("Observed"),
            [
                "uint64 number 1",
                "bytes frames 2",
                "bytes rewards 3",
                "bytes terminated 4",
                "bytes truncated 5",
                "bytes masks 6"
            ]
        );
        let step = Step { number: 300, actions: bytes("a") };
        let request = Request { kind: Some(Asked::Step(step)) };
        assert_eq!(request.encode_to_vec(), b"\x1a\x06\x08\xac\x02\x12\x01a");
        assert_eq!(of("Step"), ["uint64 number 1", "bytes actions 2"]);
        assert_eq!(of("Request"), ["Hello hello 1", "Reset reset 2", "Step step 3"]);
        let told =
            ["Spec spec 1", "Observed observed 2", "Failure failure 3", "Unusable unusable 4"];
        assert_eq!(of("Reply"), told);
    }
}
