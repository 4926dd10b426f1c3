"""The `deleverage` command: exit codes and errors. Commands are in `replay/commands.py` and
`replay/risk_commands.py`, `replay/stress_commands.py`, `replay/profile_commands.py`, `replay/study_commands.py`,
imported only when one runs.

Exit codes: 0 ok, 1 bug, 2 usage or configuration, 3 bad feed, 4 broken invariant, 5 mismatch, 130 interrupted.
"""

import sys

USAGE, INTERRUPTED = 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments in (["--version"], ["-V"]):
        from replay import __version__

        print(f"deleverage {__version__}")
        return 0
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    try:
        return _run(arguments or ["--help"])
    except KeyboardInterrupt:
        if debug:
            raise
        print("interrupted; nothing was left half-written", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stdout = None  # the reader went away, as in `| head`: nothing is left to say
        return 0
    except Exception as error:
        if debug:
            raise
        return _report(error)


def _run(arguments: list[str]) -> int:
    from cyclopts import CycloptsError

    from replay.study_commands import app

    try:
        code = app(arguments, exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        return USAGE
    return code if isinstance(code, int) else 0


def _report(error: Exception) -> int:
    from exchange.errors import DeleverageError

    if isinstance(error, DeleverageError):
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(
        f"error: {type(error).__name__}: {error}\nThis is a bug. Run the same command with --debug for the traceback.",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
