#!/usr/bin/env bash
# Runs the tests, and tells where their time went and how much of each matrix was tried.
#   suite.sh            what `make test` runs: each behaviour, and a slice of each matrix that the digest of the tree chooses
#   suite.sh 3/8        the third of eight parts of everything, which together are `make prove`; 1/1 is the whole at once
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

part=${1:-}
features=(--features faults,otel --locked)
folder=$(mktemp -d)
export CALICO_UPGRADER_TEST_TIMES=$folder

closing() {
  local code=$?
  touch "$folder/times" "$folder/counts"
  echo "== the ten slowest cases: seconds, of them in the program and in taking the cluster back, calls of the program"
  sort -rn "$folder/times" | head -n 10 |
    awk -F '\t' '{ printf "%7.1f  %7.1f %6.1f %4d  %s\n", $1, $4, $3, $5, $6 }'
  echo "== matrices: $(awk -F '\t' '{ tried += $1; all += $2 } END { printf "%d of %d places tried", tried, all }' "$folder/counts")"
  if [[ -n $part ]]; then sort -t $'\t' -k 3 "$folder/counts" | sum_by_matrix; fi
  rm -rf "$folder"
  exit "$code"
}
trap closing EXIT

# Second kills are counted together, whatever the first one was.
sum_by_matrix() {
  sed 's/ kills after .*/ second kills/' |
    awk -F '\t' '{ tried[$3] += $1; all[$3] += $2 } END { for (one in all) printf "%7d of %7d  %s\n", tried[one], all[one], one }' | sort -k 4
}

# The cases of a matrix take their share in every part; of all others each part has every so many-th.
cases_of() {
  local index=${part%/*} parts=${part#*/}
  cargo test -q "${features[@]}" --test upgrade -- --list --format terse | sed -n 's/: test$//p' |
    awk -v index_="$index" -v parts="$parts" \
      'NR == FNR { is_matrix[$1] = 1; next } is_matrix[$1] || (others++ % parts) + 1 == index_' tests/upgrade/matrices.txt -
}

if [[ -z $part ]]; then
  cargo test --workspace "${features[@]}"
  exit
fi
[[ $part =~ ^[1-9][0-9]*/[1-9][0-9]*$ ]] && ((${part%/*} <= ${part#*/})) || { echo "suite.sh: \`$part\` is no part: write 3/8" >&2; exit 64; }
export CALICO_UPGRADER_PROVE=$part
# Without the feature the cases on control planes are left out; the other parts need not repeat what is left.
if [[ ${part%/*} == 1 ]]; then cargo test --workspace --locked; fi
mapfile -t cases < <(cases_of)
cargo test "${features[@]}" --test upgrade -- --exact "${cases[@]}"
