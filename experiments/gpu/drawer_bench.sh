#!/usr/bin/env bash
# The shipped drawer world on a GPU: frames per second in 1, 64 and 512 environments, and rollouts per hour of an evaluation.
source "$(dirname "$0")/prepare.sh"
SIZES=${SIZES:-lanes=[1,64,512] evaluation_batch=200 episodes=100}
for engine in bf16-none bf16-cudagraphs fp32-none; do
    bench "drawer-$engine" parts=[memory,env,evaluation] $SIZES precision="${engine%-*}" compile="${engine#*-}" peak_tflops=790
done
bench drawer-frames parts=[frames] histories=[stream] batch=64 steps=[1,2,4,10] guidance=2.5 precision=bf16 peak_tflops=790
