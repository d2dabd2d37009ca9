# Sourced by the jobs: the repository's root, the folder for results, and worldsim installed, from $WHEELS where there is no network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
OUT=${OUT:-runs/gpu}
DEVICE=${DEVICE:-cuda}
PYTHON=${PYTHON:-python3}
mkdir -p "$OUT"
if [ -n "${WHEELS:-}" ]; then
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --target /tmp/worldsim-site "$WHEELS"/*.whl
    export PYTHONPATH="/tmp/worldsim-site${PYTHONPATH:+:$PYTHONPATH}"
fi
if ! "$PYTHON" -c "import worldsim" 2> /dev/null; then
    "$PYTHON" -m pip install -q -c constraints.txt -e "." 2> /dev/null || "$PYTHON" -m pip install -q --no-deps --no-build-isolation -e .
fi

# Whether $OUT/$1.json is still to be made and there is time to begin: a job ends within 9 minutes and leaves the rest to its next run.
wanted() {
    [ ! -f "$OUT/$1.json" ] || return 1
    [ $SECONDS -lt "${BUDGET:-400}" ] || { echo "$1: left for the next run" && return 1; }
}

# bench NAME key=value ...: one benchmark into $OUT/NAME.json, at most $LIMIT seconds; what fails is named and does not stop the others.
bench() {
    local name=$1
    shift
    wanted "$name" || return 0
    if timeout "${LIMIT:-120}" "$PYTHON" -m worldsim.experiments.cli bench out="$OUT/$name.part" device="$DEVICE" "$@" > "$OUT/$name.log" 2>&1; then
        mv "$OUT/$name.part" "$OUT/$name.json"
        echo "$name: done"
    else
        echo "$name: failed or out of time: $(tail -n 1 "$OUT/$name.log")"
    fi
}
