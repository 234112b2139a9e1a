"""Batches on which a task is tried: with the smallest and the largest of labels and tokens."""

from __future__ import annotations

from operator import itemgetter

from sweeper.tasks.parts import Part, each, tensors
from sweeper.tasks.task import Task


def trial_batches(task: Task) -> list[tuple[Part, Part]]:
    """Whole batches on the CPU, at least one.

    Of data in memory, those with the extremes of everything that isn't floating-point; of a
    Dataset the first two. The full batch has it all.
    """
    if not task.in_memory:
        return [task.batch(0, step) for step in range(min(2, task.epoch_steps))]
    if task.batch_size is None:
        return [task.data]
    size, found = task.batch_size, _extremes(task.data)
    rest = [sample for sample in range(min(task.size, size + len(found))) if sample not in found]
    chosen = found + rest
    batches = []
    for start in range(0, max(1, len(found)), size):
        first = min(start, len(chosen) - size)  # every batch is whole
        inputs, targets = (each(itemgetter(chosen[first : first + size]), p) for p in task.data)
        batches.append((inputs, targets))
    return batches


def _extremes(data: tuple[Part, Part]) -> list[int]:
    """Samples with the smallest and the largest label or token."""
    found: list[int] = []
    for one in (*tensors(data[0]), *tensors(data[1])):
        if one.is_floating_point() or one.is_complex() or not one.numel():
            continue
        values = one.reshape(len(one), -1).long()
        found += [int(values.min(1)[0].argmin()), int(values.max(1)[0].argmax())]
    return list(dict.fromkeys(found))
