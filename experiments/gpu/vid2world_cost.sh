#!/usr/bin/env bash
# The 1.44 B Vid2World U-Net on random weights: one 320 x 512, 16-frame training step, and one guided 10-step frame in both histories.
set -euo pipefail
cd "$(dirname "$0")/../.."
OUT=${OUT:-runs/gpu}
mkdir -p "$OUT"
python -m pip install -q -c constraints.txt -e ".[vid2world]" 2>/dev/null || python -m pip install -q --no-deps --no-build-isolation -e .
python -m worldsim.experiments.vid2world_cost out="$OUT/vid2world_cost.json" device=cuda batch=1 steps=10
