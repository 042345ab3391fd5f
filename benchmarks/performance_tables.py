"""The tables of docs/performance.md, made from figures and from nothing else; `performance_doc` puts them in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.floors import lm_floor
from training.seeded_architectures import ARCHITECTURES

Result = dict[str, Any]

# Of one H200, for the arithmetic of sizes: measured bandwidth and bfloat16 operations, and memory; see the page.
H200_BYTES_PER_S = 4.3e12
H200_OPERATIONS_PER_S = 790e12
H200_GIB = 139


def origin(result: Result) -> str:
    """Say what was measured, where and of which commit."""
    machine, versions = result["machine"], result["versions"]
    packages = ", ".join(
        f"{name} {versions[name]}" for name in ("python", "grpcio", "torch", "moshi") if name in versions
    )
    settings = ", ".join(f"{name} {value}" for name, value in result["settings"].items() if value is not None)
    return (
        f"Measured {result['at'][:10]} at commit `{result['commit']}` on {machine['cores']} cores ({machine['cpu']}), "
        f"{machine['memory_gib']:.0f} GiB, {machine['system'].split('-')[0]}; {packages}. Settings: {settings}. "
        f"The machine's load at the end was {machine['load_at_end']}."
    )


def load(result: Result) -> str:
    """Tell the largest number of live sessions, and what every trial brought."""
    figures = result["figures"]
    largest, bar = figures["largest"], figures["lag_bar_ms"]
    found = (
        f"**{largest['sessions']} live sessions** is the largest number tried whose p99 lag stayed under {bar:.0f} ms "
        f"for {result['settings']['long_s']:.0f} s."
        if largest
        else f"No number of sessions tried kept the p99 lag under {bar:.0f} ms."
    )
    rows = [
        (
            trial["sessions"],
            _three(trial["word_latency_ms"]),
            _three(trial["lag_ms"]),
            *(f"{trial['cpu_ms_per_stream_s'][name]:.1f}" for name in _PROCESSES),
            *(f"{trial['rss_mib'][name]:.0f}" for name in _PROCESSES[:3]),
            _verdict(trial),
        )
        for trial in figures["trials"]
    ]
    head = ("sessions", "word latency ms", "lag ms", *_PROCESSES, *(f"{name} MiB" for name in _PROCESSES[:3]), "")
    return f"{found} All trials, in order; latency and lag as p50 / p95 / p99, CPU ms per stream-second:\n\n" + _table(
        head, rows
    )


def gateway(result: Result) -> str:
    """Tell what the gateway costs with 64 sessions of several kinds of callers."""
    figures = result["figures"]
    bar = figures["gateway_bar_cpu_ms"]
    first = figures["gateway"][0]
    used = first["cpu_ms_per_stream_s"]["gateway"]
    met = "is met" if used <= bar else "is **missed**"
    rows = [
        (
            trial["sound"],
            *(f"{trial['cpu_ms_per_stream_s'][name]:.2f}" for name in ("gateway", "callers")),
            _three(trial["word_latency_ms"]),
            f"{trial['rss_mib']['gateway']:.0f}",
            _verdict(trial),
        )
        for trial in figures["gateway"]
    ]
    head = ("callers", "gateway CPU ms", "callers' CPU ms", "word latency ms", "gateway MiB", "")
    floor = figures["gateway_floor"]["cpu_ms_per_stream_s"]["gateway"]
    return (
        f"The bar of {bar:g} CPU ms per stream-second with {first['sessions']} sessions {met}: {used:.2f} ms with "
        f"{first['sound']}. To receive the same messages and do nothing with them takes the same gRPC server "
        f"{floor:.2f} ms.\n\n{_table(head, rows)}"
    )


def file(result: Result) -> str:
    """Compare the service's speed with moshi's."""
    figures = result["figures"]
    rows = [
        (name, f"{speed['median']:.1f}", " ".join(f"{value:.1f}" for value in speed["all"]))
        for name, speed in figures["audio_s_per_s"].items()
    ]
    same = "the same text" if figures["same_text"] else "**not the same text**"
    return (
        f"{figures['audio_s']:.0f} s of audio, {figures['words']} words; both said {same}. The service is "
        f"**{figures['ratio']:.1f} times** as fast (ratio of the medians).\n\n"
        + _table(("", "audio seconds per second, median", "all rounds"), rows)
    )


def step(result: Result) -> str:
    """List step times against moshi's, and what each step has to move and do."""
    rows = []
    for row in result["figures"]["steps"]:
        moshi, floor = row.get("moshi"), row.get("floor")
        rows.append(
            (
                row["part"],
                row["context"],
                f"{row['active']} of {row['slots']}",
                f"{row['ours']['median_ms']:.2f}",
                f"{moshi['median_ms']:.2f}" if moshi else "",
                f"{row['speedup']:.1f}" if "speedup" in row else "",
                f"{(floor['weight_bytes'] + floor['cache_bytes']) / 1e6:.1f}" if floor else "",
                f"{floor['operations'] / 1e6:.0f}" if floor else "",
                f"{floor['ms']:.2f}" if floor else "",
                f"{floor['share']:.0%}" if floor else "",
            )
        )
    head = ("", "context", "rows of slots", "step ms", "moshi ms", "times as fast")
    floors = ("floor MB", "floor M operations", "floor ms", "share of it reached")
    replay = result["figures"].get("replay")
    return _table((*head, *floors), rows) + (f"\n\n{_replay(replay)}" if replay else "")


def _replay(figures: Mapping[str, Any]) -> str:
    delay = figures["longest_live_delay_ms"]
    return (
        f"A replay of {figures['frames']} frames takes {figures['replayed_ms']:.1f} ms, stepping them "
        f"{figures['stepped_ms']:.0f} ms: **{figures['speedup']:.0f} times** as fast. It is done in "
        f"{figures['chunks']} chunks; of {figures['live_sessions']} live sessions beside it no step came later than "
        f"{delay['with']:.1f} ms, without it {delay['without']:.1f} ms."
    )


def sizes() -> str:
    """Work out floors on an H200: arithmetic, nothing of it is measured."""
    rows = []
    for name in ("1b", "2.6b"):
        config = ARCHITECTURES[name].lm
        context = int(config["context"])
        for sessions in (64, 256, 512, 1024):
            floor = lm_floor(config, sessions, context, 2, 2)
            moved = floor.weight_bytes + floor.cache_bytes
            memory_s, compute_s = moved / H200_BYTES_PER_S, floor.operations / H200_OPERATIONS_PER_S
            fits = "" if moved < H200_GIB * 2**30 else "does not fit"
            rows.append(
                (name, sessions, f"{moved / 2**30:.1f}", f"{1000 * memory_s:.1f}", f"{1000 * compute_s:.1f}", fits)
            )
    return _table(("model", "sessions", "GiB moved a step", "memory floor ms", "compute floor ms", ""), rows)


_PROCESSES = ("codec", "lm", "gateway", "callers")


def _three(values: Result) -> str:
    return " / ".join(f"{values[name]:.0f}" for name in ("p50", "p95", "p99"))


def _verdict(trial: Result) -> str:
    if trial["errors"]:
        return "sessions failed"
    return "keeps up" if trial["keeps_up"] else "too slow"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
