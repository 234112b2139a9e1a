"""What is wrong with a model or its data is one message with the module and the cure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sweeper.errors import SweepError
from sweeper.tasks.examine import examine
from sweeper.tasks.task import Task

X = torch.linspace(-1, 1, 24).reshape(12, 2)
Y = X.sum(1, keepdim=True)


class Net(nn.Module):
    """A body, what is tried in the middle, and a head."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.body, self.middle, self.head = nn.Linear(2, 3), middle, nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.middle(self.body(x)))


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.mean() > 0 else -x


class Item(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.abs().max().item()


class InPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        found = torch.zeros(x.shape, dtype=x.dtype)
        found[:] = x
        return found


class Permuted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, torch.randperm(3)]


class Nonzero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x[x > 0].sum()


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * float(np.random.default_rng().normal())


class Counter(nn.Module):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x / self.calls


def task_of(middle: Callable[[], nn.Module], **changes: Any) -> Task:
    given: dict[str, Any] = {"loss": F.mse_loss, "data": (X, Y), **changes}
    return Task(model=lambda: Net(middle()), **given)


def refusal(task: Task) -> SweepError:
    with pytest.raises(SweepError) as found:
        examine(task)
    assert "\n" not in found.value.what
    return found.value


@pytest.mark.parametrize(
    ("middle", "what", "cure"),
    [
        (Branch, "middle (Branch): a number or a branch", "Use torch.where"),
        (Item, "middle (Item): a number or a branch", "Use torch.where"),
        (InPlace, "middle (InPlace): a new tensor is filled in place", "Make it with x.new_zeros"),
        (Permuted, "middle (Permuted): random call randperm", "Draw with torch.rand"),
        (Nonzero, "middle (Nonzero): the shape of a tensor depends on", "Use torch.where"),
    ],
)
def test_what_cannot_be_packed(middle: type[nn.Module], what: str, cure: str) -> None:
    error = refusal(task_of(middle))
    assert f"the model can't be packed: {what}" in error.what
    assert error.cure.startswith(cure)
    assert error.cure.endswith("set allow_unpacked: true: its runs are then trained one by one.")
    assert error.where == "task"
    form = examine(task_of(middle, allow_unpacked=True))
    assert form.trouble.startswith(what) and form.has_context


def test_the_innermost_module_is_named() -> None:
    error = refusal(task_of(lambda: nn.Sequential(nn.Tanh(), nn.Sequential(Branch()))))
    assert "middle.1.0 (Branch): a number" in error.what


