"""How a brief becomes texts: understand, write, check."""

from arauto.creative.briefs import load_brief, read_brief
from arauto.creative.checks import check_copy, has_errors, too_similar
from arauto.creative.engines import LocalEngine, OpenAIEngine, ScriptedEngine, choose_engine
from arauto.creative.message import compose_message
from arauto.creative.models import ModelRow, ModelStore
from arauto.creative.rules import Rule, rules
from arauto.creative.slots import SlotEngine, write_slots
from arauto.creative.types import Ask, Draft, Finding, Refusal, TextEngine, UnreadableAnswer, WriteResult
from arauto.creative.understand import language_of, understand
from arauto.creative.writer import Writer, Writing

__all__ = [
    "Ask",
    "Draft",
    "Finding",
    "LocalEngine",
    "ModelRow",
    "ModelStore",
    "OpenAIEngine",
    "Refusal",
    "Rule",
    "ScriptedEngine",
    "SlotEngine",
    "TextEngine",
    "UnreadableAnswer",
    "WriteResult",
    "Writer",
    "Writing",
    "check_copy",
    "choose_engine",
    "compose_message",
    "has_errors",
    "language_of",
    "load_brief",
    "read_brief",
    "rules",
    "too_similar",
    "understand",
    "write_slots",
]
