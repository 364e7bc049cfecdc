"""Jobs: frozen, named by their content, explained before they run, refused when they contradict themselves."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import comity as ct
from comity.core.errors import ManifestError
from comity.learners.schedules import Cosine
from support.quadratic import Quadratic

PLAN = ct.LocalSGD(lr=0.1, epochs=1, batch_size=10)


class Counting(ct.FedAvg):
    """FedAvg whose parties return a metric that the model does not have."""

    def exchange(self) -> ct.Exchange:
        return replace(super().exchange(), metrics={"loss": 2, "size": 1})


class Own(ct.FedSGD):
    """A program that does not check its parts."""

    def __post_init__(self) -> None: ...


def job(**changes: Any) -> ct.Job:
    parts = {"program": ct.FedAvg(Quadratic(), PLAN), "rounds": ct.Rounds(count=10, cohort=3), "seed": 7}
    return ct.Job(**(parts | changes))


JOBS = [
    job(),
    job(aggregator=ct.Clip(1.0) >> ct.Mean(weights="uniform") >> ct.Clip(2.0)),
    job(rounds=ct.Buffered(count=5, buffer=3, concurrency=6)),
    job(program=ct.Scaffold(Quadratic(), replace(PLAN, schedule=Cosine(rounds=10)))),
    job(program=ct.FedAdam(Quadratic(), ct.LocalAdamW(lr=0.01))),
    job(stop=ct.EarlyStopping("loss", target=0.1)),
    job(program=ct.Evaluate(Quadratic()), rounds=ct.Rounds(count=1)),
]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.id[:8])
def test_a_manifest_round_trips(job: ct.Job) -> None:
    again = ct.Job.from_json(job.to_json(), objects=[Quadratic])
    assert again.to_json() == job.to_json()
    assert again.id == job.id


def test_the_id_is_the_digest_of_the_manifest_and_nothing_else() -> None:
    assert job().id == job().id
    assert len(job().id) == 64
    assert len({each.id for each in JOBS}) == len(JOBS)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"rounds": ct.Rounds(count=11, cohort=3)},
        {"aggregator": ct.Mean(weights="uniform")},
        {"program": ct.FedAvg(Quadratic(size=4), PLAN)},
        {"program": ct.FedAvg(Quadratic(), replace(PLAN, lr=0.2))},
        {"admission": ct.Admission(max_norm=1.0)},
    ],
    ids=str,
)
def test_whatever_changes_the_result_changes_the_id(change: dict[str, Any]) -> None:
    assert job(**change).id != job().id


def test_a_model_given_to_an_evaluation_is_pinned_by_its_content() -> None:
    vector = np.arange(3, dtype=np.float32)
    evaluation = job(program=ct.Evaluate(Quadratic(), start=vector), rounds=ct.Rounds(count=1))
    with pytest.raises(ManifestError, match="array it refers to was not given"):
        ct.Job.from_json(evaluation.to_json(), objects=[Quadratic])
    again = ct.Job.from_json(evaluation.to_json(), objects=[Quadratic, vector])
    assert again.id == evaluation.id


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("[]", "no manifest of version 1"),
        ('{"comity":2,"job":{}}', "no manifest of version 1"),
        ('{"comity":1,"job":3}', "something other than a job"),
        ('{"comity":1,"job":{"is":"comity.jobs.job:Job","rounds":1,"seed":1}}', "program"),
    ],
)
def test_a_text_that_is_no_manifest_is_refused(text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        ct.Job.from_json(text)


def test_reading_a_manifest_runs_the_same_checks_as_building_a_job() -> None:
    text = job().to_json().replace('"cohort":3', '"cohort":-3')
    with pytest.raises(ct.ConfigError, match="cohort"):
        ct.Job.from_json(text, objects=[Quadratic])


def test_a_text_nested_without_end_is_refused() -> None:
    with pytest.raises(ManifestError, match="nested deeper"):
        ct.Job.from_json('{"comity":1,"job":' + "[" * 5000 + "]" * 5000 + "}")


@pytest.mark.parametrize("program", JOBS[0:1] + JOBS[3:4], ids=["FedAvg", "Scaffold"])
def test_a_manifest_with_a_number_for_a_model_is_refused_with_the_mend(program: ct.Job) -> None:
    node = json.loads(program.to_json())
    node["job"]["program"]["model"] = 5
    with pytest.raises(ct.ConfigError, match=r"\.model: an int is no learner"):
        ct.Job.from_json(json.dumps(node))


def test_jobs_whose_models_differ_only_in_what_a_factory_carries_have_different_ids() -> None:
    def with_variable(width: int) -> Any:
        def start(rng: Any) -> dict[str, Any]:
            return {"w": np.zeros(width)}

        return start

    def with_default(width: int) -> Any:
        def start(rng: Any, width: int = width) -> dict[str, Any]:
            return {"w": np.zeros(width)}

        return start

    def fit(weights: Any, x: Any, y: Any, plan: Any, rng: Any) -> Any:
        return weights

    for make in (with_variable, with_default):
        jobs = {width: job(program=ct.FedAvg(ct.Function(make(width), fit), PLAN)) for width in (8, 16)}
        assert jobs[8].id != jobs[16].id
        assert job(program=ct.FedAvg(ct.Function(make(8), fit), PLAN)).id == jobs[8].id
        with pytest.raises(ManifestError, match=r"(variable|default) 'width' of .* differs"):
            ct.Job.from_json(jobs[8].to_json(), objects=[make(16), fit])
        assert ct.Job.from_json(jobs[8].to_json(), objects=[make(16), make(8), fit]).id == jobs[8].id


def test_explain_has_a_line_for_everything_that_leaves() -> None:
    explanation = job(program=ct.Scaffold(Quadratic(), PLAN)).explain()
    assert [line.value for line in explanation.leaving] == ["weights", "control", "weight", "metric loss"]
    assert explanation.leaving[0].bytes == 12
    assert explanation.sent_bytes == 12 + 12 + 8 + 16
    assert explanation.received_bytes == 24
    assert {line.readers for line in explanation.leaving} == {"the server, party by party"}
    assert "ε is unbounded" in str(explanation)


def test_explain_says_that_a_contribution_is_clipped() -> None:
    clipped = job(aggregator=ct.Clip(0.5) >> ct.Mean()).explain()
    assert "clipped to a norm of 0.5" in clipped.leaving[0].meaning


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"program": ct.FedAvg}, r"FedAvg is no program[\s\S]*FedAvg\(model, local\)"),
        ({"rounds": 10}, r"int is no rounds"),
        ({"aggregator": "mean"}, r"str is no aggregator[\s\S]*Clip\(1\.0\) >> Mean\(\)"),
        ({"aggregator": ct.Clip(1.0)}, r"no reducer"),
        ({"aggregator": ct.Mean() >> ct.Mean()}, r"2 reducers"),
        ({"seed": 1.5}, r"job\.seed"),
        ({"evaluate_every": 0}, r"Job\.evaluate_every"),
        ({"evaluate_every": "2"}, r"Job\.evaluate_every: evaluate_every is '2'[\s\S]*a whole number of 1 or more"),
        ({"stop": "accuracy"}, r"str is no stop[\s\S]*EarlyStopping\(\"accuracy\", target=0\.9\)"),
        ({"admission": None}, r"NoneType is no admission[\s\S]*leave it out"),
        ({"program": Counting(Quadratic(), PLAN)}, r"Counting returns 1 statistics of a metric 'size'[\s\S]*exchange"),
        ({"program": Own(Quadratic)}, r"Own\.model: the class Quadratic is no learner"),
        ({"program": ct.Evaluate(Quadratic())}, r"an evaluation is one round"),
        (
            {
                "program": ct.Evaluate(Quadratic()),
                "rounds": ct.Rounds(count=1),
                "aggregator": ct.Clip(1.0) >> ct.Mean(),
            },
            r"nothing to transform",
        ),
        (
            {"program": ct.Scaffold(Quadratic(), PLAN), "rounds": ct.Buffered(count=1, buffer=2, concurrency=4)},
            r"Scaffold keeps control at the parties[\s\S]*use Rounds",
        ),
        ({"program": ct.FedNova(Quadratic(), PLAN), "aggregator": ct.Clip(1.0) >> ct.Mean()}, r"the number 'steps'"),
        (
            {"program": ct.FedNova(Quadratic(), PLAN), "rounds": ct.Buffered(count=1, buffer=2, concurrency=4)},
            r"staleness damps",
        ),
        ({"stop": ct.EarlyStopping("accuracy", target=0.9)}, r"no column 'accuracy'[\s\S]*loss, train_loss"),
    ],
    ids=str,
)
def test_contradictions_are_refused_when_the_job_is_built(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ct.ConfigError, match=message):
        job(**change)


def test_a_learner_refuses_a_plan_that_it_cannot_carry_out() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    model = ct.sklearn.Estimator(linear.SGDClassifier(), features=3, classes=2)
    with pytest.raises(ct.ComityError, match="one step for each example"):
        job(program=ct.FedAvg(model, PLAN))
    refitted = ct.sklearn.Estimator(linear.LogisticRegression(), features=3, classes=2, mode="refit")
    with pytest.raises(ct.ComityError, match="cannot correct its gradients"):
        job(program=ct.Scaffold(refitted, ct.LocalSGD(lr=1.0)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ct.LocalSGD(lr=0.1, epochs=1, steps=3), "both epochs and steps"),
        (lambda: ct.LocalSGD(lr=0.0), r"LocalSGD\.lr"),
        (lambda: ct.LocalSGD(lr=0.1, nesterov=True), "nesterov without momentum"),
        (lambda: ct.FedProx(Quadratic(), PLAN, mu=-1.0), r"FedProx\.mu"),
        (lambda: ct.FedDyn(Quadratic(), PLAN, alpha=0.0), r"FedDyn\.alpha"),
        (lambda: ct.Scaffold(Quadratic(), ct.LocalSGD(lr=0.1, momentum=0.9)), "plain SGD"),
        (lambda: ct.FedNova(Quadratic(), ct.LocalAdam(lr=0.1)), "use LocalSGD"),
        (lambda: ct.optim.Adam(beta1=1.0), r"Adam\.beta1"),
        (lambda: ct.optim.SGD(momentum=1.0), r"SGD\.momentum[\s\S]*in \[0, 1\)"),
        (lambda: ct.EarlyStopping("loss"), "nothing to stop at"),
        (lambda: ct.LocalSGD(lr="0.1"), r"LocalSGD\.lr: lr is '0.1'[\s\S]*a number above 0"),  # type: ignore[arg-type]
        (lambda: ct.LocalSGD(lr=float("nan")), r"LocalSGD\.lr"),
        (lambda: ct.LocalSGD(lr=0.1, epochs=1.5), r"LocalSGD\.epochs[\s\S]*whole number"),  # type: ignore[arg-type]
        (lambda: ct.LocalSGD(lr=0.1, batch_size=10.0), r"batch_size is 10\.0[\s\S]*whole"),  # type: ignore[arg-type]
        (lambda: ct.LocalSGD(lr=0.1, momentum=1.5), r"LocalSGD\.momentum"),
        (lambda: ct.LocalSGD(lr=0.1, weight_decay=-1), r"LocalSGD\.weight_decay[\s\S]*0 or more"),
        (lambda: ct.LocalSGD(lr=0.1, schedule=Cosine), r"the class Cosine is no schedule"),  # type: ignore[arg-type]
        (lambda: ct.LocalAdam(lr=0.1, betas=(2, 3)), r"LocalAdam\.betas[\s\S]*two numbers in \[0, 1\)"),
        (lambda: ct.LocalAdamW(lr=0.1, weight_decay=-1), r"LocalAdamW\.weight_decay"),
        (lambda: ct.schedules.Step(every=0), r"Step\.every[\s\S]*1 or more"),
        (lambda: ct.schedules.Exponential(decay=0.0), r"Exponential\.decay"),
        (lambda: Cosine(rounds=0), r"Cosine\.rounds[\s\S]*1 or more"),
        (lambda: ct.Clip("a"), r"Clip\.norm: norm is 'a'"),  # type: ignore[arg-type]
        (lambda: ct.FedNova(Quadratic(), PLAN, mu=-1), r"FedNova\.mu[\s\S]*0 or more"),
        (lambda: ct.FedNova(Quadratic(), ct.LocalSGD(lr=0.1, momentum=1.0)), r"LocalSGD\.momentum"),
        (lambda: ct.Evaluate(Quadratic(), on="all"), r"Evaluate\.on[\s\S]*'heldout', 'train'"),  # type: ignore[arg-type]
    ],
)
def test_parts_check_themselves(build: Any, message: str) -> None:
    with pytest.raises(ct.ConfigError, match=message):
        build()
