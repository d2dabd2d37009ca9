#!/usr/bin/env bash
# One world model for the Fetch arm's two tasks on a GPU: data, panels, judges, and the suite played in the result. Run again to continue.
# OUT is where results go; SCRATCH keeps what a second run continues from.
set -euo pipefail
cd "$(dirname "$0")/../.."
OUT=$(realpath -m "${OUT:-runs/gpu}")
SCRATCH=${SCRATCH:-/tmp/worldsim-gpu-fetch}
DEVICE=${DEVICE:-cuda}
mkdir -p "$OUT" "$SCRATCH"
python -m pip install -q -c constraints.txt -e ".[robotics]" 2>/dev/null || python -m pip install -q --no-deps --no-build-isolation -e .
cd "$SCRATCH"
worldsim reproduce world=fetch out=build/fetch episodes="${EPISODES:-3200}" batch="${BATCH:-192}" device="$DEVICE"
worldsim evaluate suite=fetch episodes="${STARTS:-50}" device="$DEVICE" run=suite
cp suite/suite.json "$OUT/"
cp build/fetch/world_model/self-context/{config.json,model.safetensors} "$OUT/"
