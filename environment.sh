# Sourced by the scripts: sets PYTHON to an interpreter that satisfies the requirement files given as arguments.
# The active environment, of venv or conda, is used if it satisfies them, else ./.venv, which is made and filled when needed.
# One that lacks no more than the small files behind the first is not left without a word for a second copy of PyTorch.

satisfies() {  # interpreter, requirement files...
    local python=$1
    shift
    "$python" - "$@" <<'PY' 2>/dev/null
import sys
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import Requirement

if sys.version_info < (3, 10):
    sys.exit(1)
for path in sys.argv[1:]:
    for line in open(path, encoding="utf-8"):
        if line.strip():
            requirement = Requirement(line.strip())
            try:
                found = version(requirement.name)
            except PackageNotFoundError:
                sys.exit(1)
            if not requirement.specifier.contains(found, prereleases=True):
                sys.exit(1)
PY
}

save_dir_of() {  # default, flags...: the folder that --save_dir names last, else the default
    local found=$1 previous="" flag
    shift
    for flag in "$@"; do
        [ "$previous" = --save_dir ] && found=$flag
        case $flag in --save_dir=*) found=${flag#--save_dir=} ;; esac
        previous=$flag
    done
    echo "$found"
}

files=("$@")
PYTHON="" PRESENT=""
for place in "${VIRTUAL_ENV:-}" "${CONDA_PREFIX:-}"; do
    [ -n "$place" ] && satisfies "$place/bin/python" "${files[0]}" || continue
    if satisfies "$place/bin/python" "${files[@]}"; then
        PYTHON=$place/bin/python
        break
    fi
    [ "$place" -ef .venv ] || PRESENT=$place
done
if [ -z "$PYTHON" ] && [ -n "$PRESENT" ]; then
    echo "${0##*/}: the environment $PRESENT lacks a package: pip install$(printf -- ' -r %s' "${files[@]:1}"), or leave it, and .venv is made" >&2
    exit 2
elif [ -z "$PYTHON" ]; then
    PYTHON=.venv/bin/python
    if ! { [ -x "$PYTHON" ] && satisfies "$PYTHON" "${files[@]}"; }; then
        echo "installing ${files[*]} into .venv (about 6 GB with the CUDA libraries, minutes)"
        [ -x "$PYTHON" ] || python3 -m venv .venv
        requirements=()
        for file in "${files[@]}"; do requirements+=(-r "$file"); done
        "$PYTHON" -m pip install --quiet --disable-pip-version-check "${requirements[@]}"
    fi
fi

offline() {  # words...: nothing is fetched, unless a word names what (hub:NAME)
    [[ " $*" == *[\ =]hub:* ]] || export HF_HUB_OFFLINE=1
}

await() {  # command...: runs it as a step of the script, and passes on a signal that reaches the script alone
    local step status name
    (trap - INT && exec "$@") <&0 &  # beside a script Ctrl-C would be ignored
    step=$!
    for name in TERM HUP USR1; do trap "kill -$name $step" "$name"; done
    trap : INT
    while true; do  # a signal ends a wait before its time
        status=0
        wait "$step" || status=$?
        kill -0 "$step" 2>/dev/null || break
    done
    trap - TERM HUP USR1 INT
    return "$status"
}

launch() {  # program, flags...: one process, or one per GPU asked for, started and ended together
    start await "$@"
}

become() {  # program, flags...: the same in the place of the script, so that a signal to the script reaches the program
    start exec "$@"
}

start() {  # await or exec, program, flags...
    local how=$1 program=$2 processes="" previous="" flag
    shift 2
    for flag in "$@"; do
        [ "$previous" = --n_gpu ] && processes=$flag
        case $flag in --n_gpu=*) processes=${flag#--n_gpu=} ;; esac
        previous=$flag
    done
    if [ -z "$processes" ] && [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
        processes=$(awk -F, '{print NF}' <<<"$CUDA_VISIBLE_DEVICES")
    fi
    case ${processes:-1} in
        0 | 1) "$how" "$PYTHON" "$program" "$@" ;;
        *) "$how" "$PYTHON" -m modules.processes.launch --processes "$processes" "$program" "$@" ;;
    esac
}

only() {  # names... -- words...: sets ONLY to the flags of these names among the words, with their values
    local names=" "
    ONLY=()
    while [ "$1" != -- ]; do
        names+="$1 "
        shift
    done
    shift
    while [ $# -gt 0 ]; do
        if [[ $names == *" ${1%%=*} "* ]]; then
            ONLY+=("$1")
            if [[ $1 != *=* && $# -gt 1 ]]; then
                ONLY+=("$2")
                shift
            fi
        fi
        shift
    done
}

take() {  # word, words...: sets TAKEN to the word if it is among the words, else to nothing, and REST to the others
    local wanted=$1 word
    shift
    TAKEN="" REST=()
    for word in "$@"; do
        if [ "$word" = "$wanted" ]; then TAKEN=$word; else REST+=("$word"); fi
    done
}

scorer_weights() {  # words...: sets WEIGHTS to what the entity scorer starts from, unless the words say it
    WEIGHTS=()
    only --visual_extractor --resnet_weights --entity_scorer --published --bank_dir -- "$@"
    if [ ${#ONLY[@]} -gt 0 ]; then return; fi
    if [ -f checkpoints/resnet101.pth ]; then
        WEIGHTS=(--resnet_weights checkpoints/resnet101.pth)
    elif [ -d checkpoints/rad-dino ]; then
        WEIGHTS=(--visual_extractor hf:checkpoints/rad-dino)
    fi
}
