"""Progress of an epoch and the running sums of its metrics."""

from dataclasses import dataclass, field

# Number of steps that are averaged into one line of metrics.jsonl.
_LOG_INTERVAL_STEPS = 10


@dataclass
class EpochProgress:
    """The epoch in progress.

    Checkpoints hold it, so that a resumed run logs the same.

    Attributes
    ----------
    batches : int
        Completed steps of the epoch.
    recent : dict of str to float
        Sums of the metrics since the last line.
    whole : dict of str to float
        Sums of the metrics since the epoch began.
    lines : list of dict
        Lines for metrics.jsonl.

    Examples
    --------
    >>> progress = EpochProgress()
    >>> progress.add({"l1": 0.5, "skipped": 0.0}, lr=0.1, epoch=1, step=1, is_last=False)
    >>> progress.add({"l1": 0.3, "skipped": 1.0}, lr=0.1, epoch=1, step=2, is_last=True)
    >>> progress.compute_means()
    {'l1': 0.4, 'skipped': 1.0}
    """

    batches: int = 0
    recent: dict[str, float] = field(default_factory=dict)
    whole: dict[str, float] = field(default_factory=dict)
    lines: list[dict[str, float]] = field(default_factory=list)

    def add(
        self, metrics: dict[str, float], lr: float, epoch: int, step: int, is_last: bool
    ) -> None:
        """Add the metrics of a step.

        Parameters
        ----------
        metrics : dict of str to float
            Of the step.
        lr : float
            Its learning rate.
        epoch : int
            Number of the epoch, from 1.
        step : int
            Number of the step in the run, from 1.
        is_last : bool
            Whether it is the last step of the epoch.
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
        """Return the mean of each metric since the epoch began, and the number of skipped steps."""
        return _compute_means(self.whole, self.batches)


def _compute_means(sums: dict[str, float], count: int) -> dict[str, float]:
    return {name: sums[name] / (1 if name == "skipped" else count) for name in sums}
