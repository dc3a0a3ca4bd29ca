#!/usr/bin/env bash
# bash test_mimic_cxr.sh [flags of main_test.py]
#
# Writes and scores the reports of the MIMIC-CXR test split (an item of every image; 3,858 as published).
# Minutes and scores: not yet measured. Paper: BLEU-4 .182, METEOR .199, ROUGE-L .336, CE-F1 .592.
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh requirements.txt
become main_test.py --dataset_name mimic_cxr --load_pretrained results/mimic_cxr/model_best.pth \
    --bert_path checkpoints/bert-base-uncased --beam_size 3 --gen_min_len 100 --gen_max_len 150 \
    --save_dir results/mimic_cxr "$@"
