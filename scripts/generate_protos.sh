#!/bin/sh
# Generate swarm/proto from protos/. The output is committed; CI runs this again and compares.
# The generator is pinned by constraints.txt: generated code refuses a protobuf runtime older than its generator.
set -eu
cd "$(dirname "$0")/.."
out=${1:-.}
"${PYTHON:-python}" -m grpc_tools.protoc -I protos \
    --python_out="$out" --mypy_out="$out" --grpc_python_out="$out" --mypy_grpc_out="$out" \
    protos/swarm/proto/*.proto
rm -f "$out"/swarm/proto/exchange_pb2_grpc.py* "$out"/swarm/proto/circuit_pb2_grpc.py*   # libp2p carries these messages, not gRPC
