"""Runs: a history as a table and a picture, metrics by party and pooled, a model to keep, an end that is said."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file

import comity as ct
from comity.runs.progress import Progress
from support.quadratic import Points, Quadratic

ARRAYS = [np.full((k + 1, 3), k, dtype=np.float32) for k in range(10)]
DATA = Points(ARRAYS, heldout=[array[:1] + 1 for array in ARRAYS], common=np.ones((4, 3), np.float32))
PROGRAM = ct.FedAvg(Quadratic(), ct.LocalSGD(lr=0.1, epochs=2))


def job(count: int = 4, **changes: Any) -> ct.Job:
    return ct.Job(PROGRAM, ct.Rounds(count=count, cohort=5), **changes)


RUN = ct.run(job(), ct.Simulation(DATA))


def test_the_history_is_a_table_of_rounds() -> None:
    frame = RUN.history.frame()
    assert list(frame["round"]) == [1, 2, 3, 4]
    assert {"train_loss", "loss", "seconds", "bytes_up", "bytes_down", "parties", "rejected"} <= set(frame.columns)
    assert (frame["parties"] == 5).all()
    assert (frame["bytes_up"] == 5 * 36).all()


def test_every_partys_own_metrics_are_kept() -> None:
    parties = RUN.history.parties()
    assert len(parties) == 4 * 5
    assert {"round", "party", "weight", "loss"} == set(parties.columns)
    weights = {f"p{k}": k + 1 for k in range(10)}
    assert all(weights[row.party] == row.weight for row in parties.itertuples())


def test_the_common_test_set_is_judged_in_the_rounds_asked_for_and_the_last() -> None:
    run = ct.run(job(count=5, evaluate_every=3), ct.Simulation(DATA))
    assert [bool(record.test) for record in run.history] == [False, False, True, False, True]
    expected = 0.5 * float(((run.model.vector - 1) ** 2).sum())
    assert run.history[-1].test["loss"] == pytest.approx(expected, rel=1e-5)


def test_parties_judge_the_model_on_their_own_examples() -> None:
    evaluation = RUN.evaluate()
    values = {record.party: record.metrics["loss"] for record in evaluation.parties}
    expected = {f"p{k}": 0.5 * float(((RUN.model.vector - (k + 1)) ** 2).sum()) for k in range(10)}
    assert values == pytest.approx(expected, rel=1e-5)
    assert evaluation.pooled["loss"] == pytest.approx(np.mean(list(expected.values())), rel=1e-5)
    spread = evaluation.spread("loss", higher_is_better=False)
    assert spread.worst == pytest.approx(max(expected.values()), rel=1e-5)
    assert spread.worst_tenth == spread.worst
    assert spread.best == pytest.approx(min(expected.values()), rel=1e-5)


def test_a_metric_that_is_not_there_is_named() -> None:
    with pytest.raises(ct.ConfigError, match="no party has a value of 'accuracy'"):
        RUN.evaluate().spread("accuracy")


def test_the_model_is_saved_as_named_arrays(tmp_path: Path) -> None:
    RUN.model.save(tmp_path / "model.safetensors")
    assert np.array_equal(load_file(tmp_path / "model.safetensors")["w"], RUN.model.vector)


def test_a_folder_receives_job_history_and_model(tmp_path: Path) -> None:
    run = ct.run(job(), ct.Simulation(DATA), folder=tmp_path)
    assert ct.Job.from_json((tmp_path / "job.json").read_text(), objects=[Quadratic]) == run.job
    rounds = json.loads((tmp_path / "history.json").read_text())
    assert [record["round"] for record in rounds] == [1, 2, 3, 4]
    assert np.array_equal(load_file(tmp_path / "model.safetensors")["w"], run.model.vector)


def test_a_picture_of_the_history(tmp_path: Path) -> None:
    RUN.history.plot(str(tmp_path / "curves.png"))
    RUN.history.plot(str(tmp_path / "bytes.png"), against="bytes_up")
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "bytes.png").stat().st_size > 5_000


def test_early_stopping_ends_the_run_with_its_reason() -> None:
    stop = ct.EarlyStopping("loss", patience=3, min_delta=0.05)
    run = ct.run(job(count=500, stop=stop), ct.Simulation(DATA))
    assert run.ending == "stopped"
    assert "has not improved for 3 evaluations" in run.detail
    assert len(run.history) < 500


def test_the_progress_bar_shows_rounds_loss_and_bytes() -> None:
    console = Console(force_terminal=True, width=140, record=True)
    ct.run(job(), ct.Simulation(DATA), callbacks=[Progress(console)])
    shown = console.export_text()
    assert "4/4" in shown
    assert "loss" in shown
    assert "960 B" in shown


class Interrupting:
    """A callback that presses Ctrl-C in a given round."""

    def __init__(self, round: int) -> None:
        self.round = round

    def on_start(self, job: ct.Job, note: str) -> None: ...

    def on_round(self, record: Any) -> str | None:
        if record.round == self.round:
            os.kill(os.getpid(), signal.SIGINT)
        return None

    def on_end(self, ending: str) -> None: ...


@pytest.mark.parametrize("engine", ["resident", "workers"])
def test_an_interrupted_run_leaves_a_checkpoint_and_resumes_to_the_same_bytes(engine: Any, tmp_path: Path) -> None:
    simulation = ct.Simulation(DATA, engine=engine, workers=2)
    whole = ct.run(job(count=6), simulation)
    cut = ct.run(job(count=6), simulation, folder=tmp_path, callbacks=[Interrupting(3)])
    assert (cut.ending, len(cut.history)) == ("interrupted", 3)
    assert not (tmp_path / "model.safetensors").exists()
    resumed = ct.run(job(count=6), simulation, folder=tmp_path, resume=True)
    assert resumed.model.vector.tobytes() == whole.model.vector.tobytes()


def test_an_evaluation_is_a_job_of_its_own() -> None:
    program = ct.Evaluate(Quadratic(), start=np.ones(3, np.float32))
    run = ct.run(ct.Job(program, ct.Rounds(count=1)), ct.Simulation(DATA))
    assert run.history[0].parties == 10
    assert run.history[0].train["loss"] == pytest.approx(RUN_OF_ONES)
    assert run.model.vector.tolist() == [1, 1, 1]


RUN_OF_ONES = float(np.mean([0.5 * 3 * k**2 for k in range(10)]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ct.run(PROGRAM, ct.Simulation(DATA)), "FedAvg is no job"),  # type: ignore[arg-type]
        (lambda: ct.run(job(), DATA), "Points is no federation"),  # type: ignore[arg-type]
        (lambda: ct.run(job(), ct.Simulation(DATA), checkpoint_every=0), "checkpoint_every is 0"),
        (lambda: ct.run(job(), ct.Simulation(DATA), folder=__file__), r"test_run\.py is a file[\s\S]*give a folder"),
        (
            lambda: ct.run(job(), ct.Simulation(DATA), callbacks=[print]),  # type: ignore[list-item]
            "the function print is no callback[\\s\\S]*the methods on_start, on_round and on_end",
        ),
        (lambda: ct.run(job(), ct.Simulation(DATA), callbacks=Progress), "no list"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_job_or_federation_is_named(call: Any, message: str) -> None:
    with pytest.raises(ct.ConfigError, match=message):
        call()
