#!/usr/bin/env bash
# bash ablate.sh [--quick | --benchmark NAME | --dataset_name NAME] [--rows NAME...] [--seeds N] [other flags of tools/ablate.py]
#
# Trains and tests the full model and its ablations (modules/training/ablations.py) over three seeds each and writes
# table and plots into docs/ablations. A finished run is a line of docs/ablations/runs.jsonl and is not repeated:
# interrupt it and start it again at any time, on any machine. SynthCXR is drawn for it; other data sets must be prepared.
# Runs go side by side where there are several GPUs. Hardware and hours: docs/findings.md.
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh requirements.txt
export TOKENIZERS_PARALLELISM=false

exec "$PYTHON" tools/ablate.py "$@"  # so that signals reach it