def test_a_branch_in_the_loss_is_said_to_be_there() -> None:
    def loss(found: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(found, target) if found.mean() > 0 else F.l1_loss(found, target)

    assert (
        "can't be packed: the loss: a number or a branch"
        in refusal(task_of(nn.Tanh, loss=loss)).what
    )


@pytest.mark.parametrize("unpacked", [False, True])
@pytest.mark.parametrize("middle", [Noise, Counter])
def test_memory_is_never_allowed(middle: type[nn.Module], unpacked: bool) -> None:
    error = refusal(task_of(middle, allow_unpacked=unpacked))
    assert error.what.startswith("computed twice, the gradient differs by")
    assert "no counters outside buffers" in error.cure and "NumPy" in error.cure


def test_layers_made_outside_of_the_model_function() -> None:
    layer = nn.Linear(2, 1)
    task = Task(model=lambda: nn.Sequential(layer), loss=F.mse_loss, data=(X, Y))
    error = refusal(task)
    assert error.what.startswith("two models share the parameter '0.weight'")
    assert error.cure == "Make every layer within the function that `model` is."
    same = nn.Sequential(nn.Linear(2, 1))
    assert (
        "share the parameter"
        in refusal(Task(model=lambda: same, loss=F.mse_loss, data=(X, Y))).what
    )


@pytest.mark.parametrize(
    ("loss", "what"),
    [
        (
            lambda f, t: (f - t) ** 2,
            "the loss is a tensor of torch.float32 with the shape [12, 1]",
        ),
        (lambda f, t: float(((f - t) ** 2).mean()), "the loss is float"),
        (lambda f, t: None, "the loss is NoneType"),
        (lambda f, t: (f > t).sum(), "the loss is a tensor of torch.int64 with the shape []"),
        (lambda f, t: F.mse_loss(f, t).detach(), "the loss doesn't depend on the parameters"),
        (lambda f, t: t.mean(), "the loss doesn't depend on the parameters"),
    ],
)
def test_a_loss_that_is_none(loss: Any, what: str) -> None:
    error = refusal(task_of(nn.Tanh, loss=loss))
    assert (error.what, error.where) == (what, "loss")
    if "depend" not in what:
        assert error.allowed == "a scalar floating-point tensor"


def test_nothing_to_train() -> None:
    def frozen() -> nn.Module:
        return Net(nn.Tanh()).requires_grad_(False)

    for model in (frozen, nn.Tanh):
        task = Task(model=model, loss=F.mse_loss, data=(X, X))
        assert refusal(task).what == "the model has no trainable parameter"


def test_complex_parameters() -> None:
    class Phase(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.turn = nn.Parameter(torch.ones(3, dtype=torch.complex64))

        def forward(self, x: Tensor) -> Tensor:
            return (x * self.turn).abs()

    error = refusal(task_of(Phase))
    assert error.what == "the parameter 'middle.turn' is of torch.complex64"
    assert error.allowed == "real floating-point parameters"


def test_integer_parameters_stay_as_they_are() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.order = nn.Parameter(torch.tensor([2, 0, 1]), requires_grad=False)

        def forward(self, x: Tensor) -> Tensor:
            return x[:, self.order]

    assert list(examine(task_of(Table)).shared) == ["middle.order"]


def classes(batch_size: int | None, labels: Tensor, **changes: Any) -> Task:
    data = (torch.randn(len(labels), 2, generator=torch.Generator().manual_seed(0)), labels)
    return Task(
        model=lambda: nn.Linear(2, 5),
        loss=F.cross_entropy,
        data=data,
        batch_size=batch_size,
        **changes,
    )


@pytest.mark.parametrize("batch_size", [None, 4, 999, 1000])
@pytest.mark.parametrize("bad", [5, -1])
@pytest.mark.parametrize("at", [0, 500, 999])
def test_one_bad_label_anywhere(batch_size: int | None, bad: int, at: int) -> None:
    labels = torch.arange(1000) % 5
    examine(classes(batch_size, labels))
    labels[at] = bad
    error = refusal(classes(batch_size, labels))
    assert error.what.startswith("the loss fails on the task's data: IndexError: Target ")
    assert f"{bad} is out of bounds" in error.what


@pytest.mark.parametrize("bad", [7, -1])
def test_one_token_out_of_range(bad: int) -> None:
    tokens = torch.arange(400).reshape(100, 4) % 7
    model = lambda: nn.Sequential(nn.Embedding(7, 2), nn.Flatten(), nn.Linear(8, 1))  # noqa: E731
    targets = torch.zeros(100, 1)
    examine(Task(model=model, loss=F.mse_loss, data=(tokens, targets), batch_size=8))
    tokens = tokens.clone()
    tokens[61, 2] = bad
    error = refusal(Task(model=model, loss=F.mse_loss, data=(tokens, targets), batch_size=8))
    assert error.what.startswith("0 (Embedding) fails on the task's data: IndexError")


def test_shapes_that_do_not_fit() -> None:
    error = refusal(task_of(lambda: nn.Linear(4, 3)))
    assert "middle (Linear) fails on the task's data: RuntimeError: mat1 and mat2" in error.what
    error = refusal(task_of(nn.Tanh, data=(X, torch.zeros(12, 2).long()), loss=F.cross_entropy))
    assert error.what.startswith("the loss fails on the task's data: RuntimeError")


def test_an_input_of_another_kind_or_number() -> None:
    assert "body (Linear) fails" in refusal(task_of(nn.Tanh, data=(X.long(), Y))).what
    error = refusal(task_of(nn.Tanh, data=((X, X), Y)))
    assert "the model (Net) fails on the task's data: TypeError" in error.what


def test_a_model_function_that_raises() -> None:
    def model() -> nn.Module:
        raise ValueError("no such size")

    error = refusal(Task(model=model, loss=F.mse_loss, data=(X, Y)))
    assert error.what == "the model can't be built: ValueError: no such size"


def test_a_model_function_that_gives_no_module() -> None:
    wrong: Any = lambda: lambda x: x  # noqa: E731
    error = refusal(Task(model=wrong, loss=F.mse_loss, data=(X, Y)))
    assert error.what == "`model` gave function"
    assert "returns a torch.nn.Module" in error.allowed


def test_initial_parameters_that_do_not_fit() -> None:
    error = refusal(task_of(nn.Tanh, init=lambda seed: {"body.weight": torch.zeros(1)}))
    assert "the model can't be built: RuntimeError: Error" in error.what


def test_batch_norm_without_momentum() -> None:
    """Its average over all steps reads the counter as a number."""
    error = refusal(task_of(lambda: nn.BatchNorm1d(3, momentum=None)))
    assert "middle (BatchNorm1d): a number or a branch" in error.what
    form = examine(task_of(lambda: nn.BatchNorm1d(3, momentum=None), allow_unpacked=True))
    assert "middle.running_mean" in form.changing


class Rotary(nn.Module):
    """A complex table, as transformers with rotary positions have it."""

    turn: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("turn", torch.polar(torch.ones(3), torch.tensor([0.3, 1.0, 2.0])))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.turn).imag


def test_a_complex_buffer_keeps_its_imaginary_part() -> None:
    for dtype in (torch.float32, torch.float64):
        turn = examine(task_of(Rotary), "cpu", dtype).shared["middle.turn"]
        assert turn.dtype == dtype.to_complex()
        torch.testing.assert_close(turn.imag.float(), torch.tensor([0.3, 1.0, 2.0]).sin())


class Parts(nn.Module):
    """One of everything that isn't a trainable parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(3, 3).tril())
        self.register_buffer("start", torch.randn(3))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("passing", torch.ones(3), persistent=False)
        self.frozen = nn.Parameter(torch.randn(3, 3), requires_grad=False)
        self.fixed = nn.Parameter(torch.ones(3), requires_grad=False)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        return self.norm((x + self.start) @ self.mask @ self.frozen * self.fixed * self.passing)


def test_what_every_run_has_of_its_own() -> None:
    form = examine(task_of(Parts))
    statistics = {f"middle.norm.{n}" for n in ("running_mean", "running_var")}
    changing = {*statistics, "middle.norm.num_batches_tracked", "middle.steps"}
    assert set(form.changing) == changing
    assert set(form.own) == {*changing, "middle.start", "middle.frozen"}
    assert set(form.shared) == {"middle.mask", "middle.passing", "middle.fixed"}
    assert not form.is_random and form.trouble == ""
    assert "middle.norm.weight" in form.layout.names and "middle.frozen" not in form.layout.names


@pytest.mark.parametrize(
    ("middle", "is_random"),
    [(nn.Tanh, False), (nn.Dropout, True), (lambda: nn.Dropout(0.0), False)],
)
def test_whether_a_forward_is_random(middle: Callable[[], nn.Module], is_random: bool) -> None:
    form = examine(task_of(middle))
    assert form.is_random == is_random == form.has_context


def test_tied_weights_are_one_parameter() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.there, self.back = nn.Linear(3, 3), nn.Linear(3, 3)
            self.back.weight = self.there.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.back(self.there(x))

    names = examine(task_of(Tied)).layout.names
    assert "middle.there.weight" in names and "middle.back.weight" not in names


def test_examining_leaves_the_global_generator_and_the_data_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    before = X.clone()
    examine(task_of(Permuted, allow_unpacked=True))
    examine(task_of(nn.Dropout))
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(X, before)


class Recurrent(nn.Module):
    def __init__(self, kind: Any, **settings: Any) -> None:
        super().__init__()
        self.layer = kind(1, 3, batch_first=True, **settings)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x[:, :, None])[0][:, -1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_pack(kind: Any, dtype: torch.dtype) -> None:
    """The fused LSTM of the CPU is left out: it has no batching rule, and warns of it."""
    assert examine(task_of(lambda: Recurrent(kind)), "cpu", dtype).trouble == ""
    assert torch.backends.mkldnn.enabled


def test_dropout_within_a_recurrent_layer() -> None:
    middle = lambda: Recurrent(nn.LSTM, num_layers=2, dropout=0.5)  # noqa: E731
    error = refusal(task_of(middle))
    assert "middle.layer (LSTM): random call bernoulli_" in error.what
    assert "a dropout layer" in error.cure


@pytest.mark.parametrize("batch_size", [1, 3, 4, 16])
@pytest.mark.parametrize("bad", range(4))
def test_the_one_bad_label_is_found_whatever_the_batch(batch_size: int, bad: int) -> None:
    """Of few samples, too: a batch that isn't whole isn't left out."""
    count = max(4, batch_size)
    labels = torch.arange(count) % 2
    labels[bad] = 5
    data = (torch.randn(count, 3), labels)
    with pytest.raises(SweepError, match="Target 5 is out of bounds"):
        examine(
            Task(
                model=lambda: nn.Linear(3, 2),
                loss=nn.functional.cross_entropy,
                data=data,
                batch_size=batch_size,
            )
        )


def test_lists_of_tensors_are_data_in_memory() -> None:
    inputs, labels = torch.randn(8, 3), torch.arange(8) % 2
    for data in ([inputs, labels], [[inputs], labels], ((inputs,), [labels])):
        task = Task(
            model=lambda: nn.Linear(3, 2),
            loss=lambda output, target: nn.functional.cross_entropy(
                output, target[0] if isinstance(target, tuple) else target
            ),
            data=data,
            batch_size=4,
        )
        assert task.in_memory and task.size == 8
        assert examine(task).trouble == ""
