"""The training loop: it learns, it repeats itself to the byte, and it survives being killed."""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import models
import qdq_models
from microlith.core.errors import InputError, ModelError
from microlith.data.dataset import Dataset
from microlith.graph.load import load_bytes
from microlith.techniques.base import Context
from microlith.techniques.ptq import PTQ
from microlith.train.checkpoint import Position, read, write
from microlith.train.loop import TrainSettings, rate_at, train
from microlith.train.losses import label_loss, logits_of, teacher_loss
from microlith.train.samples import Samples, Shuffled
from microlith.train.to_module import to_module

pytestmark = pytest.mark.train
ROOT = Path(__file__).parents[2]


def _module(seed: int = 0) -> torch.fx.GraphModule:
    return to_module(load_bytes(models.tiny_mlp(seed).SerializeToString(), "mlp"))


def _samples(count: int = 240, seed: int = 0) -> Samples:
    """Three classes in 12 features, well apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    centres = np.random.default_rng(9).standard_normal((3, 12)) * 1.5
    return Samples.of((centres[labels] + rng.standard_normal((count, 12))).astype(np.float32), labels)


def _loader(samples: Samples) -> DataLoader:
    return DataLoader(TensorDataset(*samples.inputs, samples.labels), 24, shuffle=True)


def _bytes(module: torch.nn.Module) -> bytes:
    return b"".join(tensor.detach().numpy().tobytes() for tensor in module.state_dict().values())


def _accuracy(module: torch.nn.Module, samples: Samples) -> float:
    with torch.no_grad():
        return float((module(*samples.inputs).argmax(1) == samples.labels).float().mean())


def _rng() -> np.random.Generator:
    return np.random.default_rng(3)


QUICK = TrainSettings(epochs=3, batch_size=24, learning_rate=1e-2)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_it_learns(optimizer):
    module, told = _module(), []
    before = _accuracy(module, _samples(seed=1))
    settings = TrainSettings(epochs=6, batch_size=24, learning_rate=2e-2, optimizer=optimizer)
    history = train(
        module, _samples(), settings, rng=_rng(), progress=lambda what, done, total: told.append((what, done, total))
    )
    assert before < 0.7
    assert _accuracy(module, _samples(seed=1)) > 0.85
    assert history.steps == 60
    assert history.losses[-1] < history.losses[0] / 2
    assert not history.stopped
    assert history.best_epoch is None
    assert told[-1] == ("train", 60, 60)
    assert not module.training


def test_the_same_seed_gives_the_same_bytes_and_leaves_torch_as_it_was():
    found = []
    for seed in (3, 3, 4):
        module = to_module(load_bytes(models.tiny_mlp().SerializeToString(), "mlp"), dropout={"relu": 0.2})
        torch.manual_seed(len(found))
        state = torch.get_rng_state()
        train(module, _samples(), QUICK, rng=np.random.default_rng(seed))
        assert torch.equal(torch.get_rng_state(), state)
        found.append(_bytes(module))
    assert found[0] == found[1] != found[2]


def test_the_rate_rises_to_the_greatest_and_falls_by_a_cosine():
    settings = TrainSettings(learning_rate=2.0, warmup=0.1, final_rate=0.25)
    rates = [rate_at(step, 100, settings) for step in range(101)]
    assert rates[:3] == pytest.approx([2 / 11, 4 / 11, 6 / 11])
    assert rates[10] == 2.0
    assert rates[55] == pytest.approx((2.0 + 0.5) / 2)
    assert rates[100] == pytest.approx(0.5)
    assert np.diff(rates[:11]).min() > 0 > np.diff(rates[10:]).max()


def test_steps_of_sgd_are_those_of_the_definition():
    module, samples = _module(), _samples(8)
    own = copy.deepcopy(module)
    settings = TrainSettings(
        epochs=2, batch_size=8, optimizer="sgd", learning_rate=0.1, momentum=0.5, weight_decay=0.01, warmup=0.0,
        ema=0.0, clip_norm=0.3,
    )  # fmt: skip
    train(module, samples, settings, rng=_rng())
    velocity = {name: torch.zeros_like(item) for name, item in own.named_parameters()}
    for rate in (0.1, 0.05):
        loss = label_loss(logits_of(own)(*samples.inputs), samples.labels)
        gradients = torch.autograd.grad(loss, list(own.parameters()))
        norm = math.sqrt(sum(float(item.square().sum()) for item in gradients))
        with torch.no_grad():
            for (name, item), gradient in zip(own.named_parameters(), gradients, strict=True):
                clipped = gradient * min(1.0, 0.3 / norm)
                velocity[name] = 0.5 * velocity[name] + clipped + (0.01 * item if item.dim() > 1 else 0)
                item -= rate * velocity[name]
    for ours, theirs in zip(module.parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_rates_of_single_parameters():
    module = _module()
    before = copy.deepcopy(module)
    train(module, _samples(), QUICK, rng=_rng(), rate_of=lambda name: 0.0 if name.startswith("fc1") else 1.0)
    assert torch.equal(module.get_parameter("fc1.weight"), before.get_parameter("fc1.weight"))
    assert not torch.equal(module.get_parameter("fc2.weight"), before.get_parameter("fc2.weight"))


# ---- losses


def test_a_teacher_alone_is_enough():
    teacher, samples = _module(), _samples()
    train(teacher, samples, TrainSettings(epochs=8, batch_size=24, learning_rate=3e-2), rng=_rng())
    unlabelled = Samples(samples.inputs)
    for kind in ("kl", "mse"):
        student = _module(5)
        settings = TrainSettings(epochs=15, batch_size=24, learning_rate=5e-2, teacher_loss=kind)
        before = (student(*samples.inputs).argmax(1) == teacher(*samples.inputs).argmax(1)).float().mean()
        train(student, unlabelled, settings, rng=_rng(), teacher=teacher)
        after = (student(*samples.inputs).argmax(1) == teacher(*samples.inputs).argmax(1)).float().mean()
        assert after > 0.9 > before


def test_losses_are_those_of_the_papers(rng):
    ours, theirs = (torch.from_numpy(rng.standard_normal((6, 4))) for _ in range(2))
    p, q = (torch.softmax(item / 3, 1) for item in (theirs, ours))
    expected = 9 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(teacher_loss(ours, theirs, "kl", 3.0), expected)
    torch.testing.assert_close(teacher_loss(ours, theirs, "mse", 3.0), (ours - theirs).square().mean())
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    picked = torch.log_softmax(ours, 1)[torch.arange(6), labels]
    torch.testing.assert_close(label_loss(ours, labels), -picked.mean())
    torch.testing.assert_close(label_loss(ours, theirs.reshape(6, 2, 2)), (ours - theirs).square().mean())


def test_a_softmax_at_the_end_is_left_out_of_the_loss_even_behind_a_quantizer():
    source = qdq_models.ALL["residual"]()
    model = PTQ(calibration="minmax").apply(source, Context(data=lambda: [qdq_models.samples(source, 8)]))
    x = torch.from_numpy(qdq_models.samples(source, 8)["x"])
    for module in (to_module(source), to_module(model)):
        logits = logits_of(module)
        torch.testing.assert_close(torch.softmax(logits(x), 1), module(x), rtol=0, atol=0.005)
        assert {id(item) for item in logits.parameters()} == {id(item) for item in module.parameters()}
    plain = torch.nn.Linear(2, 2)
    assert logits_of(plain) is plain


def test_a_loss_and_a_penalty_of_ones_own():
    module, shares = _module(), []
    size = float(module.get_parameter("fc1.weight").detach().square().sum())

    def penalty(share: float) -> torch.Tensor:
        shares.append(share)
        return 10 * module.get_parameter("fc1.weight").square().sum()

    train(
        module, _samples(), QUICK, rng=_rng(), penalty=penalty,
        loss=lambda outputs, labels, wanted: outputs[0].square().mean() + 0 * labels.sum(),
    )  # fmt: skip
    assert shares == pytest.approx([step / 30 for step in range(30)])
    assert module.get_parameter("fc1.weight").square().sum() < 0.75 * size


def test_what_cannot_be_learned_from_is_refused():
    samples = _samples()
    with pytest.raises(InputError, match="nothing to learn from"):
        train(_module(), Samples(samples.inputs), QUICK, rng=_rng())
    wrong = Samples(samples.inputs, torch.zeros(240, 2, dtype=torch.int64))
    with pytest.raises(InputError, match=r"classes of shape \(24, 2\) do not fit an output of \(24, 3\)"):
        train(_module(), wrong, QUICK, rng=_rng())
    with pytest.raises(InputError, match="no parameter to train"):
        train(_module(), samples, QUICK, rng=_rng(), rate_of=lambda name: 0.0)
    with pytest.raises(ModelError, match="the loss is nan in step 0"):
        train(_module(), Samples(samples.inputs, samples.inputs[0][:, :3] * math.nan), QUICK, rng=_rng())
    with pytest.raises(InputError, match=r"inputs and labels are of \[3, 4\] samples"):
        Samples.of(np.zeros((3, 2), np.float32), np.zeros(4, np.int64))


# ---- which parameters are kept


def test_the_average_of_parameters_is_what_is_left():
    plain, averaged = _module(), _module()
    seen = []
    train(plain, _samples(), QUICK, rng=_rng(), on_step=lambda share: seen.append(copy.deepcopy(plain.state_dict())))
    train(averaged, _samples(), QUICK.model_copy(update={"ema": 0.8}), rng=_rng())
    expected = seen[0]["fc2.weight"]
    for step, state in enumerate([*seen[1:], plain.state_dict()]):
        kept = min(0.8, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * state["fc2.weight"]
    torch.testing.assert_close(averaged.get_parameter("fc2.weight").detach(), expected, rtol=1e-4, atol=1e-5)


def test_the_best_epoch_is_kept_and_training_stops_without_a_better_one():
    module = _module()
    settings = TrainSettings(epochs=40, batch_size=4, learning_rate=0.05, patience=2, weight_decay=0.0)
    few = Samples.of(_samples().inputs[0][:16].numpy(), np.arange(16) % 3)
    held_back = _samples(60, seed=5)
    history = train(module, few, settings, rng=_rng(), validation=held_back)
    assert history.stopped
    assert history.best_epoch == int(np.argmin(history.validation)) == len(history.validation) - 3
    with torch.no_grad():
        loss = label_loss(logits_of(module)(*held_back.inputs), held_back.labels)
    assert float(loss) == pytest.approx(min(history.validation), rel=1e-5)


# ---- data


def test_every_sample_is_seen_once_an_epoch_in_another_order():
    source = Shuffled(Samples.of(np.arange(10, dtype=np.float32)[:, None]), 3)
    epochs = [[float(x) for (batch,), _ in source.epoch(1, number, 0) for x in batch] for number in range(2)]
    assert source.steps == 3
    assert all(len(set(item)) == 9 for item in epochs)
    assert epochs[0] != epochs[1]
    rest = [float(x) for (batch,), _ in source.epoch(1, 0, 2) for x in batch]
    assert rest == epochs[0][6:]


def test_data_of_the_project_and_of_torch(rng):
    samples = _samples()
    x, labels = samples.inputs[0].numpy(), samples.labels.numpy()
    of_dataset = Samples.of_dataset(Dataset.of(x, labels))
    assert torch.equal(of_dataset.inputs[0], samples.inputs[0])
    model = load_bytes(models.tiny_mlp().SerializeToString(), "mlp")
    of_feeds = Samples.of_feeds(model, [{"features": x[:100]}, {"features": x[100:]}])
    assert torch.equal(of_feeds.inputs[0], samples.inputs[0])
    assert of_feeds.labels is None
    module = _module()
    history = train(
        module, DataLoader(TensorDataset(*samples.inputs, samples.labels), 24, shuffle=True), QUICK, rng=_rng()
    )
    assert history.steps == 30
    assert history.losses[-1] < history.losses[0]
    with pytest.raises(InputError, match="does not say how many batches"):
        train(module, iter([]), QUICK, rng=_rng())
    with pytest.raises(InputError, match="gives no labels"):
        train(module, DataLoader(TensorDataset(*samples.inputs), 24), QUICK, rng=_rng())


# ---- checkpoints


class _Interrupted(Exception):
    pass


def _noisy(inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (inputs[0] + 0.1 * torch.randn_like(inputs[0]),)


@pytest.mark.parametrize("kind", ["samples", "loader"])
def test_an_interrupted_run_ends_with_the_same_bytes(kind, tmp_path):
    samples = _samples()
    data = (
        samples if kind == "samples" else DataLoader(TensorDataset(*samples.inputs, samples.labels), 24, shuffle=True)
    )
    settings = TrainSettings(epochs=3, batch_size=24, ema=0.5, patience=2, checkpoint_seconds=0)

    def run(module: torch.nn.Module, stop: int | None, checkpoint: Path | None) -> bytes:
        steps = 0

        def on_step(share: float) -> None:
            nonlocal steps
            steps += 1
            if steps == stop:
                raise _Interrupted

        train(
            module, data, settings, rng=_rng(), validation=_samples(30, seed=2), augment=_noisy, on_step=on_step,
            checkpoint=checkpoint,
        )  # fmt: skip
        return _bytes(module)

    def module() -> torch.fx.GraphModule:
        return to_module(load_bytes(models.tiny_mlp().SerializeToString(), "mlp"), dropout={"relu": 0.2})

    undisturbed = run(module(), None, None)
    for stop in (1, 2, 10, 8, 9):
        with pytest.raises(_Interrupted):
            run(module(), stop, tmp_path / "run")
    assert run(module(), None, tmp_path / "run") == undisturbed
    assert run(module(), 1, tmp_path / "run") == undisturbed, "a finished run does nothing"


def test_a_run_that_is_killed_at_random_instants_ends_with_the_same_bytes(tmp_path):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "tests" / "train" / "killed_run.py"), str(tmp_path), "12", "5"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1].split()[:2] == ["killed", "12"]
    assert all(line.endswith("equal") for line in lines)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "run"
    train(_module(), _samples(), QUICK, rng=_rng(), checkpoint=path)
    for settings, seed in ((QUICK.model_copy(update={"epochs": 4}), 3), (QUICK, 4)):
        with pytest.raises(InputError, match="the checkpoint of another run"):
            train(_module(), _samples(), settings, rng=np.random.default_rng(seed), checkpoint=path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="is no checkpoint of a training run"):
        train(_module(), _samples(), QUICK, rng=_rng(), checkpoint=path)


def test_a_checkpoint_holds_what_was_written(tmp_path):
    position = Position("run", 7, 0.1 + 0.2, [1 / 3], [2 / 3], 0, True)
    state = {"model": {"a.b": torch.arange(6.0).reshape(2, 3).T}, "optimizer": {"0.step": torch.tensor(3.0)}}
    write(tmp_path / "file", position, state)
    found = read(tmp_path / "file", "run")
    assert found is not None
    assert found[0] == position
    assert torch.equal(found[1]["model"]["a.b"], state["model"]["a.b"])
    assert torch.equal(found[1]["optimizer"]["0.step"], torch.tensor(3.0))
    assert read(tmp_path / "none", "run") is None
    assert [item.name for item in tmp_path.iterdir()] == ["file"]
