"""The program that ``test_distributed`` runs in two processes with torchrun."""

import sys
from pathlib import Path

import torch

from model.training.callbacks import TrainingCallbacks, TrainingStopped
from model.training.checkpoint import init_state
from model.training.distributed import SINGLE_PROCESS, DistributedContext, init_distributed
from model.training.step import prepare_networks, train_step
from model.training.train import train
from storage import LocalStore
from tests.model.training.test_train import CPU, SMALL

FIXED = SMALL.model_copy(update={"precision": "f32", "image_pool_size": 3, "max_grad_norm": 0.0})
# Divisible by two, not divisible, and too small for the second process.
BATCHES = (4, 5, 1)


def take_steps(
    context: DistributedContext = SINGLE_PROCESS, with_nan: bool = False
) -> list[dict[str, torch.Tensor]]:
    """Take a step for each batch size; return its gradients, losses and weights.

    With ``with_nan`` the shard of the second process contains NaN.
    """
    state = init_state(FIXED, CPU)
    networks = prepare_networks(state, False, context)
    random = torch.Generator().manual_seed(0)
    results = []
    for count in BATCHES:
        condition = torch.rand(count, 1, 64, 64, generator=random).round()
        target = torch.rand(count, 3, 64, 64, generator=random) * 2 - 1
        if with_nan and count > 1:
            condition[1] = torch.nan
        shard = context.shard_batch(count)
        batch = condition[shard.indices], target[shard.indices]
        metrics = train_step(state, networks, *batch, FIXED, shard)
        step = {name: torch.tensor(value) for name, value in metrics.items()}
        for network in ("generator", "discriminator", "eval_generator"):
            for name, parameter in getattr(state, network).named_parameters():
                step[f"{network} {name}"] = parameter.detach().clone()
                if parameter.grad is not None:
                    step[f"{network} {name} gradient"] = parameter.grad.clone()
        assert state.image_pool.images is not None
        step["pool"] = state.image_pool.images.clone()
        results.append(step)
    return results


def main(folder: Path) -> None:
    with init_distributed() as context:
        assert context.world_size == 2
        results = {"steps": take_steps(context), "skipped": take_steps(context, with_nan=True)[:2]}

        def train_run(name: str, stop: int = -1) -> list[int]:
            """Train in one of the folders; only the second process requests the stop."""
            steps: list[int] = []
            store = LocalStore(folder / name)
            try:
                train(
                    store,
                    "tiny",
                    "pairs",
                    FIXED,
                    callbacks=TrainingCallbacks(
                        on_step=lambda done, _: steps.append(done),
                        should_stop=lambda: steps[-1] == stop and context.rank == 1,
                    ),
                    context=context,
                )
            except TrainingStopped:
                assert steps[-1] == stop
            return steps

        runs = [train_run("two"), train_run("started by one"), train_run("started by two", stop=4)]
        torch.save({**results, "runs": runs}, folder / f"rank-{context.rank}.pt")

        def fail() -> None:
            raise ValueError("failed")

        try:
            context.run_on_main(fail)
        except ValueError as error:
            (folder / f"error-{context.rank}").write_text(str(error))
    tasks = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
    (folder / f"threads-{context.rank}").write_text("\n".join(sorted(tasks)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
