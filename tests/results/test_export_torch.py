"""Exported torch, Lightning and transformers scripts train as sweeper does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import export_cases as ec
import lightning
import pytest
import torch
import transformers
from torch.utils.data import DataLoader, Dataset, SequentialSampler

from sweeper.results.export.registry import render

# In float64: the order of a few roundings differs.
_CLOSE = 1e-10
_NATIVE = ("adam", "adamw_mask", "sgd_nesterov_wsd", "clip_norm", "onecycle_beta1", "lion_decay")
_LIGHTNING = (*_NATIVE, "adam_eps_hat", "clip_value", "cyclical_momentum", "stable_adamw", "adai")
_ARGUMENTS = ("adam", "adam_large_eps", "adamw_no_decay_at_all", "sgd_nesterov", "rmsprop",
              "rmsprop_centered", "linear", "cosine", "clip_norm")  # fmt: skip
_OPTIMIZERS = ("adamw", "adamw_mask", "warmup", "adam_l2", "clip_value", "clip_norm_l2", "amsgrad",
               "lion_decay", "cyclical_momentum", "sgd_nesterov_wsd", "adagrad")  # fmt: skip


@pytest.mark.parametrize("case", ec.CASES)
def test_torch(case: str) -> None:
    names = ec.run_text(render(ec.found(ec.CASES[case]), "torch"))
    problem = ec.Problem()
    ec.train(problem, *names["make_optimizer"](problem))
    assert ec.distance(case, problem.vector()) < _CLOSE


def test_a_script_for_torch_needs_torch_alone() -> None:
    for case in ec.CASES.values():
        text = render(ec.found(case), "torch")
        lines = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
        packages = {line.split()[1].partition(".")[0] for line in lines}
        assert packages <= {"__future__", "collections", "fnmatch", "math", "torch", "typing"}


def test_fractions_follow_the_number_of_steps() -> None:
    names = ec.run_text(render(ec.found(ec.CASES["adamw_mask"], 5000), "torch"))
    problem = ec.Problem()
    ec.train(problem, *names["make_optimizer"](problem, ec.STEPS))
    assert ec.distance("adamw_mask", problem.vector()) < _CLOSE
    assert names["TOTAL_STEPS"] == 5000


def test_a_saved_run_goes_on() -> None:
    names = ec.run_text(render(ec.found(ec.CASES["cyclical_momentum"]), "torch"))
    problem = ec.Problem()
    optimizer, scheduler = names["make_optimizer"](problem)
    states: Any = None
    for step in range(ec.STEPS):
        if step == 77:
            states = optimizer.state_dict(), scheduler.state_dict()
            optimizer, scheduler = names["make_optimizer"](problem)
            optimizer.load_state_dict(states[0])
            scheduler.load_state_dict(states[1])
        optimizer.zero_grad()
        problem(torch.tensor(step)).backward()
        optimizer.step()
        scheduler.step()
    assert ec.distance("cyclical_momentum", problem.vector()) < _CLOSE


@pytest.mark.parametrize("target", ["lightning", "transformers"])
def test_every_case_has_its_optimizer_or_arguments(target: str) -> None:
    for case, config in ec.CASES.items():
        names = ec.run_text(render(ec.found(config), target))
        if "make_optimizer" not in names:
            assert target == "transformers"
            assert not config.get("weight_decay")
            assert case in _ARGUMENTS or config["optimizer"] in ("sgd", "adam")
            continue
        problem = ec.Problem()
        optimizer, scheduler = names["make_optimizer"](problem)
        clips_itself = target == "transformers" and "clip_value" in config
        ec.train(problem, optimizer, scheduler, {} if clips_itself else config)
        assert ec.distance(case, problem.vector()) < _CLOSE, case


def test_a_pattern_without_a_parameter_is_refused() -> None:
    names = ec.run_text(render(ec.found(ec.CASES["adamw_pattern"]), "torch"))
    with pytest.raises(ValueError, match=r"no parameter matches 'dense\.\*'"):
        names["make_optimizer"](torch.nn.Sequential(ec.Problem()))


class Steps(Dataset[Any]):
    """The numbers of the steps."""

    def __init__(self, key: str | None = None) -> None:
        self.key = key

    def __len__(self) -> int:
        return ec.STEPS

    def __getitem__(self, index: int) -> Any:
        return torch.tensor(index) if self.key is None else {self.key: torch.tensor(index)}


@pytest.mark.parametrize("case", _LIGHTNING)
@pytest.mark.filterwarnings("ignore")
def test_lightning(case: str, tmp_path: Path) -> None:
    names = ec.run_text(render(ec.found(ec.CASES[case]), "lightning"))

    class Module(names["RecommendedOptimizer"], lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.problem = ec.Problem()

        def training_step(self, batch: Any, index: int) -> Any:
            return self.problem(batch)

    module = Module()
    trainer = lightning.Trainer(
        max_steps=names["TOTAL_STEPS"], accelerator="cpu", logger=False, barebones=True,
        default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(module, DataLoader(Steps(), batch_size=1))
    assert ec.distance(case, module.problem.vector()) < _CLOSE


@pytest.mark.parametrize("case", sorted({*_ARGUMENTS, *_OPTIMIZERS}))
@pytest.mark.filterwarnings("ignore")
def test_transformers(case: str, tmp_path: Path) -> None:
    names = ec.run_text(render(ec.found(ec.CASES[case]), "transformers"))
    assert ("make_optimizer" in names) == (case in _OPTIMIZERS)

    class Model(ec.Problem):
        def forward(self, step: Any) -> Any:
            return {"loss": super().forward(step)}

    class Trainer(transformers.Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, *arguments: Any) -> Any:
            return SequentialSampler(self.train_dataset)

    model = Model()
    given = {"optimizers": names["make_optimizer"](model)} if "make_optimizer" in names else {}
    arguments = names["training_arguments"](
        str(tmp_path), report_to=[], save_strategy="no", disable_tqdm=True, use_cpu=True,
        per_device_train_batch_size=1, remove_unused_columns=False, logging_strategy="no",
    )  # fmt: skip
    Trainer(model=model, args=arguments, train_dataset=Steps("step"), **given).train()
    assert ec.distance(case, model.vector()) < _CLOSE
