"""Regenerate a section of docs/reproductions.md.

python -m reproductions stability [--scale 0.1 --docs /tmp/quick]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from reproductions import page
from reproductions.adai import part as adai
from reproductions.batch_size import part as batch_size
from reproductions.landscapes import part as landscapes
from reproductions.lr_sensitivity import part as lr_sensitivity
from reproductions.multitask import part as multitask
from reproductions.policies import part as policies
from reproductions.progress import Progress
from reproductions.scale import Scale
from reproductions.stability import part as stability
from reproductions.workflow import part as workflow

PARTS = {
    "stability": stability,
    "landscapes": landscapes,
    "batch_size": batch_size,
    "adai": adai,
    "multitask": multitask,
    "workflow": workflow,
    "lr_sensitivity": lr_sensitivity,
    "policies": policies,
}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--scale", type=float, default=1.0, help="of horizons, seeds and trials")
    parser.add_argument(
        "--docs", type=Path, help="folder of the page; a scaled run doesn't touch docs/"
    )
    arguments = parser.parse_args()
    if not 0 < arguments.scale <= 1:
        parser.error("--scale: allowed: above 0 and up to 1")
    torch.set_num_threads(1)
    docs = arguments.docs or (page.DOCS if arguments.scale == 1 else Path("build/reproductions"))
    progress = Progress()
    text = PARTS[arguments.part].make(Scale(arguments.scale), progress, docs / "figures")
    command = f"make reproduce PART={arguments.part}"
    command += "" if arguments.scale == 1 else f" SCALE={arguments.scale:g}"
    closing = page.made_with(command, progress.seconds)
    page.write(arguments.part, f"{text}\n\n{closing}", docs / page.PAGE.name)
    progress.say(f"written: {docs / page.PAGE.name}")


if __name__ == "__main__":
    main()
