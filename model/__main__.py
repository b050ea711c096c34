"""One of the processes that train a run together: ``torchrun -m model ORDER``; see ``launch``."""

import os
import signal
import stat
import sys
import threading
import time

import numpy as np
from numpy.typing import NDArray

from config.errors import IcanvasError
from model.training.callbacks import Hooks, TrainingStopped
from model.training.distributed import join_crew
from model.training.launch import Message, Order
from model.training.train import train
from storage import open_store

# So that a line of several processes stays one: what a pipe takes at once, less the rest of it.
_LONGEST = 3_000


def main(order: Order) -> None:
    """Train, and say so; ends the process with an error's exit code."""
    asked = listen(order.patience)

    def say(message: Message) -> None:
        try:
            # In one write: other threads speak, too.
            sys.stdout.write(message.model_dump_json(exclude_defaults=True) + "\n")
            sys.stdout.flush()
        except OSError:
            # Nobody is there any more.
            asked.set()

    with join_crew() as crew:
        speak = say if crew.leads else lambda _: None
        try:
            run = train(
                open_store(order.store),
                order.dataset,
                order.pairs,
                order.recipe,
                order.refresh,
                Hooks(
                    on_trace=lambda *traced: speak(Message(traced=traced)),
                    on_step=lambda *step: speak(Message(step=step)),
                    on_line=lambda line: speak(Message(line=line)),
                    on_epoch=lambda *epoch: speak(Message(epoch=epoch)),
                    on_trouble=lambda what: speak(Message(trouble=what[:_LONGEST])),
                    should_stop=asked.is_set,
                ),
                sketches=read_sketches(order),
                crew=crew,
            )
            speak(Message(done=run))
        except TrainingStopped as stopped:
            speak(Message(stopped=str(stopped)))
        except Exception as error:
            if isinstance(error, IcanvasError):
                say(Message(error=(type(error).__name__, str(error)[:_LONGEST])))
            else:
                say(Message(lost=f"{type(error).__name__}: {error}"[:_LONGEST]))
                sys.excepthook(*sys.exc_info())
            # Not by way of the others, who may wait for this one in the middle of a step.
            sys.stderr.flush()
            os._exit(getattr(error, "exit_code", 1))


def read_sketches(order: Order) -> list[NDArray[np.uint8]]:
    """Return the drawings by hand that an order names, in their order."""
    if order.sketches is None:
        return []
    with np.load(order.sketches) as file:
        return [file[name] for name in file.files]


def listen(patience: int) -> threading.Event:
    """Return what is set by SIGTERM, by Ctrl-C, and by the end of the process that started us.

    After that end so many seconds are left.
    """
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())

    def wait_for_end() -> None:
        while os.read(0, 1):
            pass
        asked.set()
        time.sleep(patience)
        os._exit(1)

    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=wait_for_end, daemon=True).start()
    return asked


if __name__ == "__main__":
    main(Order.model_validate_json(sys.argv[1]))
