"""
Every fault that is tried, and what the contract lets a client see of it: one table.

A pair names a stage and a cause. One of ``says`` must show, ``may_say`` may; whatever else shows breaks the contract,
and so does every failed read that ``errors`` does not allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bench.chaos.data_faults import (
    artifact_disk_full,
    cache_missed_a_deletion,
    corrupt_version_activated,
    corrupted,
    replay_paused,
)
from bench.chaos.fault import Fault, Visible, Writes
from bench.chaos.process_faults import at_once, held_down, killed, part, proxy, replicas, slow, stopped
from bench.chaos.record import Pair
from bench.chaos.setup import Setup
from bench.chaos.subject import Subject
from cluster.local_postgres import PRIMARY, REPLICA

DOWN = ("unavailable", "timeout", "circuit_open", "overloaded")
# A database that is asked and does not answer; `overloaded` would also be one that answers others.
SILENT = ("unavailable", "timeout", "circuit_open")
# Said of a version that is there and wrong; and of a kind of which nothing is left to step in.
CORRUPT, MISSING = ("artifact_corrupt",), ("artifact_missing",)
DATABASE_STAGES = ("keyword", "semantic", "collaborative", "similar", "popular", "profile", "hydrate", "cache")
FACTOR_STAGES = ("collaborative", "profile", "similar")

GATEWAY_BACK_S = 2.0
PROXY_BACK_S = 10.0
FROZEN_BACK_S = 60.0
# Longer than Serve takes to replace a proxy that does not answer.
FROZEN_FOR_S = 20.0
# HAProxy asks each gateway now and then; until a frozen one failed to answer, requests are sent there.
UNNOTICED_S = 5.0
WORKER = "ray-worker-1"
STALL_S, RUN_S = 0.3, 0.04


def pairs(stages: Iterable[str] | str, causes: Iterable[str] = DOWN) -> frozenset[Pair]:
    """Every pair of *stages* and *causes*."""
    names = [stages] if isinstance(stages, str) else list(stages)
    return frozenset((name, cause) for name in names for cause in causes)


# What shows when a deployment does not answer, and what may besides: the gateway does its work itself, and slower.
SHOWS = {
    "gateway": frozenset[Pair](),
    "search": pairs(("keyword", "semantic")),
    "recommendation": pairs(("profile", "collaborative", "similar", "popular")),
    "ranking": pairs("rank"),
    "ingestion": frozenset[Pair](),
}
SLOWER = pairs(("hydrate", "rank"), ("timeout",))


def _of_deployment(name: str) -> list[Fault]:
    """What happens to the replicas of one deployment."""
    ingress = name == "gateway"
    writes: Writes = "may fail" if name == "ingestion" else "go on"
    one_gone = Visible(may_say=SHOWS[name] | SLOWER, writes=writes, errors="in flight" if ingress else "none")
    all_gone = one_gone if not ingress else replace(one_gone, errors="until it is back", outage_s=GATEWAY_BACK_S)
    one_frozen = replace(one_gone, unnoticed_s=UNNOTICED_S if ingress else 0.0)
    all_frozen = replace(all_gone, says=SHOWS[name], outage_s=FROZEN_BACK_S if ingress else 0.0)
    one, every, only = replicas(name, most=1), replicas(name), Setup(replicas=((name, 1),))
    does = f"one of two {name} replicas", f"both {name} replicas", f"the only {name} replica"
    return [
        Fault(f"kill-one-{name}", f"kill -9 {does[0]}", killed(one), one_gone, "kill", heals_itself=True),
        Fault(f"kill-both-{name}", f"kill -9 {does[1]}", killed(every), all_gone, "kill", heals_itself=True),
        Fault(
            f"kill-only-{name}", f"kill -9 {does[2]}", killed(every), all_gone, "only", heals_itself=True, setup=only
        ),
        Fault(f"freeze-one-{name}", f"kill -STOP {does[0]}", stopped(one), one_frozen, "freeze"),
        Fault(f"freeze-both-{name}", f"kill -STOP {does[1]}", stopped(every), all_frozen, "freeze", hold_s=20.0),
    ]


def _of_server(short: str, part_name: str, does: str, gone: Visible) -> list[Fault]:
    """What happens to a server: killed and started again at once, killed and gone, frozen."""
    brief = replace(gone, says=frozenset[Pair](), may_say=gone.pairs)
    it, ends = part(part_name), frozenset({part_name})
    return [
        Fault(
            f"kill-{short}",
            f"kill -9 {does}, started again at once",
            killed(it),
            brief,
            "server",
            heals_itself=True,
            ends=ends,
        ),
        Fault(f"lose-{short}", f"kill -9 {does}, gone until the fault ends", held_down(it), gone, "server", ends=ends),
        Fault(f"freeze-{short}", f"kill -STOP {does}", stopped(it), gone, "server"),
    ]


def _databases(subject: Subject) -> list[int]:
    return [subject.part(PRIMARY), subject.part(REPLICA)]


def _corrupt(kind: str, file: str, restarting: Sequence[str], visible: Visible) -> Fault:
    name = f"corrupt-{file.partition('.')[0].replace('_', '-')}"
    does = (
        f"one bit of {kind}/{file} flipped in every version, every replica of {' and '.join(restarting)} started anew"
    )
    return Fault(name, does, corrupted(kind, file, restarting=restarting), visible, "artifact", hold_s=90.0)


# What a fault says is what only that fault shows; what it takes along with it may show besides.
NO_REDIS = Visible(says=pairs("cache"), may_say=pairs(DATABASE_STAGES))
NO_REPLICA = Visible(says=pairs(("keyword", "hydrate"), SILENT), may_say=pairs(DATABASE_STAGES, (*DOWN, "replica_lag")))
NO_PRIMARY = Visible(may_say=pairs(DATABASE_STAGES), writes="may fail")
NO_DATABASE = Visible(says=pairs("keyword"), may_say=pairs(DATABASE_STAGES), writes="may fail")
NO_PROXY = Visible(errors="until it is back", outage_s=PROXY_BACK_S)
NO_EMBEDDINGS = Visible(says=pairs("semantic", CORRUPT), may_say=pairs("semantic", MISSING) | SHOWS["search"] | SLOWER)
NO_FACTORS = Visible(
    says=pairs(FACTOR_STAGES, CORRUPT),
    may_say=pairs(FACTOR_STAGES, MISSING) | SHOWS["recommendation"] | SHOWS["ranking"] | SLOWER,
)
NO_NODE = Visible(may_say=frozenset[Pair]().union(*SHOWS.values()) | SLOWER, errors="in flight", writes="may fail")
UNSEEN = Visible()

FAULTS: tuple[Fault, ...] = (
    *(fault for name in SHOWS for fault in _of_deployment(name)),
    *_of_server("redis", "valkey", "Valkey", NO_REDIS),
    *_of_server("replica", REPLICA, "the read replica", NO_REPLICA),
    *_of_server("primary", PRIMARY, "the primary", NO_PRIMARY),
    Fault(
        "lose-databases",
        "kill -9 both Postgres servers, gone until the fault ends",
        held_down(_databases),
        NO_DATABASE,
        "server",
        ends=frozenset({PRIMARY, REPLICA}),
    ),
    Fault("freeze-databases", "kill -STOP both Postgres servers", stopped(_databases), NO_DATABASE, "server"),
    Fault("kill-haproxy", "kill -9 HAProxy", killed(proxy("haproxy")), NO_PROXY, "proxy", heals_itself=True),
    Fault(
        "kill-proxy-actor",
        "kill -9 Serve's proxy actor with HAProxy below it",
        killed(proxy("ray::HAProxyManager")),
        NO_PROXY,
        "proxy",
        heals_itself=True,
    ),
    Fault(
        "freeze-haproxy",
        "kill -STOP HAProxy",
        stopped(proxy("haproxy")),
        replace(NO_PROXY, outage_s=FROZEN_BACK_S),
        "proxy",
        least_s=FROZEN_FOR_S,
        heals_itself=True,
    ),
    Fault(
        "freeze-proxy-actor",
        "kill -STOP Serve's proxy actor, HAProxy excepted",
        stopped(proxy("ray::HAProxyManager"), alone=True),
        NO_PROXY,
        "proxy",
    ),
    Fault(
        "kill-worker",
        "kill -9 a worker node that has one of two replicas of each deployment",
        killed(part(WORKER)),
        NO_NODE,
        "node",
        heals_itself=True,
        ends=frozenset({WORKER}),
    ),
    Fault(
        "freeze-worker",
        "kill -STOP that worker node",
        stopped(part(WORKER)),
        replace(NO_NODE, unnoticed_s=UNNOTICED_S),
        "node",
    ),
    Fault(
        "freeze-controller", "kill -STOP Serve's controller", stopped(proxy("ray::ServeController")), UNSEEN, "proxy"
    ),
    *(
        _corrupt("embeddings", file, ("search",), NO_EMBEDDINGS)
        for file in ("index.faiss", "encoder.onnx", "tokenizer.json", "products.parquet", "manifest.json")
    ),
    *(
        _corrupt("collaborative", file, ("recommendation", "ranking"), NO_FACTORS)
        for file in ("item_factors.npy", "items.parquet", "user_factors.npy", "users.parquet", "factors.json")
    ),
    *(
        Fault(
            f"activate-corrupt-{kind}",
            f"ACTIVE names a version of {kind} with a flipped bit in {file}",
            corrupt_version_activated(kind, file),
            UNSEEN,
            "artifact",
        )
        for kind, file in (("embeddings", "index.faiss"), ("collaborative", "item_factors.npy"))
    ),
    Fault(
        "full-disk",
        "no room on the artifacts' disk while a training job publishes",
        artifact_disk_full,
        UNSEEN,
        "artifact",
    ),
    Fault(
        "pause-replay",
        "pg_wal_replay_pause() until the replica is beyond the lag limit",
        replay_paused,
        Visible(says=pairs(("keyword", "hydrate", "popular", "profile", "cache"), ("replica_lag",))),
        "database",
        hold_s=120.0,
    ),
    Fault(
        "slow-replica",
        f"the read replica runs {RUN_S * 1000:.0f} ms between stops of {STALL_S * 1000:.0f} ms",
        slow(part(REPLICA), stopped_s=STALL_S, runs_s=RUN_S),
        replace(NO_REPLICA, says=frozenset(), may_say=NO_REPLICA.pairs),
        "database",
    ),
    Fault(
        "slow-databases",
        f"both Postgres servers: each runs {RUN_S * 1000:.0f} ms between stops of {STALL_S * 1000:.0f} ms",
        slow(_databases, stopped_s=STALL_S, runs_s=RUN_S),
        replace(NO_DATABASE, says=frozenset(), may_say=NO_DATABASE.pairs),
        "database",
    ),
    Fault(
        "redis-with-old-keys",
        "Valkey hangs while a product is deleted, and comes back with all it held",
        cache_missed_a_deletion,
        replace(NO_REDIS, says=frozenset(), may_say=NO_REDIS.pairs),
        "database",
    ),
)

BY_NAME = {fault.name: fault for fault in FAULTS}

PAIRS: tuple[tuple[str, str], ...] = (
    ("lose-redis", "kill-both-ranking"),
    ("lose-redis", "lose-replica"),
    ("freeze-redis", "freeze-replica"),
    ("lose-redis", "lose-databases"),
    ("lose-replica", "kill-both-search"),
    ("freeze-replica", "freeze-one-gateway"),
    ("freeze-both-search", "kill-both-ranking"),
    ("freeze-both-search", "freeze-both-ranking"),
    ("kill-both-recommendation", "kill-both-ranking"),
    ("kill-both-search", "kill-both-recommendation"),
    ("lose-primary", "kill-both-ingestion"),
    ("lose-primary", "freeze-redis"),
    ("kill-haproxy", "freeze-redis"),
    ("kill-one-gateway", "lose-primary"),
    ("corrupt-index", "lose-redis"),
    ("corrupt-index", "lose-replica"),
    ("pause-replay", "freeze-redis"),
)


# For random runs: whatever is over within seconds, and no fault that deploys or trains.
RANDOM: tuple[str, ...] = tuple(
    fault.name
    for fault in FAULTS
    if fault.group in {"kill", "freeze", "server", "proxy", "node"} or fault.name.startswith(("slow", "activate"))
)


def both(first: Fault, second: Fault) -> Fault:
    """Two faults at once: each may be seen as it would be alone, and takes time from the other's stand-in."""
    return Fault(
        f"{first.name}+{second.name}",
        f"{first.does}; {second.does}",
        at_once(first.inject, second.inject),
        first.visible.beside(second.visible).beside(Visible(may_say=SLOWER)),
        "pair",
        hold_s=max(first.hold_s, second.hold_s),
        heals_itself=first.heals_itself and second.heals_itself,
        ends=first.ends | second.ends,
        setup=first.setup,
    )
