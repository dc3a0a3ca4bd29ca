#!/usr/bin/env bash
# bash test_iu_xray.sh [flags of main_test.py]
#
# Zero-shot: the model trained on MIMIC-CXR, with MIMIC-CXR's reports as bank, on all of IU X-Ray (4,168 samples).
# Minutes and scores: not yet measured. Paper: BLEU-4 .107, METEOR .176, ROUGE-L .309, CE-F1 .273.
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh requirements.txt
launch main_test.py --dataset_name iu_xray --load_pretrained results/mimic_cxr/model_best.pth \
    --bank_dir data/mimic_cxr/features --bert_path checkpoints/bert-base-uncased \
    --beam_size 3 --gen_min_len 60 --gen_max_len 110 --save_dir results/iu_xray "$@"
