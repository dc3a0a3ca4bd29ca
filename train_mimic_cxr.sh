#!/usr/bin/env bash
# bash train_mimic_cxr.sh [flags of main_train.py]
#
# Published setting: one GPU, batch 18, 6 epochs. GPUs: CUDA_VISIBLE_DEVICES=0,1 or --n_gpu 2; CPU when there is none.
# Every GPU takes --batch_size images: two make steps of 36, half as many, at the same learning rate. --global_batch 18 keeps
# the published steps on any number of GPUs. Larger steps: raise --init_lr by the root of the ratio (36: 7e-5) and give
# --warmup_steps as many images (36: 1000). This is a rule of thumb, not measured here.
# Memory: a float32 step of 18 images takes 9.4 GB, of four 5.8 GB with all of the program (docs/data.md).
# By its rate one H100 takes 55 minutes of steps at batch 18, 20 at batch 256 with --compile (docs/speed.md). Scores: not yet measured. Paper: BLEU-4 .182, CE-F1 .592.
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh requirements.txt
become main_train.py --dataset_name mimic_cxr --bert_path checkpoints/bert-base-uncased \
    --resnet_weights checkpoints/resnet101.pth \
    --batch_size 18 --epochs 6 --init_lr 5e-5 --min_lr 5e-6 --warmup_lr 5e-7 --warmup_steps 2000 --weight_decay 0.05 \
    --clip_grad_value 0.1 --beam_size 3 --gen_min_len 100 --gen_max_len 150 \
    --cls_weight 4 --align_weight 0.5 --rank_weight 2 --seed 456789 --save_dir results/mimic_cxr "$@"
