#!/usr/bin/env bash
# bash train_custom.sh studies.csv [flags of main_prepare.py and main_train.py]
#
# From a table of your own studies beside their images (docs/own_data.md) to prepared data and a trained model, offline:
# vocabulary, network, passes and learning rate follow the number of studies and are printed; flags that you give win.
# BERT, ImageNet: --bert_path DIR, --resnet_weights FILE. A trained model to start from: --init_from FILE.
# Then bash test_custom.sh. A second run goes on where the first was interrupted; --overwrite begins anew, the first moved aside.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit; fi
if [ $# -eq 0 ] || [[ $1 == --* ]]; then
    echo "usage: bash train_custom.sh studies.csv [flags of main_prepare.py and main_train.py]" >&2
    exit 2
fi
table=$(realpath -m -- "$1")
shift
cd "$(dirname "$0")"
requirements=(requirements.txt)
[[ ${table,,} == *.xlsx ]] && requirements+=(requirements/excel.txt)
source ./environment.sh "${requirements[@]}"
offline "$@"
export TOKENIZERS_PARALLELISM=false

known=("$PYTHON" -m modules.options.parsing)
# a flag that neither program knows, and two that contradict each other, are refused before any work
"${known[@]}" MainPrepare MainTrain -- --dataset_name custom --raw_dir "$table" --resize 256 "$@"
mapfile -t preparing < <("${known[@]}" MainPrepare -- "$@")
mapfile -t training < <("${known[@]}" MainTrain -- "$@")
save_dir=$(save_dir_of results/custom "$@")
resume=()
[ -f "$save_dir/current_checkpoint.pth" ] && [[ " $* " != *" --overwrite "* ]] && resume=(--resume)

# what the training would refuse, a missing vocabulary or a model of other widths, is refused before hours of preparation
"$PYTHON" -m modules.training.beforehand --dataset_name custom --raw_dir "$table" --resize 256 "${resume[@]}" "$@"
launch main_prepare.py --dataset_name custom --raw_dir "$table" --resize 256 "${preparing[@]}"
launch main_train.py --dataset_name custom "${resume[@]}" "${training[@]}"
only --save_dir --ann_path --image_dir --feature_dir --bank_dir -- "$@"
echo "next: bash test_custom.sh${ONLY[*]:+ $(printf '%q ' "${ONLY[@]}" | sed 's/ $//')}"
