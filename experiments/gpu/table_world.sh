#!/usr/bin/env bash
# One world model for the table's three tasks on a GPU: data, panels, judges, and the suite played in the result. Run again to continue.
# OUT is where results go; SCRATCH keeps what a second run continues from.
set -euo pipefail
cd "$(dirname "$0")/../.."
OUT=${OUT:-runs/gpu}
SCRATCH=${SCRATCH:-/tmp/worldsim-gpu-table}
DEVICE=${DEVICE:-cuda}
mkdir -p "$OUT"
python -m pip install -q -c constraints.txt -e ".[mujoco]" 2>/dev/null || python -m pip install -q --no-deps --no-build-isolation -e .
worldsim reproduce world=table out="$SCRATCH" episodes="${EPISODES:-3000}" batch="${BATCH:-192}" device="$DEVICE" install=true
worldsim evaluate suite=drawer episodes="${STARTS:-100}" device="$DEVICE" run="$SCRATCH/suite"
cp "$SCRATCH/suite/suite.json" "$OUT/"
cp "$SCRATCH"/world_model/self-context/{config.json,model.safetensors} "$OUT/"
