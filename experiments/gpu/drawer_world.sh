#!/usr/bin/env bash
# The drawer world on a GPU: data, every stage with large batches, and the shipped panel ranked in it. Run again to continue.
# OUT is where results go; SCRATCH keeps what a second run continues from.
set -euo pipefail
cd "$(dirname "$0")/../.."
OUT=${OUT:-runs/gpu}
SCRATCH=${SCRATCH:-/tmp/worldsim-gpu}
mkdir -p "$OUT"
python -m pip install -q -c constraints.txt -e ".[mujoco]" 2>/dev/null || python -m pip install -q --no-deps --no-build-isolation -e .
worldsim reproduce out="$SCRATCH" episodes=8000 batch=192 device=cuda compile=true install=false
worldsim replay world_model="$SCRATCH/world_model/self-context" data="$SCRATCH/data/validation" device=cuda out="$OUT/open-loop"
worldsim evaluate world_model="$SCRATCH/world_model/self-context" truth=drawer episodes=100 device=cuda run="$SCRATCH/run"
cp "$SCRATCH/run/results.json" "$OUT/"
cp "$SCRATCH"/world_model/self-context/{config.json,model.safetensors} "$OUT/"
