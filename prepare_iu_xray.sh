#!/usr/bin/env bash
# bash prepare_iu_xray.sh RAW_DIR [--zero_shot] [flags of main_prepare.py]
#
# From Open-i's NLMCXR_reports.tgz and PNG folder, or the Kaggle packaging, anywhere below RAW_DIR, to data/iu_xray:
# annotation, image copies of 256 pixels on the shorter side, features, checked. R2Gen's split: --split_file annotation.json.
# --zero_shot: for test_iu_xray.sh instead, which tests the model of MIMIC-CXR on all of IU X-Ray. An item of every image, all
# to be tested, read by the entity scorer in data/mimic_cxr/features; into annotation_zero_shot.json and features_zero_shot.
# Both may lie side by side and share the images.
# Hardware: any. Minutes with features, 2 CPU cores: 13 min 51 s (2026-11-24, R2Gen's split, 3,955 reports, noise in place of
# the PNG files); --zero_shot trains no scorer.
# Expected: 2,069 / 296 / 590 studies with R2Gen's split, 3,337 with findings and an image without it; 6,473 images with
# --zero_shot, where the published annotation has 4,168 samples (3,337 with --items study).
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit; fi
raw_dir=${1:+$(realpath -m -- "$1")}
cd "$(dirname "$0")"
if [ $# -eq 0 ] || [[ $1 == -* ]]; then
    echo "usage: bash prepare_iu_xray.sh RAW_DIR [--zero_shot] [flags of main_prepare.py]" >&2
    exit 2
fi
shift
source ./environment.sh requirements.txt
take --zero_shot "$@"
places=()
if [ -n "$TAKEN" ]; then
    places=(--ann_path data/iu_xray/annotation_zero_shot.json --feature_dir data/iu_xray/features_zero_shot
        --bank_dir data/mimic_cxr/features --items image --all_test)
fi
scorer_weights "${places[@]}" "${REST[@]}"
launch main_prepare.py --dataset_name iu_xray --raw_dir "$raw_dir" --resize 256 --num_workers "$(nproc)" \
    "${WEIGHTS[@]}" "${places[@]}" "${REST[@]}"
if [[ " $* " == *" --estimate "* ]]; then exit; fi
only --ann_path --image_dir --feature_dir --bank_dir --cleaning --max_words --features --image_size --num_workers \
    -- "${places[@]}" "${REST[@]}"
await "$PYTHON" tools/check.py --dataset_name iu_xray "${ONLY[@]}"
