#!/usr/bin/env bash
# bash prepare_mimic_cxr.sh RAW_DIR [flags of main_prepare.py]
#
# From what PhysioNet publishes (mimic-cxr-jpg or the DICOM files of mimic-cxr, and mimic-cxr-reports.zip, a few folders below
# RAW_DIR) to data/mimic_cxr: one item per image as in R2Gen's annotation, image copies of 256 pixels on the shorter side,
# features, checked.
# The entity scorer starts from checkpoints/resnet101.pth, else from checkpoints/rad-dino, else from random weights.
# --estimate: what all of it, training and test would take on this machine, from a minute or two of measuring. A preparation of
# more than a day asks before it copies anything; --yes begins without.
# Hardware: any; images are copied by all CPU cores, features use a GPU if there is one. Hours: docs/data.md.
# Expected: 270,790 / 2,130 / 3,858 items as published; our rules for headers: not yet counted on MIMIC-CXR.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit; fi
raw_dir=${1:+$(realpath -m -- "$1")}
cd "$(dirname "$0")"
if [ $# -eq 0 ] || [[ $1 == -* ]]; then
    echo "usage: bash prepare_mimic_cxr.sh RAW_DIR [flags of main_prepare.py]" >&2
    exit 2
fi
shift
source ./environment.sh requirements.txt
scorer_weights "$@"
launch main_prepare.py --dataset_name mimic_cxr --raw_dir "$raw_dir" --items image --resize 256 \
    --num_workers "$(nproc)" "${WEIGHTS[@]}" "$@"
if [[ " $* " == *" --estimate "* ]]; then exit; fi
only --ann_path --image_dir --feature_dir --bank_dir --cleaning --max_words --features --image_size --num_workers -- "$@"
await "$PYTHON" tools/check.py --dataset_name mimic_cxr "${ONLY[@]}"
