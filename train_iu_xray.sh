#!/usr/bin/env bash
# bash train_iu_xray.sh [flags of main_train.py]
#
# Trains on IU X-Ray itself; the paper only tests there (test_iu_xray.sh). GPUs, --global_batch and
# learning rate as in train_mimic_cxr.sh.
# Minutes and scores: not yet measured.
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh requirements.txt
become main_train.py --dataset_name iu_xray --bert_path checkpoints/bert-base-uncased \
    --resnet_weights checkpoints/resnet101.pth \
    --batch_size 18 --epochs 20 --beam_size 3 --gen_min_len 60 --gen_max_len 110 --seed 456789 \
    --save_dir results/iu_xray "$@"
