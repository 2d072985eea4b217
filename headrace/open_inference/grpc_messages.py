"""The protocol's gRPC messages, in a protobuf pool of their own.

They are the same on the wire as open_inference_grpc.proto, with Triton's ModelConfig (the fields we
answer) and the standard health check added. kserve and tritonclient each register files of the
same names in the process-wide pool, which holds one of them only; a private pool lets either live
beside this package.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_SCALARS = {
    "double": 1,
    "float": 2,
    "int64": 3,
    "uint64": 4,
    "int32": 5,
    "bool": 8,
    "string": 9,
    "bytes": 12,
    "uint32": 13,
}

# Every line is a message: its fields as `type name = number`, `*` for repeated, `map` for a map from
# string, `|` for a member of the message's one oneof.
_INFERENCE = """
ServerLiveRequest:
ServerLiveResponse: bool live 1
ServerReadyRequest:
ServerReadyResponse: bool ready 1
ModelReadyRequest: string name 1, string version 2
ModelReadyResponse: bool ready 1
ServerMetadataRequest:
ServerMetadataResponse: string name 1, string version 2, *string extensions 3
ModelMetadataRequest: string name 1, string version 2
TensorMetadata: string name 1, string datatype 2, *int64 shape 3
ModelMetadataResponse: string name 1, *string versions 2, string platform 3, *TensorMetadata inputs 4, \
*TensorMetadata outputs 5
InferParameter: |bool bool_param 1, |int64 int64_param 2, |string string_param 3, |double double_param 4, \
|uint64 uint64_param 5
InferTensorContents: *bool bool_contents 1, *int32 int_contents 2, *int64 int64_contents 3, *uint32 uint_contents 4, \
*uint64 uint64_contents 5, *float fp32_contents 6, *double fp64_contents 7, *bytes bytes_contents 8
InferTensor: string name 1, string datatype 2, *int64 shape 3, map InferParameter parameters 4, \
InferTensorContents contents 5
InferRequestedOutputTensor: string name 1, map InferParameter parameters 2
ModelInferRequest: string model_name 1, string model_version 2, string id 3, map InferParameter parameters 4, \
*InferTensor inputs 5, *InferRequestedOutputTensor outputs 6, *bytes raw_input_contents 7
ModelInferResponse: string model_name 1, string model_version 2, string id 3, map InferParameter parameters 4, \
*InferTensor outputs 5, *bytes raw_output_contents 6
ModelConfigRequest: string name 1, string version 2
ModelParameter: string string_value 1
ModelInput: string name 1, int32 data_type 2, *int64 dims 4
ModelOutput: string name 1, int32 data_type 2, *int64 dims 3
ModelConfig: string name 1, string platform 2, int32 max_batch_size 4, *ModelInput input 5, *ModelOutput output 6, \
map ModelParameter parameters 14, string backend 17
ModelConfigResponse: ModelConfig config 1
RepositoryIndexRequest: string repository_name 1, bool ready 2
ModelIndex: string name 1, string version 2, string state 3, string reason 4
RepositoryIndexResponse: *ModelIndex models 1
"""
_HEALTH = """
HealthCheckRequest: string service 1
HealthCheckResponse: int32 status 1
"""


def _file(package: str, text: str) -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name=f"headrace/{package}.proto", package=package, syntax="proto3")
    names = []
    for line in text.strip().splitlines():
        name, _, fields = line.partition(":")
        names.append(name)
        message = file.message_type.add(name=name)
        for said in filter(None, (field.strip() for field in fields.split(","))):
            _add_field(package, message, said)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in names}


def _add_field(package: str, message: Any, said: str) -> None:
    *kinds, name, number = said.lstrip("*|").split()
    field = message.field.add(name=name, number=int(number), label=3 if said[0] == "*" or kinds[0] == "map" else 1)
    if kinds[0] == "map":
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, label=1, type=_SCALARS["string"])
        entry.field.add(name="value", number=2, label=1, type=11, type_name=f".{package}.{kinds[1]}")
        field.type, field.type_name = 11, f".{package}.{message.name}.{entry.name}"
    elif kinds[0] in _SCALARS:
        field.type = _SCALARS[kinds[0]]
    else:
        field.type, field.type_name = 11, f".{package}.{kinds[0]}"
    if said[0] == "|":
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0


#: Message classes by name. Not every name is the proto's: nested messages are flat here, the wire is the same.
INFERENCE = _file("inference", _INFERENCE)
HEALTH = _file("grpc.health.v1", _HEALTH)

#: Triton's numbers for data types in a model's configuration.
_TYPES = "INVALID BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 FP32 FP64 STRING BF16"
MODEL_TYPES = {f"TYPE_{name}": number for number, name in enumerate(_TYPES.split(" "))}
