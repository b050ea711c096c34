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


def test_two_prepare_runs_give_the_same_set(
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


def test_prepare_force_does_not_affect_a_training_run(
    make_environment: MakeEnvironment, baseline: Baseline, table: OutcomeTable, rng: random.Random
) -> None:
    """A training run keeps reading the pair set that it started with."""
    environment = make_environment()
    environment.copy_from(baseline.environment, "datasets")
    store = environment.open_store()
    previous = read_current(store, "tiny")
    pattern = r"GET datasets/.*/pairs/.*\.tar"
    number = rng.randrange(baseline.count_requests("train", pattern) // 2)
    exit_codes: list[int] = []

    def prepare_again() -> None:
        # The training's request waits meanwhile, so all of this happens in the middle of the run.
        exit_codes.append(environment.wait(environment.start("prepare", "tiny", "--force")))

    environment.proxy.fault = fault_at_request(
        environment.matcher(pattern), number, Fault("none", prepare_again)
    )
    assert environment.wait(environment.start("train", "tiny", **NO_SHARD_CACHE)) == 0, (
        environment.log
    )
    # If it took longer than the timeout of training's request, training retried the request.
    wait_until(lambda: bool(exit_codes), COMMAND_TIMEOUT_S)
    assert exit_codes == [0], environment.log
    current = read_current(store, "tiny")
    assert previous is not None and current is not None
    assert current.fingerprint != previous.fingerprint
    outcome = compare_with_baseline(
        environment, baseline, ("models", f"datasets/tiny/pairs/{previous.fingerprint}")
    )
    table.add("`prepare --force` while a run trains", f"at pair {number + 1}", 2, outcome)
