"""`stconv refit`: a verified run trained once more, on all data up to the newest."""

from __future__ import annotations

import argparse

EPILOG = """examples:
  stconv refit air                            the newest run of that name, or a run id
  stconv refit air --register air_forecast    and make it the champion of that model

The refit has the configuration of the run, and the number of steps and the weights of combination
that its verification chose. First it is trained until the end of the validation period, and compared
with the run on all later windows: if it is worse there, it is refused. Then it is trained on all data.
Its bands come from the errors of both on windows that they were not trained on. The gate trusts it by
the scores of the verified run, which its model card says.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `stconv refit`."""
    parser.epilog = EPILOG
    parser.add_argument("run", metavar="RUN", help="id or name of a tested run")
    parser.add_argument(
        "--register",
        metavar="NAME",
        help="register the refit under this name, and promote it through the gate",
    )


def run(args: argparse.Namespace) -> int:
    """Refit, and print the names of the run and of the version."""
    from stconv.front.run import find

    found = find(args.run).refit(say=print)
    if args.register is None:
        print(f"To use it: stconv register {found.id} --name NAME, then stconv promote NAME")
        return 0
    print(found.register(args.register).promote())
    return 0
