"""Several runs of the same data set at once."""

import random
import time

from storage.pair_sets import read_current
from tests.faults.conftest import MakeEnvironment, OutcomeTable
from tests.faults.environment import (
    COMMAND_TIMEOUT_S,
    NO_SHARD_CACHE,
    Baseline,
    compare_with_baseline,
    fault_at_request,
    wait_until,
)
from tests.faults.faulty_proxy import Fault


def test_two_runs_prepare_the_same_set(
    make_environment: MakeEnvironment, baseline: Baseline, table: OutcomeTable, rng: random.Random
) -> None:
    environment, delay = make_environment(), rng.uniform(0, 4)
    first = environment.start("prepare", "tiny")
    time.sleep(delay)
    second = environment.start("prepare", "tiny")
    codes = [environment.wait(first), environment.wait(second)]
    assert codes == [0, 0], environment.log
    outcome = compare_with_baseline(environment, baseline, ("datasets",))
    table.add("Two `prepare` runs at once", f"the second {delay:.1f} s later", 2, outcome)


def test_a_refresh_leaves_training_alone(
    make_environment: MakeEnvironment, baseline: Baseline, table: OutcomeTable, rng: random.Random
) -> None:
    """A training run goes on with the pairs that it began with."""
    environment = make_environment()
    environment.copy_from(baseline.environment, "datasets")
    store = environment.open_store()
    previous = read_current(store, "tiny")
    pattern = r"GET datasets/.*/pairs/.*\.tar"
    number = rng.randrange(baseline.count_requests("train", pattern) // 2)
    exit_codes: list[int] = []

    def prepare_again() -> None:
        # Training waits for its pair meanwhile, so that all of it happens in the middle.
        exit_codes.append(environment.wait(environment.start("prepare", "tiny", "--force")))

    environment.proxy.fault = fault_at_request(
        environment.matcher(pattern), number, Fault("none", prepare_again)
    )
    assert environment.wait(environment.start("train", "tiny", **NO_SHARD_CACHE)) == 0, (
        environment.log
    )
    # Where it took longer than training waits for an answer, training asked again.
    wait_until(lambda: bool(exit_codes), COMMAND_TIMEOUT_S)
    assert exit_codes == [0], environment.log
    current = read_current(store, "tiny")
    assert previous is not None and current is not None
    assert current.fingerprint != previous.fingerprint
    outcome = compare_with_baseline(
        environment, baseline, ("models", f"datasets/tiny/pairs/{previous.fingerprint}")
    )
    table.add("`prepare --force` while a run trains", f"at pair {number + 1}", 2, outcome)
