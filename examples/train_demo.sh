#!/usr/bin/env bash
# bash examples/train_demo.sh [folder of the release]
#
# Makes examples/demo: the quickstart's drawings, a network a quarter as wide, and a release of less than 3 MB.
# Minutes and scores stand in examples/README.md.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit; fi
cd "$(dirname "$0")/.."
source ./environment.sh requirements.txt
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

release=${1:-examples/demo}
data=(--dataset_name synth_cxr --feature_dir data/synth_cxr/demo)
await "$PYTHON" main_prepare.py "${data[@]}" --visual_extractor resnet10q --scorer_width 32 --text_width 32
await "$PYTHON" main_train.py "${data[@]}" --save_dir results/demo --visual_extractor resnet10q --d_model 64 --h_dim 32 \
    --memory_feedforward 64 --hidden_size 64 --intermediate_size 128 --decoder_layers 2 --max_positions 256 --epochs 7
await "$PYTHON" main_test.py "${data[@]}" --save_dir results/demo --no-viewer
await "$PYTHON" main_predict.py --model results/demo --export "$release" --half --bank_size 500

# the card quotes the release's own scores: the export costs some
await "$PYTHON" main_predict.py --images data/synth_cxr/images/test --model "$release" --out results/of_demo
await "$PYTHON" main_score.py --predictions results/of_demo/predictions.jsonl --references data/synth_cxr/annotation.json --save_dir results/of_demo/scores
await "$PYTHON" main_predict.py --model "$release" --scores results/of_demo/scores
