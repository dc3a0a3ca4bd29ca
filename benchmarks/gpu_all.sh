#!/usr/bin/env bash
# bash benchmarks/gpu_all.sh [flags of benchmarks/gpu.py]
#
# Everything that a card shall show: the tests that need one, then all figures. Run it where python3 finds the packages. It may
# be stopped at any point: OUT (results/gpu) holds tests.txt, gpu.json and its table gpu.md of what was reached. All figures are
# measured after tests that fail too, and the script fails with them. TEST_SECONDS (240) is the most that the tests may take.
set -uo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit; fi
cd "$(dirname "$0")/.."
OUT="${OUT:-results/gpu}"
mkdir -p "$OUT"
TESTS=(tests/test_gpu.py tests/test_cuda.py tests/test_allocator.py)
# A line for each test, and why it fails at once (-vv). No interrupt: where this runs in the background, Python does not hear one.
timeout -k 5 "${TEST_SECONDS:-240}" python3 -m pytest -vv --tb=short -p no:cacheprovider "${TESTS[@]}" > "$OUT/tests.txt" 2>&1
TESTED=$?
if [ $TESTED -eq 124 ] || [ $TESTED -eq 137 ]; then
    echo "cut after ${TEST_SECONDS:-240} seconds: the last test of the list was running, none behind it has run" >> "$OUT/tests.txt"
fi
tail -n 15 "$OUT/tests.txt"
python3 benchmarks/gpu.py --out "$OUT/gpu.json" "$@" && exit "$TESTED"
