"""`make bench-service`: the service against the bare model, over loopback, with a real server.

The model is the published STConvS2S-R on a 32 x 32 grid, five frames in and five out, weights as drawn.
The bare model is `Forecaster.predict` in a process of its own with as many threads as the server's, and once
more with its memory kept as the service keeps it. Machines change their speed within a minute, so what is
compared is measured by turns.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.bare import BATCH, Bare, bodies, save_bundle
from benchmarks.load import KINDS, SERVERS, Asked, Client, Elsewhere, Service, ask_at, ask_on
from benchmarks.processes import processor_seconds

PLACES = 34
"""Requests that a server has room for: two batches, the queue, and what is being read."""
ROUNDS = 4
IN_A_ROW = 5
"""Requests of one client between as many of the bare model: the first finds the caches of the other."""
GOODPUT = "goodput"
FACTORS = (1, 2, 4, 10)
"""Loads, in multiples of what is answered with all places taken."""
RAMP_SECONDS = 1
"""Until the clients' requests fill the batches."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="of the model, alone and served (default: 1)")
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement (default: 8)")
    parser.add_argument("--kind", nargs="+", choices=list(KINDS), default=list(KINDS), help="of the body")
    parser.add_argument(
        "--part",
        nargs="+",
        choices=[*PARTS, GOODPUT],
        default=[*PARTS, GOODPUT],
        help="of the measurements (default: all)",
    )
    parser.add_argument("--soak", type=float, default=0, metavar="MINUTES", help="of saturation, for memory")
    args = parser.parse_args()
    sent = bodies()
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "air"
        save_bundle(bundle)
        if GOODPUT in args.part:
            goodput(bundle, args.kind[0], sent[args.kind[0]], args.seconds)
        parts = [part for part in args.part if part != GOODPUT]
        if not (parts or args.soak):
            return
        with (
            Bare(bundle, args.threads) as plain,
            Bare(bundle, args.threads, keeping=True) as keeping,
            Service(bundle, args.threads) as service,
        ):
            bare = {"bare model": plain, "bare model, memory kept": keeping}
            for part in parts:
                for kind in args.kind[:1] if part == "overload" else args.kind:
                    asyncio.run(PARTS[part](bare, service, kind, sent[kind], args.seconds))
            if args.soak:
                asyncio.run(soak(service, args.kind[0], sent[args.kind[0]], args.soak))


Bares = dict[str, Bare]


async def latency(bare: Bares, service: Service, kind: str, body: bytes, seconds: float) -> None:
    """One client, who asks nothing while the bare model works, and the other way round."""
    client = Client(service.port, kind, body)
    for _ in range(10):  # the form of the upload is learned, and what is fast only when used is used
        await client.ask()
    alone: dict[str, list[list[float]]] = {name: [] for name in bare}
    served: list[list[Asked]] = []
    end = time.perf_counter() + 2 * seconds
    while time.perf_counter() < end:
        for name, model in bare.items():
            alone[name].append([spent for _ in range(IN_A_ROW) for spent in model.spent(1)])
        served.append([await client.ask() for _ in range(IN_A_ROW)])
    client.close()
    seconds_served = [[one.seconds for one in row] for row in served]
    for name in bare:
        added = np.median(seconds_served, axis=1) - np.median(alone[name], axis=1)
        say(f"{name}, one window", 1e3 * float(np.median(alone[name])), "ms")
        say(f"{kind}: added to that, median", 1e3 * float(np.median(added)), "ms", "<= 5")
    parts = [one.parts for row in served for one in row]
    text = ", ".join(f"{name} {np.median([each[name] for each in parts]):.1f}" for name in parts[0])
    print(f"  Server-Timing, medians, ms: {text}")


async def throughput(bare: Bares, service: Service, kind: str, body: bytes, seconds: float) -> None:
    """Twice as many clients as a batch has windows; periods of the bare model between theirs."""
    answered = 0
    batches: dict[str, list[float]] = {name: [] for name in bare}
    n, spent = 0, dict.fromkeys(("client", "server", "parsers", "model"), 0.0)
    await ask_on(service.port, kind, body, 2 * BATCH, RAMP_SECONDS)
    for _ in range(ROUNDS):
        for name, model in bare.items():
            batches[name] += model.spent(BATCH, seconds / ROUNDS)
        before = processor_seconds(service.process.pid) | {"client": time.process_time()}
        began = time.perf_counter() + RAMP_SECONDS
        found = await ask_on(service.port, kind, body, 2 * BATCH, RAMP_SECONDS + seconds / ROUNDS)
        after = processor_seconds(service.process.pid) | {"client": time.process_time()}
        for who in after:
            spent[who] += after[who] - before[who]
        n += len(found)
        answered += sum(began < one.at <= began + seconds / ROUNDS for one in found if one.status == 200)
    for name, spent_on in batches.items():
        rate = BATCH * len(spent_on) / sum(spent_on)
        say(f"{name}, batches of {BATCH}", rate, "windows/s")
        say(f"{kind}: throughput over that", answered / seconds / rate, "", ">= 0.85")
    text = ", ".join(f"{who} {1e3 * each / n:.1f}" for who, each in spent.items())
    print(f"  processor time of a request, ms: {text}; of the bare model {1e3 / rate:.1f}")


