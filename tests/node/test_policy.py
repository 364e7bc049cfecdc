"""The owner's policy: default deny, every line explained, and nothing a submitter writes widens it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import comity as ct
from comity.core.errors import ConfigError, ManifestError
from comity.node.policy import Policy, Proposal, Ruling, judge, read_manifest, starter
from comity.node.terms import read_policy

SOURCE = "5" * 64


def job(**changes: Any) -> ct.Job:
    model = ct.torch.Model(nn.Linear, arguments={"in_features": 4, "out_features": 2})
    parts = {"program": ct.FedAvg(model, ct.LocalSGD(lr=0.3, epochs=2)), "rounds": ct.Rounds(count=50)}
    return ct.Job(**{**parts, **changes})


def proposal(made: ct.Job | None = None, **changes: Any) -> Proposal:
    made = made or job()
    facts = {
        "job": made.id,
        "manifest": json.loads(made.to_json()),
        "submitter": "analyst",
        "dataset": "hearts",
        "rows": 300,
        "columns": ("age", "pulse", "ill"),
        "parties": 4,
        "source": None,
        "bytes_up": 4_000,
    }
    return Proposal(**{**facts, **changes})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "policy.toml"


def rule(file: Path, text: str, about: Proposal, approved: frozenset[str] = frozenset()) -> Ruling:
    file.write_text(text)
    return judge(Policy.load(file), about, approved)


ALLOW = '[[allow]]\nprogram = "FedAvg"\ndatasets = ["hearts"]\n'


def test_without_a_file_everything_is_denied_and_the_line_says_how_to_write_one(file: Path) -> None:
    ruling = judge(Policy.load(file), proposal())
    assert ruling.verdict == "denied"
    assert "comity node policy starter" in str(ruling)


@pytest.mark.parametrize("text", ["", "# nothing\n", starter(["hearts"])])
def test_a_file_without_tables_denies_everything(file: Path, text: str) -> None:
    ruling = rule(file, text, proposal())
    assert ruling.verdict == "denied"
    assert "[[allow]]" in str(ruling)


def test_the_starter_is_a_policy_once_its_comment_signs_are_gone(file: Path) -> None:
    keys = (
        "[",
        "name",
        "program",
        "datasets",
        "submitters",
        "min_",
        "source",
        '"',
        "seconds",
        "memory",
        "bytes",
        "rounds",
    )
    lines = [line.removeprefix("# ") for line in starter(["hearts"]).splitlines()]
    text = "\n".join(line for line in lines if line.startswith(keys))
    ready = job(program=replace(job().program, local=ct.LocalSGD(lr=0.5, epochs=5)), rounds=ct.Rounds(100, quorum=3))
    assert rule(file, text, proposal(ready)).verdict == "allowed"
    assert rule(file, text, proposal()).verdict == "asks"


def test_what_a_table_allows_is_allowed_and_each_line_says_so(file: Path) -> None:
    ruling = rule(file, ALLOW + 'min_parties = 3\n"local.lr" = {max = 0.5}\n', proposal())
    assert ruling.verdict == "allowed"
    assert all(line.ok for line in ruling.lines)
    assert str(ruling).splitlines() == [
        "yes  allow[1].program: wanted FedAvg; found FedAvg",
        'yes  allow[1]."local.lr": wanted at most 0.5; found 0.3',
        "yes  allow[1].source: wanted none; found none",
        "yes  allow[1].datasets: wanted hearts; found hearts",
        "yes  allow[1].min_parties: wanted at least 3; found 4",
        "allowed",
    ]


MET_AND_NOT = {
    "submitters": ('submitters = ["analyst"]', 'submitters = ["stranger"]'),
    "datasets": ("", ""),
    "columns": ('columns = ["age", "pulse", "ill", "name"]', 'columns = ["age", "ill"]'),
    "min_parties": ("min_parties = 4", "min_parties = 5"),
    "min_rows": ("min_rows = 300", "min_rows = 301"),
    "bytes_up": ("bytes_up = 4000", "bytes_up = 3999"),
    '"local.lr"': ('"local.lr" = {min = 0.3, max = 0.3}', '"local.lr" = {max = 0.29}'),
    '"rounds.count"': ('"rounds.count" = {max = 50}', '"rounds.count" = {max = 49}'),
    '"local.epochs"': ('"local.epochs" = 2', '"local.epochs" = 3'),
    '"program.local"': ('"program.local" = "LocalSGD"', '"program.local" = {one_of = ["LocalAdam", "LocalAdamW"]}'),
    '"local.nesterov"': ('"local.nesterov" = false', '"local.nesterov" = 0'),
    '"rounds.quorum"': ("", '"rounds.quorum" = {min = 1}'),
    '"local.no_such_field"': ("", '"local.no_such_field" = {min = 0}'),
}


@pytest.mark.parametrize("key", MET_AND_NOT)
def test_every_line_of_a_table_decides(file: Path, key: str) -> None:
    met, unmet = MET_AND_NOT[key]
    assert rule(file, ALLOW + met, proposal()).verdict == "allowed"
    other = proposal(dataset="lungs") if key == "datasets" else proposal()
    ruling = rule(file, ALLOW + unmet, other)
    assert ruling.verdict == "denied"
    assert [line.rule for line in ruling.lines if not line.ok] == [f"allow[1].{key}"]


def test_a_job_is_allowed_by_its_id(file: Path) -> None:
    text = f'[[allow]]\njobs = ["{job().id}"]\ndatasets = ["hearts"]\n'
    assert rule(file, text, proposal()).verdict == "allowed"
    assert rule(file, text, proposal(job(seed=1))).verdict == "denied"


def test_one_table_is_enough_and_no_two_halves_make_a_whole(file: Path) -> None:
    strict = ALLOW + "min_rows = 1000\n"
    assert rule(file, strict + ALLOW, proposal()).verdict == "allowed"
    other = '[[allow]]\nprogram = "FedProx"\ndatasets = ["hearts"]\n'
    ruling = rule(file, strict + other, proposal())
    assert ruling.verdict == "denied"
    assert [line.rule for line in ruling.lines if not line.ok] == ["allow[1].min_rows", "allow[2].program"]


def test_the_least_number_of_parties_holds_for_each_round(file: Path) -> None:
    text = ALLOW + "min_parties = 3\n"
    few = proposal(job(rounds=ct.Rounds(count=5, cohort=2)))
    assert rule(file, text, few).verdict == "denied"
    assert rule(file, text, proposal(job(rounds=ct.Buffered(5, buffer=1, concurrency=4)))).verdict == "denied"
    assert rule(file, text, proposal(job(rounds=ct.Rounds(count=5, cohort=3)))).verdict == "allowed"


def test_secure_sums_and_noise_are_parts_of_comitys_own_in_the_chain(file: Path) -> None:
    text = ALLOW + 'secure_sum = "required"\ndp = "required"\n'
    plain = proposal()
    ruling = rule(file, text, plain)
    assert ruling.verdict == "denied"
    assert [line.rule for line in ruling.lines if not line.ok] == ["allow[1].secure_sum", "allow[1].dp"]

    def chain(*parts: dict[str, Any]) -> Proposal:
        whole = {"is": "comity.transforms.chain:Chain", "parts": list(parts)}
        return replace(plain, manifest={"job": {**plain.manifest["job"], "aggregator": whole}})

    summed, noise = {"is": "comity.privacy:SecureSum"}, {"is": "comity.privacy:GaussianNoise"}
    assert rule(file, text, chain(summed, noise)).verdict == "allowed"
    for false_name in ({"ref": "SecureSum", "fields": {}}, {"is": "evil.comity:SecureSum"}, {"is": "SecureSum"}):
        assert rule(file, text, chain(false_name, noise)).verdict == "denied"


def test_a_submitters_class_does_not_pass_for_comitys_by_its_name(file: Path) -> None:
    honest = proposal()
    program = honest.manifest["job"]["program"]
    own = {"ref": "FedAvg", "source": SOURCE, "fields": {k: v for k, v in program.items() if k != "is"}}
    false = replace(honest, manifest={"job": {**honest.manifest["job"], "program": own}})
    ruling = rule(file, ALLOW + '"local.lr" = {max = 0.5}', false)
    assert ruling.verdict == "denied"
    assert "found own:FedAvg" in str(ruling)
    assert "found 0.3" in str(ruling), "the fields of an own part are looked at as well"


def test_paths_begin_at_the_job_only_for_what_a_job_has(file: Path) -> None:
    honest = proposal()
    false = replace(honest, manifest={"job": {**honest.manifest["job"], "local": {"lr": 0.01}}})
    assert rule(file, ALLOW + '"local.lr" = {max = 0.1}', false).verdict == "denied"


def test_source_needs_the_word_and_the_approval(file: Path) -> None:
    coded = proposal(source=SOURCE)
    yes = frozenset({SOURCE})
    assert rule(file, ALLOW, coded, yes).verdict == "denied", "no code unless the table says so"
    assert rule(file, ALLOW + 'source = "approved"', coded, yes).verdict == "allowed"
    assert rule(file, ALLOW + 'source = "approved"', coded, frozenset({coded.job, "6" * 64})).verdict == "denied"


def test_what_asks_waits_until_job_and_source_are_approved(file: Path) -> None:
    coded = proposal(source=SOURCE)
    assert rule(file, "[ask]", coded).verdict == "asks"
    assert rule(file, "[ask]", coded, frozenset({coded.job})).verdict == "asks"
    assert rule(file, "[ask]", coded, frozenset({SOURCE})).verdict == "asks"
    for approval in (coded.job, coded.grant):
        assert rule(file, "[ask]", coded, frozenset({approval, SOURCE})).verdict == "allowed"


def test_an_approval_lifts_no_line_of_ask(file: Path) -> None:
    asked = proposal()
    everything = frozenset({asked.job, asked.grant})
    assert rule(file, "[ask]\nmin_rows = 301", asked, everything).verdict == "denied"
    assert (
        rule(file, '[ask]\nsource = "none"', replace(asked, source=SOURCE), everything | {SOURCE}).verdict == "denied"
    )
    assert rule(file, ALLOW + "min_rows = 301\n", asked, everything).verdict == "denied", "no [ask], nothing to approve"


def test_an_approval_for_one_data_set_is_none_for_another(file: Path) -> None:
    granted = frozenset({proposal().grant})
    assert rule(file, "[ask]", proposal(), granted).verdict == "allowed"
    assert rule(file, "[ask]", proposal(dataset="lungs"), granted).verdict == "asks"


def test_caps_come_with_the_ruling(file: Path) -> None:
    text = ALLOW + "seconds = 60\nmemory_mb = 500\nbytes_up = 10_000\nrounds_per_day = 7\n"
    ruling = rule(file, text, proposal(rounds_today=6))
    caps = ruling.caps
    assert (caps.seconds, caps.memory_mb, caps.bytes_up, caps.rounds_per_day) == (60.0, 500, 10_000, 7)
    assert rule(file, text, proposal(rounds_today=7)).verdict == "denied"


def test_what_the_server_is_told_names_rules_and_no_numbers(file: Path) -> None:
    ruling = rule(file, ALLOW + 'min_rows = 301\ncolumns = ["age"]\n', proposal())
    assert ruling.reason == "the owner's policy does not allow it (columns, min_rows)"


def test_what_a_submitter_chose_cannot_steer_the_owners_terminal(file: Path) -> None:
    hostile = proposal(submitter="\x1b[2Jada\n" + "x" * 500)
    told = str(rule(file, ALLOW + 'submitters = ["analyst"]', hostile))
    assert "\x1b" not in told
    assert max(map(len, told.splitlines())) < 200


FEDAVG = "comity.programs.fedavg:FedAvg"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats()
    | st.sampled_from([FEDAVG, "FedAvg", "comity.x:Y", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["is", "ref", "fields", "local", "lr", "parts", "cohort"]), inner)
    ),
    max_leaves=12,
)
MANIFESTS = JSON | st.fixed_dictionaries(
    {"job": JSON | st.fixed_dictionaries({"program": JSON, "rounds": JSON, "aggregator": JSON, "local": JSON})}
)


@given(manifest=MANIFESTS, program=st.none() | st.just(FEDAVG), rate=st.none() | st.floats(-2, 2))
def test_whatever_the_manifest_only_the_named_program_within_its_bounds_is_allowed(
    manifest: Any, program: str | None, rate: float | None
) -> None:
    table = {"program": "FedAvg", "datasets": ["hearts"], "local.lr": {"min": 0, "max": 1}}
    allow, ask = read_policy({"allow": [table]}, "policy.toml")
    if program is not None:
        manifest = {"job": {"program": {"is": program, "local": {"lr": rate}}, "rounds": manifest, "local": manifest}}
    ruling = judge(Policy(allow, ask), replace(proposal(), manifest=manifest))
    assert ruling.verdict in ("allowed", "denied")
    if program is not None and rate is not None:
        assert (ruling.verdict == "allowed") == (0 <= rate <= 1)
    if ruling.verdict == "allowed":
        assert manifest["job"]["program"]["is"] == FEDAVG
        assert 0 <= manifest["job"]["program"]["local"]["lr"] <= 1


def test_a_manifest_is_read_only_as_the_canonical_text_of_its_job() -> None:
    made = job()
    text = made.to_json()
    assert read_manifest(text, made.id) == made.manifest()
    doubled = text.replace('"seed":0', '"seed":1,"seed":0')
    spaced = text.replace(",", ", ")
    for other in (doubled, spaced, "", "[" * 100_000, '{"a":NaN}', '"\\ud800"'):
        for digest in (made.id, hashlib.sha256(other.encode()).hexdigest()):
            with pytest.raises(ManifestError, match="not the one of this job"):
                read_manifest(other, digest)
    with pytest.raises(ManifestError):
        read_manifest(job(seed=1).to_json(), made.id)


def nested(depth: int) -> Any:
    node: Any = 1
    for _ in range(depth):
        node = [node]
    return node


def test_a_manifest_nested_as_no_job_is_is_not_read() -> None:
    for depth, fits in ((60, True), (70, False), (500, False)):
        text = json.dumps({"job": nested(depth)}, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()
        if fits:
            assert read_manifest(text, digest) == json.loads(text)
        else:
            with pytest.raises(ManifestError):
                read_manifest(text, digest)


@pytest.mark.parametrize(
    "value", [10**400, -(10**400), nested(2000), {"is": nested(2000)}, {"ref": nested(2000)}, "é" * 999]
)
def test_monstrous_values_are_denied_like_any_other(file: Path, value: Any) -> None:
    honest = proposal()
    program = {**honest.manifest["job"]["program"], "local": {"lr": value}}
    for part in ({"program": program}, {"program": value}, {"aggregator": value}, {"rounds": {"cohort": value}}):
        manifest = {"job": {**honest.manifest["job"], **part}}
        text = ALLOW + '"local.lr" = {max = 1, min = 0}\nsecure_sum = "required"\nmin_parties = 3'
        ruling = rule(file, text, replace(honest, manifest=manifest))
        assert ruling.verdict == "denied"
        assert max(map(len, str(ruling).splitlines())) < 250


MALFORMED = {
    '[[allow]]\nprogramm = "FedAvg"': ("allow[1], key programm", "did you mean 'program'"),
    '[[alow]]\nprogram = "FedAvg"': ("key alow", "did you mean 'allow'"),
    '[allow]\nprogram = "FedAvg"': ("policy.toml", "[[allow]]"),
    '[[allow]]\nprogram = "FedAvg"': ("key datasets", "datasets = ["),
    '[[allow]]\ndatasets = ["hearts"]': ("allow[1]", "program = "),
    ALLOW + "local.lr = {max = 0.5}": ("key local", '"local.lr" = {max = 1}'),
    ALLOW + '"local.lr" = {maximum = 0.5}': ('key "local.lr", key maximum', "'max'"),
    ALLOW + '"local.lr" = {min = 2, max = 1}': ('key "local.lr"', "exchange"),
    ALLOW + '"local.lr" = {max = "1"}': ('key "local.lr"', "number"),
    ALLOW + '"local.lr" = {max = nan}': ('key "local.lr"', "number"),
    ALLOW + '"local.lr" = {}': ('key "local.lr"', "{min = 0, max = 1}"),
    ALLOW + '"local.lr" = {is = 1, max = 1}': ('key "local.lr"', "one of the two"),
    ALLOW + '"local..lr" = 1': ('key "local..lr"', "local.lr"),
    ALLOW + 'secure_sum = "Required"': ("key secure_sum", "required"),
    ALLOW + 'source = "any"': ("key source", "approved"),
    ALLOW + "min_parties = true": ("key min_parties", "1 or more"),
    ALLOW + "min_rows = 0": ("key min_rows", "1 or more"),
    ALLOW + "seconds = -1": ("key seconds", "above 0"),
    ALLOW + 'submitters = "analyst"': ("key submitters", "list"),
    ALLOW + "submitters = []": ("key submitters", "list"),
    '[[allow]]\njobs = ["abc"]\ndatasets = ["hearts"]': ("key jobs", "64"),
    "ask = true": ("policy.toml", "[ask]"),
    "[ask]\nrowz = 1": ("ask, key rowz", "keys here"),
    "[[allow": ("policy.toml", "line"),
}


@pytest.mark.parametrize("text", MALFORMED)
def test_a_slip_in_the_file_is_an_error_that_names_file_table_key_and_mend(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        Policy.load(file)
    place, mend = MALFORMED[text]
    assert str(file) in raised.value.where
    assert place in raised.value.where
    assert mend in raised.value.mend
