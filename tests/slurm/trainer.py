"""A training program as small as can be: steps, a checkpoint, a warning that only sets a flag.

    trainer.py FOLDER [deaf]

Ends with 0 once FOLDER/finish is there, or after a warning at the end of a step; a deaf one does not listen.
"""

import os
import signal
import sys
import time
from pathlib import Path


def main() -> int:
    """Train until told to end."""
    folder, deaf = Path(sys.argv[1]), sys.argv[2:] == ["deaf"]
    rank = os.environ["SLURM_PROCID"]
    warned: list[int] = []
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN if deaf else lambda got, _: warned.append(got))
    checkpoint = folder / f"checkpoint.{rank}"
    step = int(checkpoint.read_text()) if checkpoint.exists() else 0
    sys.stdout.write(f"begins at {step} with GPUs {os.environ.get('CUDA_VISIBLE_DEVICES')}\n")
    sys.stdout.flush()
    while not warned and not (folder / "finish").exists():
        time.sleep(0.1)
        step += 1
    partial = checkpoint.with_name(f"{checkpoint.name}.partial")
    partial.write_text(str(step))
    partial.replace(checkpoint)
    sys.stdout.write(f"saved at {step}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
