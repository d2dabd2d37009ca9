#!/usr/bin/env bash
# The 1.44 B Vid2World U-Net on random weights at 320 x 512 with a tiny decoder: guided frames, 10 and 4 steps; then one training step.
source "$(dirname "$0")/prepare.sh"
PRESET=${PRESET:-rt1}
TRAIN=${TRAIN:-size=full}
FRAMES="preset=$PRESET parts=[frames] histories=[stream] guidance=2.5 repeats=3 peak_tflops=790"
bench vid2world-bf16 $FRAMES steps=[4,10] precision=bf16
bench vid2world-bf16-cudagraphs $FRAMES steps=[4,10] precision=bf16 compile=cudagraphs channels_last=true
bench vid2world-bf16-compiled $FRAMES steps=[4,10] precision=bf16 compile=default channels_last=true
bench vid2world-bf16-batch8 $FRAMES steps=[4] precision=bf16 batch=8
bench vid2world-fp32 $FRAMES steps=[4] precision=fp32
bench vid2world-bf16-histories $FRAMES histories=[stream,window,recompute] steps=[4] precision=bf16
if wanted vid2world-training; then
    "$PYTHON" -m worldsim.experiments.vid2world_cost out="$OUT/vid2world-training.json" device="$DEVICE" $TRAIN
fi
