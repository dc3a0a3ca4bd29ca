#!/usr/bin/env bash
# bash test_iu_xray.sh [--own] [flags of main_test.py]
#
# Zero-shot: the model trained on MIMIC-CXR, with MIMIC-CXR's reports as bank, on all of IU X-Ray, as
# `bash prepare_iu_xray.sh RAW_DIR --zero_shot` or the published files give it (they have 4,168 samples).
# --own: the model of train_iu_xray.sh on its own test split, with its own bank.
# Minutes and scores: not yet measured. Paper, zero-shot: BLEU-4 .107, METEOR .176, ROUGE-L .309, CE-F1 .273.
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh requirements.txt
take --own "$@"
if [ -n "$TAKEN" ]; then
    places=(--load_pretrained results/iu_xray/model_best.pth --save_dir results/iu_xray)
else
    annotation=data/iu_xray/annotation_zero_shot.json
    if [ ! -f "$annotation" ]; then annotation=data/iu_xray/annotation.json; fi
    places=(--ann_path "$annotation" --feature_dir data/iu_xray/features_zero_shot --bank_dir data/mimic_cxr/features
        --load_pretrained results/mimic_cxr/model_best.pth --split all --save_dir results/iu_xray_zero_shot)
fi
become main_test.py --dataset_name iu_xray "${places[@]}" --bert_path checkpoints/bert-base-uncased \
    --beam_size 3 --gen_min_len 60 --gen_max_len 110 "${REST[@]}"
