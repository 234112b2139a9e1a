"""How long slots waited, by a clock of the test's own."""

from sweeper.lane.idleness import Idleness


def test_seconds_are_weighted_by_the_share_of_empty_slots():
    now = [100.0]
    idleness = Idleness(lambda: now[0])
    for at, empty in ((100.0, 1.0), (102.0, 0.25), (106.0, 0.0), (110.0, 0.0)):
        now[0] = at
        idleness.note(empty)
    assert (idleness.waited_s, idleness.lived_s) == (2 * 1.0 + 4 * 0.25, 10.0)
