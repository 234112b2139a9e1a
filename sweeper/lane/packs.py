"""The packs of a lane, one for each program: what goes where, and which is trained next.

A step of a pack takes as long for one run as for all of its slots. So a lane trains its fullest
pack until another is fuller, and takes runs of other programs until one pack is full. What waits
meanwhile is not lost: packs empty, and the fullest one is another's turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from sweeper.lane import loop_folder
from sweeper.lane.loop_pack import OWN_LOOP, LoopPack
from sweeper.lane.memory import lack_of_memory_told
from sweeper.lane.pack import Pack
from sweeper.lane.run import Run
from sweeper.lane.settings import LaneSettings
from sweeper.lane.storage import Storage
from sweeper.lane.timed_pack import TimedPack
from sweeper.optim.arena import SavedRow
from sweeper.optim.configuration import Program, parse
from sweeper.tasks.own_loop import OwnLoop
from sweeper.tasks.task import Task
from sweeper.tasks.variants import shared

# Packs that a lane keeps: each holds the memory of all of its slots.
MOST_PACKS = 8


class Packs:
    """The packs of a lane, by program.

    Args:
        settings: of the lane.
        storage: where the folders of own loops are.

    Attributes:
        used, offered: slots that had a run, and all slots, summed over the steps trained.
    """

    def __init__(self, settings: LaneSettings, storage: Storage) -> None:
        self._settings, self._storage = settings, storage
        self._variants = shared(settings.task)
        self._packs: dict[Program, TimedPack] = {}
        self._turn = 0
        self.used = self.offered = 0

    def __iter__(self) -> Iterator[TimedPack]:
        return iter(self._packs.values())

    @property
    def active(self) -> int:
        """Runs in slots."""
        return sum(len(one.ends) for one in self)

    @property
    def empty(self) -> float:
        """The share of empty slots in the pack that is trained."""
        return 1 - max((len(one.ends) for one in self), default=0) / self._settings.capacity

    def task(self, run: Run) -> Task | OwnLoop:
        """The task as a run has it."""
        return self._variants.load(parse(run.config).variant)

    def program(self, run: Run) -> Program:
        """The program of a run; one for all own loops."""
        program = parse(run.config).program
        is_loop = isinstance(self._variants.load(program.variant), OwnLoop)
        return OWN_LOOP if is_loop else program

    def holder(self, run: int) -> TimedPack | None:
        """The pack that has a run."""
        return next((one for one in self if run in one.ends), None)

    def has_room(self, program: Program) -> bool:
        """Whether a run of that program can be placed."""
        if program in self._packs:
            return self._packs[program].pack.free > 0
        return len(self._packs) < MOST_PACKS or any(not one.ends for one in self)

    def place(self, run: Run, row: SavedRow | None) -> int:
        """Put a run into a slot of its program's pack; returns the step that it is at.

        Raises:
            PackTooLargeError: memory doesn't suffice.
        """
        program = self.program(run)
        with lack_of_memory_told():
            if program not in self._packs:
                self._drop_oldest()
                self._packs[program] = self._make(program)
            one = self._packs[program]
            slot = one.pack.place(run, row)
        one.ends[run.id] = run.horizon
        return one.pack.step_of(slot)

    def next(self, *, in_turn: bool = False) -> TimedPack | None:
        """The pack to be trained now; None where there are no runs.

        Args:
            in_turn: one after another, not the fullest one first.
        """
        holding = [one for one in self if one.ends]
        if in_turn:
            return min(holding, key=lambda one: one.turn, default=None)
        return max(holding, key=lambda one: len(one.ends), default=None)  # the older of equals

    def note_turn(self, one: TimedPack, steps: int) -> None:
        """Note that a pack is trained by so many steps."""
        self._turn += 1
        one.turn = self._turn
        self.used += steps * len(one.ends)
        self.offered += steps * one.pack.capacity

    def room(self, waiting: Iterable[Program], chunks: int = 1) -> int:
        """Runs that the lane can take: free slots of its fullest pack, and those whose run ends
        within the next chunks.

        Args:
            waiting: programs of the runs that aren't placed yet.
            chunks: that are trained until runs come which are asked for now.
        """
        counts = Counter({program: len(one.ends) for program, one in self._packs.items()})
        counts.update(waiting)
        capacity = self._settings.capacity
        most = capacity * min(self._settings.programs, MOST_PACKS)
        free = min(capacity - max(counts.values(), default=0), most - counts.total())
        coming = self.next()
        return free + (coming.ending(chunks) if coming is not None else 0)

    def clear(self) -> None:
        """Give the memory of all packs back."""
        self._packs.clear()

    def _drop_oldest(self) -> None:
        """Give the memory of a pack back that has no runs, where there are many packs."""
        if len(self._packs) >= MOST_PACKS:
            empty = [program for program, one in self._packs.items() if not one.ends]
            del self._packs[min(empty, key=lambda program: self._packs[program].turn)]

    def end_loops(self) -> None:
        """End the processes of own loops."""
        for one in self:
            if isinstance(one.pack, LoopPack):
                one.pack.close()

    def _make(self, program: Program) -> TimedPack:
        settings = self._settings
        if program == OWN_LOOP:
            folder = self._storage.local(loop_folder.FOLDER)
            loop = LoopPack(settings.task, folder, settings.machine, wanted=settings.metrics)
            return TimedPack(loop, settings.chunk_s)
        pack = Pack(
            self._variants.of(program.variant),
            program,
            settings.capacity,
            settings.machine,
            extras=settings.extras,
            update_cosine=settings.update_cosine,
        )
        return TimedPack(pack, settings.chunk_s)
