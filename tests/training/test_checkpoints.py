"""A training that was stopped goes on from its checkpoint, and ends as if it had never been stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from quick_training import DIGITS, SETTINGS
from safetensors.torch import load, save
from torch import nn

from nas.errors import JournalError
from nas.space.architecture import Architecture, Choice
from nas.training.checkpoint import CHECKPOINT
from nas.training.state_packing import STRUCTURE, packed, unpacked
from nas.training.training import CandidateTraining

HERE = "here-1"
EPOCHS = 3


class Dropping:
    """A space of one network with everything that has a state: normalisation, random dropping, convolutions."""

    choices = (Choice("width", (4,)),)

    def build(self, architecture: Architecture) -> nn.Module:
        width = int(architecture["width"])
        features = [nn.Conv2d(1, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.2)]
        return nn.Sequential(*features, nn.Conv2d(width, width, 3, padding=1), nn.Flatten(), nn.Linear(16 * width, 10))


class Strange(Dropping):
    """The same, with a state that no file of tensors and JSON can hold."""

    def build(self, architecture: Architecture) -> nn.Module:
        class Extra(nn.Identity):
            def get_extra_state(self) -> Any:
                return object()

            def set_extra_state(self, state: Any) -> None:
                """Take nothing."""

        return nn.Sequential(Extra(), super().build(architecture))


def work(space: Any = None, **changes: Any) -> CandidateTraining:
    settings = replace(SETTINGS, epochs=EPOCHS, subset=0.1, keep_weights=True, use_validation=False, **changes)
    return CandidateTraining(space or Dropping(), DIGITS, settings)


def job(folder: Path, token: str = HERE, content: bytes | None = None) -> dict[str, Any]:
    """Return a job whose checkpoint lies in ``folder``, where the token lies too."""
    (folder / HERE).touch()
    place = {"path": str(folder / "one.safetensors"), "token": token}
    return {
        "id": "one",
        "architecture": {"width": 4},
        "seed": 3,
        CHECKPOINT: place if content is None else {**place, "content": content},
    }


def reports(training: CandidateTraining, given: Mapping[str, Any], most: int = EPOCHS) -> list[dict[str, Any]]:
    """Return the first reports. The training is left as a killed one is: in the middle."""
    found = []
    with contextlib.closing(training(given)) as running:
        for report in running:
            found.append(report)
            if len(found) == most:
                break
    return found


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    kept = ("epoch", "loss", "error", "weights")
    return all(one.get(key) == other.get(key) for key in kept)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mixup": 0.4, "cutmix": 1.0, "ema": 0.9, "augmentation_strength": 0.3},
        {"tune": "head", "augment": True},
        {"head_epochs": 1, "schedule": "linear", "gradient_clip": 0.0},
        {"precision": "bf16", "use_validation": True},
    ],
    ids=lambda changes: ",".join(changes) or "defaults",
)
@pytest.mark.parametrize("stopped_after", [1, 2])
def test_a_resumed_training_ends_as_an_undisturbed_one(
    tmp_path: Path, changes: dict[str, Any], stopped_after: int
) -> None:
    """Every later report is the same, and the weights are the same bit by bit; no epoch is done twice."""
    training = replace(work(), settings=replace(work().settings, **changes))
    undisturbed = reports(training, {key: value for key, value in job(tmp_path).items() if key != CHECKPOINT})
    reports(training, job(tmp_path), stopped_after)
    resumed = reports(training, job(tmp_path))
    assert [report["epoch"] for report in resumed] == list(range(stopped_after + 1, EPOCHS + 1))
    assert resumed[0]["resumed"] == stopped_after
    assert all("resumed" not in report for report in resumed[1:])
    for one, other in zip(undisturbed[stopped_after:], resumed, strict=True):
        assert same(one, other), one["epoch"]


@pytest.mark.slow  # importing timm takes five seconds
def test_an_optimizer_of_timm_goes_on_too(tmp_path: Path) -> None:
    """Its state is tensors and numbers, whatever it is called."""
    training = work(optimizer="nadamw")
    undisturbed = reports(training, {key: value for key, value in job(tmp_path).items() if key != CHECKPOINT})
    reports(training, job(tmp_path), 2)
    assert same(reports(training, job(tmp_path))[-1], undisturbed[-1])


def test_the_time_limit_counts_all_parts_of_a_training(tmp_path: Path) -> None:
    """The seconds before a kill count, and reports tell them."""
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    training = replace(work(), clock=clock)
    first = reports(training, job(tmp_path), 2)
    resumed = reports(training, job(tmp_path))
    assert resumed[0]["seconds"] > first[-1]["seconds"]


def test_another_training_does_not_take_a_checkpoint(tmp_path: Path) -> None:
    """Other settings begin again, and a note says which; other threads or another time limit change nothing."""
    reports(work(), job(tmp_path), 2)
    assert reports(work(time_limit_s=1e6, threads=2), job(tmp_path), 1)[0]["resumed"] == 2
    again = reports(work(learning_rate=1e-3), job(tmp_path), 1)
    assert again[0]["epoch"] == 1
    assert again[0]["note"] == "an earlier checkpoint is not used, because its training had another settings"


def test_a_training_elsewhere_sends_its_state_and_is_sent_it(tmp_path: Path) -> None:
    """Where the place's token does not lie, nothing is written: the driver writes what reports hold."""
    undisturbed = reports(work(), {key: value for key, value in job(tmp_path).items() if key != CHECKPOINT})
    first = reports(work(), job(tmp_path, token="elsewhere"), 2)
    assert not (tmp_path / "one.safetensors").exists()
    resumed = reports(work(), job(tmp_path, token="elsewhere", content=first[-1][CHECKPOINT]))
    assert resumed[0]["resumed"] == 2
    assert same(resumed[-1], undisturbed[-1])
    assert CHECKPOINT not in resumed[-1]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    """The message says which file to remove."""
    reports(work(), job(tmp_path), 1)
    path = tmp_path / "one.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(JournalError, match=rf"but {path} is damaged: .*Remove that file"):
        reports(work(), job(tmp_path))
    state = unpacked(whole)
    state["state"]["module"].pop("0.weight")
    path.write_bytes(packed(state))
    with pytest.raises(JournalError, match=r"is damaged: .*0\.weight"):
        reports(work(), job(tmp_path))


