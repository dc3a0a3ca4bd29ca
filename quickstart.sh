#!/usr/bin/env bash
# bash quickstart.sh [flags of main_train.py]
#
# From a fresh clone to a trained model, a scored test set and readable reports, on a CPU, without any account:
# draws the SynthCXR data set, prepares it, trains a small REVTAF, tests it beside four baselines.
# A second run reuses what is there; --overwrite trains anew, the first moved aside. Minutes and scores stand in README.md.
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh requirements.txt
offline "$@"
export TOKENIZERS_PARALLELISM=false

# Fewer and larger steps than the data set's defaults, one validation, one reference to read in place of three, a decoder of three
# layers in place of four, six beams of a second search in place of twelve.
preparing=(--batch_size 24 --scorer_lr 2.5e-3 --scorer_dropout 0)
training=(--init_lr 3e-3 --epochs 5 --val_every 5)
testing=(--batch_size 64)
only --global_batch -- "$@"
[ ${#ONLY[@]} -gt 0 ] || training+=(--batch_size 24)
only --retrieval --init_from -- "$@"
[ ${#ONLY[@]} -gt 0 ] || training+=(--references 1)
only --bert_path --init_from -- "$@"
[ ${#ONLY[@]} -gt 0 ] || training+=(--decoder_layers 3)
only --rerank --beam_size --prompt --second_search -- "$@"
[ ${#ONLY[@]} -gt 0 ] || { training+=(--second_search 6); testing+=(--second_search 6); }
only --beam_size --gen_min_len --gen_max_len --rerank --second_search --guidance -- "$@"
testing+=("${ONLY[@]}")  # a test searches for reports as the validations did

only --dataset_name -- "$@"
if [ ${#ONLY[@]} -gt 0 ] && [[ "${ONLY[*]}" != *synth_cxr ]]; then
    echo "quickstart.sh: ${ONLY[*]} is not its data set, it draws synth_cxr: bash train_custom.sh for your own films, or main_train.py" >&2
    exit 2
fi
training=(--dataset_name synth_cxr "${training[@]}")
# a flag that the training does not know is refused before any work; --help ends here
"$PYTHON" -m modules.options.parsing MainTrain --check -- "${training[@]}" "$@"
if [[ " $* " == *" --help "* || " $* " == *" -h "* ]]; then exit; fi
save_dir=$(save_dir_of results/synth_cxr "$@")
if [ -f "$save_dir/current_checkpoint.pth" ] && [[ " $* " != *" --overwrite "* ]]; then
    training+=(--resume)
    # so is a run of other flags, before the features that it was trained on are made anew
    "$PYTHON" -m modules.training.beforehand "${training[@]}" "$@"
fi

await "$PYTHON" main_prepare.py --dataset_name synth_cxr "${preparing[@]}"
await "$PYTHON" main_train.py "${training[@]}" "$@"
await "$PYTHON" main_test.py --dataset_name synth_cxr --save_dir "$save_dir" "${testing[@]}" --baselines --overwrite
cat <<END

next:
  open $save_dir/index.html                                     reports beside their references, with maps
  python main_predict.py --images data/synth_cxr/images/test --model $save_dir     reports of image files
  bash train_custom.sh studies.csv                              your own table
  bash ablate.sh --quick                                        what each idea is worth
END
if [ "$PYTHON" = .venv/bin/python ]; then echo "(outside this shell first: source .venv/bin/activate)"; fi
