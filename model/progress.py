"""How far an epoch is, and what its losses were."""

from dataclasses import dataclass, field

# Steps that are averaged into one line of metrics.jsonl.
_LINE_EVERY = 10


@dataclass
class EpochProgress:
    """The epoch in progress; checkpointed with the networks, so that a resumed one logs the same.

    Attributes
    ----------
    batches : steps done in it.
    recent, whole : sums of the losses since the last line, and since the epoch began.
    lines : for metrics.jsonl.
    """

    batches: int = 0
    recent: dict[str, float] = field(default_factory=dict)
    whole: dict[str, float] = field(default_factory=dict)
    lines: list[dict[str, float]] = field(default_factory=list)

    def add(self, losses: dict[str, float], epoch: int, step: int, last: bool) -> None:
        """Count one step.

        Parameters
        ----------
        losses : of the step.
        epoch, step : which they were, from 1.
        last : whether it ends the epoch.
        """
        self.batches += 1
        for sums in (self.recent, self.whole):
            for loss, value in losses.items():
                sums[loss] = sums.get(loss, 0.0) + value
        if last or self.batches % _LINE_EVERY == 0:
            count = (self.batches - 1) % _LINE_EVERY + 1
            means = {loss: value / count for loss, value in self.recent.items()}
            self.lines.append({"epoch": epoch, "step": step, **means})
            self.recent = {}

    def means(self) -> dict[str, float]:
        """Return the mean of each loss since the epoch began."""
        return {loss: value / self.batches for loss, value in self.whole.items()}