def test_a_full_disk_ends_the_run_and_not_the_candidate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nas.training.checkpoint.write_aside", full)
    with pytest.raises(JournalError, match=r"must reach the disk after each epoch, but the system says: .*No space"):
        reports(work(), job(tmp_path))


def test_what_cannot_be_kept_is_trained_all_the_same(tmp_path: Path) -> None:
    """A note says once that the training would begin again."""
    training = replace(work(Strange()), settings=replace(work().settings, keep_weights=False))
    found = reports(training, job(tmp_path))
    assert len(found) == EPOCHS
    assert [report for report in found if "note" in report] == found[:1]
    assert "an object of type object cannot be kept" in found[0]["note"]
    assert not (tmp_path / "one.safetensors").exists()


def test_a_state_is_packed_without_loss() -> None:
    """Kinds of containers, names and types of numbers all return."""
    state = {
        "a": [1, 2.5, None, True, "text"],
        "b": (torch.arange(3, dtype=torch.uint8), {0: torch.tensor(0.5, dtype=torch.bfloat16)}),
        "large": 2**100,
    }
    found = unpacked(packed(state))
    assert found["a"] == state["a"]
    assert isinstance(found["b"], tuple)
    assert torch.equal(found["b"][0], state["b"][0])  # type: ignore[index]
    assert found["b"][1][0].dtype == torch.bfloat16
    assert found["large"] == 2**100


@pytest.mark.parametrize(
    "strange", [object(), {1.5: 0}, torch.eye(2).to_sparse(), {1, 2}], ids=lambda strange: type(strange).__name__
)
def test_what_is_neither_tensors_nor_json_is_refused(strange: object) -> None:
    """Nothing is pickled."""
    with pytest.raises(TypeError, match="cannot be kept"):
        packed({"inner": strange})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04K\x01.",
        save({"other": torch.zeros(1)}),
        save({STRUCTURE: torch.frombuffer(bytearray(b'{"items": [["a", {"tensor": "9"}]]}'), dtype=torch.uint8)}),
        save({STRUCTURE: torch.frombuffer(bytearray(b'{"eval": "1"}'), dtype=torch.uint8)}),
        save({STRUCTURE: torch.frombuffer(bytearray(b"[1, 2]"), dtype=torch.uint8)}),
        save({STRUCTURE: torch.frombuffer(bytearray(b'{"list": []}'), dtype=torch.uint8)}),
    ],
)
def test_hostile_content_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"it is no checkpoint|a checkpoint holds a table|JSON|Expecting"):
        unpacked(content)


def test_a_checkpoint_is_a_plain_safetensors_file(tmp_path: Path) -> None:
    """Any reader of that format opens it."""
    reports(work(), job(tmp_path), 1)
    tensors = load((tmp_path / "one.safetensors").read_bytes())
    assert STRUCTURE in tensors
    assert not list(tmp_path.glob(".*"))
