#!/usr/bin/env bash
# bash run_tests.sh [--slow] [flags of pytest]
#
# From a fresh clone to all tests, by three processes that share the files: some tests wait, so that two cores have time for a
# third (-n 4: by four). Needs no GPU and no network beyond pip. --slow: then a minute of fuzzing every reader.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit; fi
cd "$(dirname "$0")"
source ./environment.sh requirements.txt requirements/dev.txt
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1
fuzz=false
if [ "${1:-}" = --slow ]; then
    fuzz=true
    shift
fi
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
"$PYTHON" -m mypy
await "$PYTHON" -m pytest -n 3 "$@"
if $fuzz; then "$PYTHON" tests/broken/fuzz.py --seconds 60; fi
