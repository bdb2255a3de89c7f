"""Answers that reach somebody else: counted over requests whose users, tenants and keys look alike."""

import random

from benchmarks._report import Report
from tecnobot_core import HybridCache
from tecnobot_core.cache import request_key

N_REQUESTS = 100_000
USERS = ("ana", "Ana", "an", "a|na", "ana|", "\0ana", "3:ana", "3\0ana", "b", "1\0a", "a\0")
TENANTS = ("shop", "sho", "shop:", None)
POLICIES = ("reply", "profile", "faq", "transcript", "default")
PER_USER = ("reply", "profile")
MODELS, PROMPTS = ("m", "m-1", "m-"), ("Sé amable.", "Sé amable", "Sé breve.")
QUESTIONS, TOOLS = ("¿Abren?", "¿abren?", "ana", "|", "a b"), ((), ("pay",), ("pay ",))


async def report_scopes(report: Report) -> None:
    """Reads that got what belongs to another user, tenant, policy or request."""
    choose = random.Random(6).choice
    caches = {tenant: HybridCache(1 << 20, namespace=tenant) for tenant in TENANTS}
    crossed = hits = 0
    for _ in range(N_REQUESTS):
        tenant, policy = choose(TENANTS), choose(POLICIES)
        scope = choose(USERS) if policy in PER_USER else None
        request = {"model": choose(MODELS), "prompt": choose(PROMPTS), "tools": choose(TOOLS), "q": choose(QUESTIONS)}
        key = choose((request_key(request), str(request["q"])))
        asked_for = request if key != request["q"] else key
        is_loaded = False

        async def load(answer: object = (tenant, policy, scope, asked_for)) -> object:
            nonlocal is_loaded
            is_loaded = True
            return answer

        got = await caches[tenant].get_or_load(key, load, policy=policy, scope=scope)
        crossed += got != (tenant, policy, scope, asked_for)
        hits += not is_loaded
    label = f"11 reads across scopes, of {N_REQUESTS:,} requests ({hits / N_REQUESTS:.0%} hits)"
    report.add(label, crossed, "", "0", crossed == 0)
