#!/usr/bin/env bash
# bash prepare_iu_xray.sh RAW_DIR [flags of main_prepare.py]
#
# From Open-i's NLMCXR_reports.tgz and PNG folder, or the Kaggle packaging, anywhere below RAW_DIR, to data/iu_xray:
# annotation, image copies of 256 pixels on the shorter side, features, checked. R2Gen's split: --split_file annotation.json.
# Hardware: any. Minutes with features, 2 CPU cores: 13 min 51 s (2026-11-24, R2Gen's split, 3,955 reports, noise in place of
# the PNG files).
# Expected: 2,069 / 296 / 590 studies with R2Gen's split, 3,337 with findings and an image without it.
set -euo pipefail
raw_dir=${1:+$(realpath -m -- "$1")}
cd "$(dirname "$0")"
if [ $# -eq 0 ]; then
    echo "usage: bash prepare_iu_xray.sh RAW_DIR [flags of main_prepare.py]" >&2
    exit 2
fi
shift
source ./environment.sh requirements.txt
launch main_prepare.py --dataset_name iu_xray --raw_dir "$raw_dir" --resize 256 --num_workers "$(nproc)" "$@"
only --ann_path --image_dir --feature_dir --bank_dir --cleaning --max_words --features --image_size --num_workers -- "$@"
"$PYTHON" tools/check.py --dataset_name iu_xray "${ONLY[@]}"
