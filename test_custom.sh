#!/usr/bin/env bash
# bash test_custom.sh [flags of main_test.py]
#
# Writes and scores the reports of the test split of your own studies with the model of train_custom.sh, beside four
# baselines, and makes the page results/custom/index.html. Reports of other films: python main_predict.py --model results/custom.
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh requirements.txt
offline "$@"
export TOKENIZERS_PARALLELISM=false
become main_test.py --dataset_name custom --save_dir results/custom --baselines --overwrite "$@"
