"""What an import loads: `import sweeper` nothing heavy, training nothing of the sweep's stack."""

import subprocess
import sys

HEAVY = ("torch", "ray", "optuna", "mlflow", "pydantic", "sqlalchemy", "scipy", "pyarrow")
NOT_ON_A_GPU_NODE = ("ray", "optuna", "mlflow", "pydantic", "sqlalchemy", "scipy", "rich", "click")


def loaded_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_import_sweeper_is_light() -> None:
    assert not loaded_after("import sweeper") & set(HEAVY)


def test_help_is_light() -> None:
    assert not loaded_after("import sweeper.cli") & {"torch", "ray", "optuna", "mlflow"}


def test_training_needs_torch_numpy_pyarrow_and_safetensors_alone() -> None:
    block = "\n".join(f"sys.modules[{name!r}] = None" for name in NOT_ON_A_GPU_NODE)
    train = (
        "import sweeper, sweeper.lane.lane, sweeper.lane.capacity\n"
        "found = sweeper.train('digits', [{'lr': 1e-3}], horizon=3, compiled=False)\n"
        "assert found.loss.shape == (1, 3)"
    )
    assert "torch" in loaded_after(f"{block}\n{train}")
