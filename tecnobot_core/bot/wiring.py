"""The parts of an answer, wired."""

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import tzinfo
from typing import Any, Literal

from ..cache import HybridCache
from ..completion import ChatModel
from ..flows import FlowRepository
from ..history import HistoryWindow
from ..knowledge import Knowledge
from ..memory import MemoryManager
from ..messages import MediaReference
from ..rate_limit import RateLimiter
from .admission import Admission
from .answering import Answering
from .conversing import Conversing
from .opening_hours import OpeningHours
from .people import People
from .pipeline import Pipeline
from .texts import Texts
from .thinking import Thinking
from .understanding import Understanding
from .welcome import Welcome


def make_pipeline(
    people: People,
    *,
    flows: FlowRepository | None,
    functions: Mapping[str, Callable[..., Any]],
    model: ChatModel | None,
    window: HistoryWindow,
    prompt: str,
    cache: HybridCache | None,
    knowledge: Knowledge | None,
    hearing: Callable[[MediaReference], Awaitable[str]] | None,
    rate_limiter: RateLimiter | None,
    memory: MemoryManager | None,
    texts: Texts,
    welcome: Welcome | None,
    opening_hours: OpeningHours | None,
    owner_silence_s: float,
    apologises_for_delay: bool,
    max_text_chars: int,
    language: str,
    parse_phone: Callable[[str], str] | None,
    timezone: tzinfo | None,
    on_lost_step: Literal["restart", "end"],
    clock: Callable[[], float] = time.perf_counter,
    wall_clock: Callable[[], float] = time.time,
) -> Pipeline:
    """The pipeline of a Bot, whose parameters these are."""
    conversing = None
    if flows is not None:
        conversing = Conversing(
            flows,
            functions,
            language=language,
            parse_phone=parse_phone,
            timezone=timezone,
            on_lost=on_lost_step,
            clock=wall_clock,
        )
    answering = Answering(
        texts=texts,
        flows=flows,
        conversing=conversing,
        thinking=None if model is None else Thinking(model, window, prompt=prompt, cache=cache),
        knowledge=knowledge,
        welcome=welcome,
        opening_hours=opening_hours,
        language=language,
        wall_clock=wall_clock,
    )
    admission = Admission(
        texts,
        admits=people.admits,
        rate_limiter=rate_limiter,
        memory=memory,
    )
    return Pipeline(
        admission=admission,
        conversations=people.conversations,
        texts=texts,
        understanding=Understanding(texts, hearing, max_text_chars),
        answering=answering,
        flows=flows,
        conversing=conversing,
        owner_silence_s=owner_silence_s,
        apologises_for_delay=apologises_for_delay,
        history_limit=window.load_limit,
        clock=clock,
        wall_clock=wall_clock,
    )
