"""What the scripts of both Python clients share: cases that are run in turn, and a record of them."""

import json
import sys
import time
import traceback

CASES = []


def case(run):
    """Marks a function as a case."""
    CASES.append(run)
    return run


def refused(kind, run):
    """The error that `run` ends with, which must be of this kind."""
    try:
        run()
    except kind as error:
        return error
    raise AssertionError(f"it was not refused with {kind.__name__}")


def main(package, version, client):
    """Runs every case and prints the record as JSON; the exit code says whether all held."""
    record = {"package": package, "version": version, "cases": {}}
    failed = False
    for run in CASES:
        began = time.monotonic()
        try:
            run(client)
            outcome = "held"
        except Exception:
            outcome = traceback.format_exc(limit=3)
            failed = True
        seconds = round(time.monotonic() - began, 2)
        print(f"    {package}: {run.__name__} {outcome if outcome != 'held' else f'{seconds} s'}", file=sys.stderr)
        record["cases"][run.__name__] = outcome
    print(json.dumps(record))
    sys.exit(failed)
