#!/usr/bin/env bash
# bash ablate.sh [DATASET [flags of main_train.py]]
#
# Trains and tests the full model and each of its ablations on a prepared data set (default synth_cxr), one folder each
# under results/ablations/DATASET, and prints their rows as one table. A finished ablation is not trained again.
# Hardware and hours: as many times one training; not yet measured as a whole.
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh requirements.txt
export TOKENIZERS_PARALLELISM=false

dataset=${1:-synth_cxr}
[ $# -gt 0 ] && shift
root=results/ablations/$dataset
ablations=(
    "full"
    "no_retrieval --retrieval none"
    "random_retrieval --retrieval random"
    "cosine_retrieval --retrieval cosine"
    "euclidean --manifold euclidean"
    "softmax_attention --attention softmax"
    "no_attention --attention none"
    "released_plan --ot_plan single --align_iou binary --no-mask_padding"
    "no_alignment_loss --align_weight 0"
    "no_ranking_loss --rank_weight 0"
    "listwise_ranking --rank_loss listwise"
)
for ablation in "${ablations[@]}"; do
    read -r -a words <<<"$ablation"
    run=$root/${words[0]}
    [ -f "$run/metrics.json" ] && continue
    resume=()
    [ -f "$run/current_checkpoint.pth" ] && resume=(--resume)
    launch main_train.py --dataset_name "$dataset" --save_dir "$run" "${resume[@]}" "${words[@]:1}" "$@"
    launch main_test.py --dataset_name "$dataset" --save_dir "$run" --show 0
done

head -2 "$root/full/table.md"
for ablation in "${ablations[@]}"; do
    name=${ablation%% *}
    grep '^| REVTAF' "$root/$name/table.md" | sed "s/^| REVTAF */| $name /"
done
