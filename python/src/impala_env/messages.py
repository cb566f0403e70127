"""The messages of `crates/impala-grpc/proto/impala_env.proto`.

They are made here, of one line each, in place of a module that protoc generates: such a one works with few versions of
protobuf only. Fields are numbered in their order, from 1.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "impala.env.v1"

ENUMS = {
    "Dtype": "DTYPE_UNSPECIFIED U8 F32",
    "ActionKind": "ACTION_KIND_UNSPECIFIED DISCRETE MULTI_DISCRETE CONTINUOUS HYBRID",
}
"""Values are numbered from 0."""

MESSAGES = {
    "Argument": "string key, string value",
    "Hello": "uint32 version, uint32 envs, uint64 seed, repeated Argument arguments, bool trial",
    "Reset": "uint64 number",
    "Step": "uint64 number, bytes actions",
    "Request": "one Hello hello, one Reset reset, one Step step",
    "Spec": "uint32 version, Dtype dtype, repeated uint32 shape, ActionKind action, repeated uint32 sizes, repeated float low, "
    "repeated float high, bool masks, string name, repeated string notes",
    "Observed": "uint64 number, bytes frames, bytes rewards, bytes terminated, bytes truncated, bytes masks",
    "Failure": "uint64 number, string reason",
    "Unusable": "string problem, string remedy",
    "Reply": "one Spec spec, one Observed observed, one Failure failure, one Unusable unusable",
}
"""What is `one` belongs to the oneof `kind`."""


def _file():
    file = descriptor_pb2.FileDescriptorProto(name="impala_env.proto", package=PACKAGE, syntax="proto3")
    for name, values in ENUMS.items():
        enum = file.enum_type.add(name=name)
        for number, value in enumerate(values.split()):
            enum.value.add(name=value, number=number)
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field in enumerate(fields.split(", "), 1):
            *how, kind, known = field.split()
            _add(message, known, number, kind, how)
    return file


def _add(message, name, number, kind, how):
    kinds = descriptor_pb2.FieldDescriptorProto
    field = message.field.add(name=name, number=number, label=kinds.LABEL_OPTIONAL)
    if how == ["repeated"]:
        field.label = kinds.LABEL_REPEATED
    if how == ["one"]:
        if not message.oneof_decl:
            message.oneof_decl.add(name="kind")
        field.oneof_index = 0
    if kind in ENUMS or kind in MESSAGES:
        field.type = kinds.TYPE_ENUM if kind in ENUMS else kinds.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{kind}"
    else:
        field.type = getattr(kinds, f"TYPE_{kind.upper()}")


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_file())


def _of(name):
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


Argument, Hello, Reset, Step, Request = map(_of, ("Argument", "Hello", "Reset", "Step", "Request"))
Spec, Observed, Failure, Unusable, Reply = map(_of, ("Spec", "Observed", "Failure", "Unusable", "Reply"))


def value(enum, name):
    """The number of a value of an enum."""
    return ENUMS[enum].split().index(name)
