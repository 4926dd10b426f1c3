"""The kernels against the plain-Python reference on one seeded stream: every outcome, and the whole state at the end."""

from collections import Counter

from exchange import codes, schema
from exchange.dump import dump
from exchange.reference.venue import ReferenceVenue
from exchange.venue import Exchange
from tests.campaign_events import make_events, make_venue
from tests.determinism import is_repeated, repeat_differences

FIELDS = schema.OUTCOME.names


def run_core(venue, events, batch=None, audit_every=0):
    """Outcomes (plain tuples), state and digest of the kernels over `events`, cut into batches."""
    exchange = Exchange(venue)
    batch = batch or len(events)
    outcomes = []
    for start in range(0, len(events), batch):
        exchange.submit(events[start:start + batch])
        exchange.run()
        outcomes += [tuple(int(v) for v in row) for row in exchange.outcomes().tolist()]
        if audit_every and (start // batch) % audit_every == 0:
            exchange.audit()
    end = int(events["ts_ns"][-1]) + 1
    exchange.run(end)
    outcomes += [tuple(int(v) for v in row) for row in exchange.outcomes().tolist()]
    exchange.audit()
    return outcomes, dump(exchange.state), exchange.digest()


def run_reference(venue, events):
    """Outcomes and state of the reference over `events`."""
    reference = ReferenceVenue(venue)
    reference.process(events)
    reference.run(int(events["ts_ns"][-1]) + 1)
    return [tuple(int(v) for v in row) for row in reference.outcomes()], reference.state()


def named(row):
    """One outcome as readable text."""
    values = dict(zip(FIELDS, row, strict=True))
    values["kind"] = codes.OUTCOME_NAME.get(values["kind"], values["kind"])
    values["code"] = codes.RESULT_NAME.get(values["code"], values["code"])
    return " ".join(f"{k}={v}" for k, v in values.items() if v or k in ("kind", "code"))


def first_difference(core, reference, events):
    """Readable text about the first outcome that differs; '' when none does."""
    for k, (a, b) in enumerate(zip(core, reference, strict=False)):
        if a != b:
            context = "\n".join("  both " + named(row) for row in core[max(0, k - 4):k])
            return f"outcome {k}\n{context}\n  core {named(a)}\n  ref  {named(b)}"
    if len(core) != len(reference):
        longer, name = (core, "core") if len(core) > len(reference) else (reference, "ref")
        k = min(len(core), len(reference))
        context = "\n".join("  both " + named(row) for row in longer[max(0, k - 4):k])
        return f"{name} has {abs(len(core) - len(reference))} more outcomes; the first is\n{context}\n  {name} {named(longer[k])}"
    return ""


def state_differences(core, reference):
    """The places in which two dumped states differ."""
    found = []
    for part in sorted(set(core) | set(reference)):
        a, b = core.get(part), reference.get(part)
        if a != b and isinstance(a, dict) and isinstance(b, dict):
            found += [f"{part}[{key}]: core {a.get(key)} ref {b.get(key)}" for key in sorted(set(a) | set(b)) if a.get(key) != b.get(key)]
        elif a != b:
            found.append(f"{part}: core {a} ref {b}")
    return found


def world(seed, count):
    """Venue and events of one seed."""
    venue = make_venue(seed)
    return venue, make_events(venue, seed, count)


def compare(seed, count):
    """Run one seed through both, one in twenty also twice through the kernels.

    Returns the outcome counts and the digest, or raises AssertionError with the first difference.
    """
    venue, events = world(seed, count)
    core, core_state, digest = run_core(venue, events)
    reference, reference_state = run_reference(venue, events)
    difference = first_difference(core, reference, events)
    assert not difference, f"seed {seed}: {difference}"
    differences = state_differences(core_state, reference_state)
    assert not differences, f"seed {seed}: states differ\n" + "\n".join(differences[:12])
    if is_repeated(seed):
        parts = repeat_differences(lambda: world(seed, count))
        assert not parts, f"seed {seed}: run twice it differs in {', '.join(parts)}"
    return Counter((row[FIELDS.index("kind")], row[FIELDS.index("code")]) for row in core), digest


if __name__ == "__main__":
    import sys
    import traceback

    first, last, size = (int(a) for a in sys.argv[1:4])
    bad = 0
    for seed in range(first, last):
        try:
            counts, digest = compare(seed, size)
        except Exception as error:
            bad += 1
            text = str(error) if isinstance(error, AssertionError) else traceback.format_exc()
            print(f"seed {seed} FAIL {text[:1800]}")
    print(f"{last - first - bad} equal, {bad} different")
