"""What ``test_distributed`` has two processes do together; torchrun starts this in each."""

import sys
from pathlib import Path

import torch

from model.training.callbacks import Hooks, TrainingStopped
from model.training.checkpoint import start_state
from model.training.distributed import ALONE, Crew, join_crew
from model.training.step import call_networks, train_step
from model.training.train import train
from storage import LocalStore
from tests.model.training.test_train import CPU, SMALL

FIXED = SMALL.model_copy(update={"precision": "f32", "pool": 3, "clip": 0.0})
# What divides, what does not, and what leaves nothing for the second.
BATCHES = (4, 5, 1)


def take_steps(crew: Crew = ALONE, spoilt: bool = False) -> list[dict[str, torch.Tensor]]:
    """Take a step on a batch of each size; return gradients, losses and weights of each.

    Where they are spoilt, the second process alone has what is no number.
    """
    state = start_state(FIXED, CPU)
    networks = call_networks(state, False, crew)
    random = torch.Generator().manual_seed(0)
    found = []
    for count in BATCHES:
        condition = torch.rand(count, 1, 64, 64, generator=random).round()
        target = torch.rand(count, 3, 64, 64, generator=random) * 2 - 1
        if spoilt and count > 1:
            condition[1] = torch.nan
        share = crew.share(count)
        batch = condition[share.places], target[share.places]
        figures = train_step(state, networks, *batch, FIXED, share)
        step = {name: torch.tensor(value) for name, value in figures.items()}
        for kind in ("generator", "discriminator", "drawing"):
            for name, parameter in getattr(state, kind).named_parameters():
                step[f"{kind} {name}"] = parameter.detach().clone()
                if parameter.grad is not None:
                    step[f"{kind} {name} gradient"] = parameter.grad.clone()
        assert state.pool.kept is not None
        step["pool"] = state.pool.kept.clone()
        found.append(step)
    return found


def main(folder: Path) -> None:
    with join_crew() as crew:
        assert crew.size == 2
        found = {"steps": take_steps(crew), "skipped": take_steps(crew, spoilt=True)[:2]}

        def follow(name: str, stop: int = -1) -> list[int]:
            """Train in one of the folders; the second process alone asks to stop."""
            steps: list[int] = []
            store = LocalStore(folder / name)
            try:
                train(
                    store,
                    "tiny",
                    "pairs",
                    FIXED,
                    hooks=Hooks(
                        on_step=lambda done, _: steps.append(done),
                        should_stop=lambda: steps[-1] == stop and crew.rank == 1,
                    ),
                    crew=crew,
                )
            except TrainingStopped:
                assert steps[-1] == stop
            return steps

        followed = [follow("whole"), follow("begun alone"), follow("begun together", stop=4)]
        torch.save({**found, "followed": followed}, folder / f"rank-{crew.rank}.pt")

        def refuse() -> None:
            raise ValueError("refused")

        try:
            crew.lead(refuse)
        except ValueError as error:
            (folder / f"told-{crew.rank}").write_text(str(error))
    tasks = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
    (folder / f"threads-{crew.rank}").write_text("\n".join(sorted(tasks)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
