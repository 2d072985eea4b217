"""Asks a running predictor as its users' clients do, and prints what they saw as JSON.

A process of its own: tritonclient.grpc and kserve cannot be imported into one.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc
import tritonclient.http
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException


def infer(module, client, features, outputs=None, name="features", datatype="FP32", binary=True):
    given = module.InferInput(name, list(features.shape), datatype)
    if module is tritonclient.http:
        given.set_data_from_numpy(features, binary_data=binary)
    else:
        given.set_data_from_numpy(features)
    wanted = [module.InferRequestedOutput(output) for output in outputs] if outputs else None
    answer = client.infer("small", [given], outputs=wanted, request_id="7")
    assert answer.as_numpy("p").shape == (len(features), 1)
    return answer.as_numpy("p")[:, 0].tolist()


def refusal(ask):
    try:
        ask()
    except InferenceServerException as refused:
        return [str(refused.status()), str(refused.message())]
    return None


def judge(module, client, rows):
    wide, spoiled = np.zeros((2, 4), np.float32), rows.copy()
    spoiled[1, 0] = np.nan
    endless = np.full((1, 3), np.inf, np.float32)
    return {
        "live": client.is_server_live(),
        "ready": client.is_model_ready("small"),
        "scores": infer(module, client, rows, ["p"]),
        "one": infer(module, client, rows[:1]),
        "many": infer(module, client, np.tile(rows, (700, 1)))[-2:],
        "wide": refusal(lambda: infer(module, client, wide)),
        "nan": refusal(lambda: infer(module, client, spoiled)),
        "infinite": refusal(lambda: infer(module, client, endless)),
        "double": refusal(lambda: infer(module, client, rows.astype(np.float64), datatype="FP64")),
        "name": refusal(lambda: infer(module, client, rows, name="x")),
        "output": refusal(lambda: infer(module, client, rows, ["q"])),
    }


def main():
    rows = np.array(json.loads(sys.argv[3]), dtype=np.float32)
    http = tritonclient.http.InferenceServerClient(sys.argv[1])
    grpc = tritonclient.grpc.InferenceServerClient(sys.argv[2])
    seen = {"http": judge(tritonclient.http, http, rows), "grpc": judge(tritonclient.grpc, grpc, rows)}
    seen["http"]["json"] = infer(tritonclient.http, http, rows, binary=False)
    seen["config"] = http.get_model_config("small")
    written = text_format.Parse(Path(sys.argv[4]).read_text(), model_config_pb2.ModelConfig())
    seen["config.pbtxt"] = json_format.MessageToDict(written, preserving_proto_field_name=True)
    seen["metadata"] = http.get_model_metadata("small")
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