async def overload(bare: Bares, service: Service, kind: str, body: bytes, seconds: float) -> None:
    """All places taken and nobody refused, and ten times as many requests as are answered then, by turns."""
    full: list[Asked] = []
    over: list[Asked] = []
    await ask_on(service.port, kind, body, PLACES, RAMP_SECONDS)
    before = service.memory()
    for _ in range(ROUNDS):
        taken = await ask_on(service.port, kind, body, PLACES, seconds / 2)
        rate = 10 * sum(one.status == 200 for one in taken) / (seconds / 2)
        over += await ask_at(service.port, kind, body, rate, seconds / 2)
        full += taken
        print(f"  {rate:.0f} requests a second, memory {service.memory():.0f} MB", flush=True)
    say(f"{kind}: all {PLACES} places taken, 99 % within", percentile(full, 200), "ms")
    say(f"{kind}: 10 times that, rejected, 99 % within", percentile(over, 503), "ms", "<= 50")
    say(f"{kind}: 10 times that, rejected, half within", percentile(over, 503, 50), "ms")
    say(f"{kind}: 10 times that, accepted, 99 % within", percentile(over, 200), "ms")
    say(f"{kind}: memory after it over before", service.memory() / before, "", "1")
    print("  statuses", dict(Counter(one.status for one in over)))


def goodput(bundle: Path, kind: str, body: bytes, seconds: float) -> None:
    """Forecasts a second at 1, 2, 4 and 10 times what is answered with all places taken, by turns.

    The server and its processes have all cores but the last, which is the clients'.
    """
    answered: dict[int, list[float]] = {factor: [] for factor in FACTORS}
    refused: dict[int, list[Asked]] = {factor: [] for factor in FACTORS}
    cost: dict[int, list[float]] = {factor: [] for factor in FACTORS}
    with Service(bundle, 1, SERVERS) as service, Elsewhere() as clients:
        clients.run(ask_on, service.port, kind, body, PLACES, RAMP_SECONDS)
        for _ in range(ROUNDS):
            rate = _rate(clients.run(ask_on, service.port, kind, body, PLACES, seconds))
            for factor in FACTORS:
                before = processor_seconds(service.process.pid)["server"]
                found = clients.run(ask_at, service.port, kind, body, factor * rate, seconds)
                spent = processor_seconds(service.process.pid)["server"] - before
                cost[factor].append(1e3 * spent / len(found))
                answered[factor].append(_rate(found) / rate)
                refused[factor] += [one for one in found if one.status != 200]
            print(f"  capacity {rate:.1f} forecasts a second", flush=True)
    for factor in FACTORS:
        much = f"{kind}: {factor} times the load"
        say(f"{much}, goodput over capacity", float(np.median(answered[factor])), "", ">= 0.8")
        say(f"{much}, refused: half within", percentile(refused[factor], 503, 50), "ms")
        say(f"{much}, refused: 99 % within", percentile(refused[factor], 503), "ms", "<= 50")
        say(f"{much}, processor time of the server", float(np.median(cost[factor])), "ms/request")
        print("  refusals by status", dict(Counter(one.status for one in refused[factor])))


def _rate(found: list[Asked]) -> float:
    """Forecasts a second, from the first request to the last answer."""
    good = [one.at for one in found if one.status == 200]
    return len(good) / (max(good) - min(one.at - one.seconds for one in found))


PARTS = {"latency": latency, "throughput": throughput, "overload": overload}


async def soak(service: Service, kind: str, body: bytes, minutes: float) -> None:
    await ask_on(service.port, kind, body, 2 * BATCH, 20)
    before, failed, n = service.memory(), 0, 0
    end = time.time() + 60 * minutes
    while time.time() < end:
        found = await ask_on(service.port, kind, body, BATCH, 20)
        failed, n = failed + sum(one.status != 200 for one in found), n + len(found)
        print(f"  {n} requests, {failed} failed, {service.memory():.0f} MB", flush=True)
    say(f"{kind}: memory after {minutes:g} minutes over before", service.memory() / before, "", "<= 1.05")


def percentile(found: list[Asked], status: int, percent: float = 99) -> float:
    """Milliseconds within which so many of the answers of a status came."""
    return 1e3 * float(
        np.percentile([one.seconds for one in found if one.status == status] or [np.nan], percent)
    )


def say(what: str, value: float, unit: str, aim: str = "") -> None:
    print(f"{what:<64} {value:10.3g} {unit:<10} {aim}", flush=True)


if __name__ == "__main__":
    main()
