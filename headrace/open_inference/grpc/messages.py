"""The protocol's gRPC messages, with those of Triton that we answer: configuration, statistics, the repository.

They are the same on the wire as open_inference_grpc.proto. Beside them stand the standard health check and
server reflection.
"""

from __future__ import annotations

from headrace.open_inference.grpc.notation import File, Method, declared

_CALLS = (
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "ModelConfig",
    "ModelStatistics",
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
)

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
ModelStatisticsRequest: string name 1, string version 2
StatisticDuration: uint64 count 1, uint64 ns 2
InferStatistics: StatisticDuration success 1, StatisticDuration fail 2, StatisticDuration queue 3, \
StatisticDuration compute_input 4, StatisticDuration compute_infer 5, StatisticDuration compute_output 6, \
StatisticDuration cache_hit 7, StatisticDuration cache_miss 8
ModelStatistics: string name 1, string version 2, uint64 last_inference 3, uint64 inference_count 4, \
uint64 execution_count 5, InferStatistics inference_stats 6
ModelStatisticsResponse: *ModelStatistics model_stats 1
RepositoryModelLoadRequest: string repository_name 1, string model_name 2
RepositoryModelLoadResponse:
RepositoryModelUnloadRequest: string repository_name 1, string model_name 2
RepositoryModelUnloadResponse:
"""
_HEALTH = """
HealthCheckRequest: string service 1
HealthCheckResponse: ServingStatus status 1
"""
_REFLECTION = """
ServerReflectionRequest: string host 1, |string file_by_filename 3, |string file_containing_symbol 4, \
|ExtensionRequest file_containing_extension 5, |string all_extension_numbers_of_type 6, |string list_services 7
ExtensionRequest: string containing_type 1, int32 extension_number 2
FileDescriptorResponse: *bytes file_descriptor_proto 1
ExtensionNumberResponse: string base_type_name 1, *int32 extension_number 2
ServiceResponse: string name 1
ListServiceResponse: *ServiceResponse service 1
ErrorResponse: int32 error_code 1, string error_message 2
ServerReflectionResponse: string valid_host 1, ServerReflectionRequest original_request 2, \
|FileDescriptorResponse file_descriptor_response 4, |ExtensionNumberResponse all_extension_numbers_response 5, \
|ListServiceResponse list_services_response 6, |ErrorResponse error_response 7
"""

PROTOCOL = declared(
    "inference",
    "GRPCInferenceService",
    [Method(name, f"{name}Request", f"{name}Response") for name in _CALLS],
    _INFERENCE,
)
HEALTH = declared(
    "grpc.health.v1",
    "Health",
    [
        Method("Check", "HealthCheckRequest", "HealthCheckResponse"),
        Method("Watch", "HealthCheckRequest", "HealthCheckResponse", (False, True)),
    ],
    _HEALTH,
    {"ServingStatus": ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")},
)
#: The same service under both names that clients know it by.
REFLECTION: tuple[File, ...] = tuple(
    declared(
        f"grpc.reflection.{version}",
        "ServerReflection",
        [Method("ServerReflectionInfo", "ServerReflectionRequest", "ServerReflectionResponse", (True, True))],
        _REFLECTION,
    )
    for version in ("v1", "v1alpha")
)

#: Message classes by name. Not every name is the proto's: nested messages are flat here, the wire is the same.
INFERENCE = PROTOCOL.messages

#: The typed contents in which a datatype travels; FP16 and BF16 have none.
TYPED_CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}

#: Triton's numbers for data types in a model's configuration.
_TYPES = "INVALID BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 FP32 FP64 STRING BF16"
MODEL_TYPES = {f"TYPE_{name}": number for number, name in enumerate(_TYPES.split(" "))}
