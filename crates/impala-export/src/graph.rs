//! Builds an ONNX graph node by node.

use crate::proto::{
    AttributeProto, AttributeType, DataType, Dimension, Extent, GraphProto, NodeProto, TensorProto,
    TensorShapeProto, TensorType, TypeProto, ValueInfoProto,
};

/// Name of the axis over observations.
const BATCH: &str = "batch";

/// A graph that grows from its inputs to its outputs.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    graph: GraphProto,
}

/// A value of the graph, by its name.
pub(crate) type Value = String;

impl Graph {
    pub(crate) fn named(name: &str) -> Self {
        Self { graph: GraphProto { name: name.to_owned(), ..GraphProto::default() } }
    }

    pub(crate) fn into_proto(self) -> GraphProto {
        self.graph
    }

    /// An input `[batch][shape]`.
    pub(crate) fn input(
        &mut self,
        name: &str,
        kind: DataType,
        shape: &[usize],
        about: &str,
    ) -> Value {
        self.graph.input.push(value_info(name, kind, shape, about));
        name.to_owned()
    }

    /// Makes `value` an output `[batch][shape]` of this name.
    pub(crate) fn output(
        &mut self,
        value: &Value,
        (name, kind): (&str, DataType),
        shape: &[usize],
        about: &str,
    ) {
        self.graph.output.push(value_info(name, kind, shape, about));
        let node = node("Identity", name, std::slice::from_ref(value), name, Vec::new());
        self.graph.node.push(node);
    }

    /// A constant of f32.
    pub(crate) fn numbers(&mut self, name: &str, shape: &[usize], numbers: &[f32]) -> Value {
        let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, DataType::Float, shape, bytes)
    }

    /// A constant of i64, `[n]`.
    pub(crate) fn integers(&mut self, name: &str, numbers: &[i64]) -> Value {
        let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, DataType::Int64, &[numbers.len()], bytes)
    }

    /// A constant of truths, `[n]`.
    pub(crate) fn truths(&mut self, name: &str, truths: &[bool]) -> Value {
        let bytes = truths.iter().map(|&truth| u8::from(truth)).collect();
        self.constant(name, DataType::Bool, &[truths.len()], bytes)
    }

    fn constant(
        &mut self,
        name: &str,
        kind: DataType,
        shape: &[usize],
        raw_data: Vec<u8>,
    ) -> Value {
        self.graph.initializer.push(TensorProto {
            dims: shape.iter().map(|&size| int(size)).collect(),
            data_type: kind.into(),
            name: name.to_owned(),
            raw_data,
        });
        name.to_owned()
    }

    /// A node with one output, which bears the node's name.
    pub(crate) fn node(&mut self, operator: &str, name: &str, inputs: &[Value]) -> Value {
        self.node_with(operator, name, inputs, Vec::new())
    }

    /// The same with attributes.
    pub(crate) fn node_with(
        &mut self,
        operator: &str,
        name: &str,
        inputs: &[Value],
        attributes: Vec<AttributeProto>,
    ) -> Value {
        self.graph.node.push(node(operator, name, inputs, name, attributes));
        name.to_owned()
    }

    /// `value` in another shape; -1 for the axis over observations.
    pub(crate) fn reshape(&mut self, name: &str, value: &Value, shape: &[usize]) -> Value {
        let shape: Vec<i64> = std::iter::once(-1).chain(shape.iter().map(|&n| int(n))).collect();
        let shape = self.integers(&format!("{name}.shape"), &shape);
        self.node("Reshape", name, &[value.clone(), shape])
    }

    /// Columns of `value`, `[batch][..]`.
    pub(crate) fn columns(&mut self, name: &str, value: &Value, from: usize, to: usize) -> Value {
        let [from, to, axis] = [("from", int(from)), ("to", int(to)), ("axis", 1)]
            .map(|(part, number)| self.integers(&format!("{name}.{part}"), &[number]));
        self.node("Slice", name, &[value.clone(), from, to, axis])
    }
}

fn node(
    operator: &str,
    name: &str,
    inputs: &[Value],
    output: &str,
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        input: inputs.to_vec(),
        output: vec![output.to_owned()],
        name: format!("{operator}:{name}"),
        op_type: operator.to_owned(),
        attribute,
    }
}

/// An attribute of one whole number.
pub(crate) fn number(name: &str, i: i64) -> AttributeProto {
    let r#type = AttributeType::Int.into();
    AttributeProto { name: name.to_owned(), i, ints: Vec::new(), r#type }
}

/// An attribute of several.
pub(crate) fn list(name: &str, ints: &[usize]) -> AttributeProto {
    let ints = ints.iter().map(|&n| int(n)).collect();
    AttributeProto { name: name.to_owned(), i: 0, ints, r#type: AttributeType::Ints.into() }
}

fn value_info(name: &str, kind: DataType, shape: &[usize], about: &str) -> ValueInfoProto {
    let fixed = shape.iter().map(|&size| Extent::DimValue(int(size)));
    let dim = std::iter::once(Extent::DimParam(BATCH.to_owned())).chain(fixed);
    let dim = dim.map(|value| Dimension { value: Some(value) }).collect();
    let shape = Some(TensorShapeProto { dim });
    let tensor_type = Some(TensorType { elem_type: kind.into(), shape });
    let r#type = Some(TypeProto { tensor_type });
    ValueInfoProto { name: name.to_owned(), r#type, doc_string: about.to_owned() }
}

/// Sizes are those of networks that fit into memory.
fn int(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
