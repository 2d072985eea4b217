"""The SDK and another gRPC client of the same protocol live in one process, whichever comes first."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.architecture.code import ROOT

SDK = (
    "from headrace.hopsworks.session import _sdk; _sdk(); "
    "from hopsworks_common.client.istio.grpc.proto import grpc_predict_v2_pb2 as its; assert its.ServerLiveRequest()"
)
TRITON = "import tritonclient.grpc as ours; assert ours.service_pb2.ServerLiveRequest()"
KSERVE = "from kserve.protocol.grpc import grpc_predict_v2_pb2 as theirs; assert theirs.ServerLiveRequest()"


@pytest.mark.parametrize("order", [(SDK, TRITON), (TRITON, SDK), (SDK, KSERVE), (KSERVE, SDK)])
def test_either_may_be_imported_first(order):
    done = subprocess.run([sys.executable, "-c", "\n".join(order)], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-300:]
