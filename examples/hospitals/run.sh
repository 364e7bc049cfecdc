#!/bin/sh
# Four parties train one model, and no patient's record leaves its own: a server and four nodes on this machine.
# Needs: pip install "comity[deploy,datasets,sklearn]"
#
#     sh examples/hospitals/run.sh [DIR]
#
# Everything goes to DIR (hospitals-run), and every process ends with the script.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:-hospitals-run}"
cd "${1:-hospitals-run}"
port=${PORT:-18443}

# In a study, every party writes its own file. Here one program writes all four.
python "$here/prepare.py" data

# The operator makes a server and starts it.
export COMITY_IDENTITY="$PWD/operator"
comity server init server --name hospitals --address "https://127.0.0.1:$port" --host 127.0.0.1
comity server start server 2> server.log &
started=$!
trap 'kill $started' EXIT

# Each party joins by an invitation, registers its file, says what may run on it, and starts its node. Jobs may name
# classes of scikit-learn there, if the system keeps tasks from the node's keys: `comity node doctor` says whether.
comity explain "$here/job.py" --json > job.json
for party in nsw vic qld other; do
    echo
    token=$(comity server invite "$party" 2> /dev/null)
    comity node join "$token" --home "$party" --package sklearn
    comity node data add patients "data/$party.csv" --target status --label alive --label dead --home "$party"
    cp "$here/$party/policy.toml" "$party/policy.toml"
    comity node policy check job.json --submitter operator --parties 4 --home "$party"
    comity node start --home "$party" 2> "$party.log" &
    started="$! $started"
done

# A job is submitted, and its progress watched.
echo
comity submit "$here/job.py" --wait-for 4 --watch --folder run
comity runs list

# Each party can tell from its own log what it was asked, what it decided, and what left.
for party in nsw vic qld other; do
    echo
    comity node log show --kind leaving --last 1 --home "$party"
    comity node log verify --home "$party"
done

echo
python "$here/compare.py" .
