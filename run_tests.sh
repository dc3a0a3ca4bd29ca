#!/usr/bin/env bash
# bash run_tests.sh [flags of pytest]
#
# From a fresh clone to all tests; needs no GPU and no network beyond pip.
set -euo pipefail
cd "$(dirname "$0")"
source ./environment.sh requirements.txt requirements/dev.txt
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check .
"$PYTHON" -m pytest "$@"
