"""Several runs of the same data set at once."""

import random
import time

from storage.pair_sets import read_current
from tests.faults.conftest import Make, Table
from tests.faults.environment import EACH_PAIR, LONGEST, Calm, at_moment, compare, wait_until
from tests.faults.faulty_proxy import Fault


def test_two_runs_prepare_the_same_set(
    make_world: Make, calm: Calm, table: Table, chance: random.Random
) -> None:
    world, lead = make_world(), chance.uniform(0, 4)
    first = world.start("prepare", "tiny")
    time.sleep(lead)
    second = world.start("prepare", "tiny")
    codes = [world.end(first), world.end(second)]
    assert codes == [0, 0], world.log
    outcome = compare(world, calm, ("datasets",))
    table.add("Two `prepare` runs at once", f"the second {lead:.1f} s later", 2, outcome)


def test_a_refresh_leaves_training_alone(
    make_world: Make, calm: Calm, table: Table, chance: random.Random
) -> None:
    """A training run goes on with the pairs that it began with."""
    world = make_world()
    world.copy_from(calm.world, "datasets")
    store = world.store()
    before = read_current(store, "tiny")
    pattern = r"GET datasets/.*/pairs/.*\.tar"
    number = chance.randrange(calm.count("train", pattern) // 2)
    refreshed: list[int] = []

    def refresh() -> None:
        # Training waits for its pair meanwhile, so that all of it happens in the middle.
        refreshed.append(world.end(world.start("prepare", "tiny", "--refresh")))

    world.line.fault = at_moment(world.matcher(pattern), number, Fault("none", refresh))
    assert world.end(world.start("train", "tiny", **EACH_PAIR)) == 0, world.log
    # Where it took longer than training waits for an answer, training asked again.
    wait_until(lambda: bool(refreshed), LONGEST)
    assert refreshed == [0], world.log
    after = read_current(store, "tiny")
    assert before is not None and after is not None
    assert after.fingerprint != before.fingerprint
    trained = compare(world, calm, ("models", f"datasets/tiny/pairs/{before.fingerprint}"))
    table.add("`prepare --refresh` while a run trains", f"at pair {number + 1}", 2, trained)
