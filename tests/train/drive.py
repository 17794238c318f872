"""Train from the command line with a recipe given as JSON, for tests that start, kill or multiply processes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from identity_kit.errors import IdkitError
from identity_kit.train import make_recipe, train


def main() -> int:
    data, model, out, recipe, *flags = sys.argv[1:]
    if "--small-files" in flags:  # no file above 64 kB: what a full disk does to a checkpoint
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
    if "--no-kernels" in flags:  # DeepSpeed would compile one for processes on a CPU, for a minute
        import deepspeed.ops

        deepspeed.ops.__compatible_ops__.clear()
    try:
        train(Path(data), Path(model), Path(out), make_recipe(**json.loads(recipe)), resume="--resume" in flags)
    except IdkitError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
