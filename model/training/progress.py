"""How far an epoch is, and what its losses were."""

from dataclasses import dataclass, field

# Steps that are averaged into one line of metrics.jsonl.
_LOG_INTERVAL_STEPS = 10


@dataclass
class EpochProgress:
    """The epoch in progress; checkpointed with the networks, so that a resumed one logs the same.

    Attributes
    ----------
    batches : steps done in it.
    recent, whole : sums of the figures since the last line, and since the epoch began.
    lines : for metrics.jsonl.
    """

    batches: int = 0
    recent: dict[str, float] = field(default_factory=dict)
    whole: dict[str, float] = field(default_factory=dict)
    lines: list[dict[str, float]] = field(default_factory=list)

    def add(
        self, metrics: dict[str, float], lr: float, epoch: int, step: int, is_last: bool
    ) -> None:
        """Count one step.

        Parameters
        ----------
        figures : of the step.
        lr : its learning rate.
        epoch, step : which they were, from 1.
        last : whether it ends the epoch.
        """
        self.batches += 1
        for sums in (self.recent, self.whole):
            for name, value in metrics.items():
                sums[name] = sums.get(name, 0.0) + value
        if is_last or self.batches % _LOG_INTERVAL_STEPS == 0:
            count = (self.batches - 1) % _LOG_INTERVAL_STEPS + 1
            means = _compute_means(self.recent, count)
            self.lines.append({"epoch": epoch, "step": step, "lr": lr, **means})
            self.recent = {}

    def compute_means(self) -> dict[str, float]:
        """Return the mean of each figure since the epoch began; of skipped steps the number."""
        return _compute_means(self.whole, self.batches)


def _compute_means(sums: dict[str, float], count: int) -> dict[str, float]:
    return {name: sums[name] / (1 if name == "skipped" else count) for name in sums}
