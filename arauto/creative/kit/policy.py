"""The rules of words: Brazilian advertising and privacy law, as far as words and a brief show it."""

from __future__ import annotations

from collections.abc import Iterable

from arauto.core.brief import Brief
from arauto.core.kit import Asset, Finding, Kit
from arauto.creative.kit.rules import Policy, expression, kit_rules, policies
from arauto.creative.words import fold

_SAYS_AI = "imagem gerada|gerad[oa] por ia|inteligencia artificial|image made with ai|ai[- ]generated|made with ai"
_ADULT = 18
_DRINKING = 25


def check_policy(kit: Kit) -> Iterable[Finding]:
    """What the rules of words find in the kit's brief and in each of its assets."""
    about = _about(kit.brief)
    evidence = fold("\n".join(claim.text for claim in kit.brief.claims if claim.evidence))
    yield from _people(kit.brief, about)
    for rule in policies().values():
        if rule.when and not expression(rule.when).search(about):
            continue
        for asset in kit.assets:
            yield from _said(rule, asset, evidence)
    for asset in kit.assets:
        # A film whose voice alone is a model's shows nothing that a model drew.
        drawn = asset.medium == "banner" or asset.detail.get("picture") == "engine"
        if (
            drawn
            and "rainedAlgorithmic" in asset.made.source_type
            and not expression(_SAYS_AI).search(fold(asset.words))
        ):
            yield kit_rules()["BR-13"].finding("words", place=asset.id)


def _about(brief: Brief) -> str:
    """What is sold, in the brief's words, folded."""
    return fold("\n".join((brief.product, brief.description, brief.prompt, brief.focus, *brief.benefits)))


def _people(brief: Brief, about: str) -> Iterable[Finding]:
    rules = kit_rules()
    low = brief.age_range[0] if brief.age_range else None
    if low is not None and low < _ADULT:
        yield rules["BR-12"].finding("brief.age_range", found=low)
    if low is not None and low < _DRINKING and expression("@alcohol").search(about):
        yield rules["BR-09-AGE"].finding("brief.age_range", found=low)
    if sensitive := expression("@sensitive").search(fold(brief.audience)):
        yield rules["LGPD-1"].finding("brief.audience", found=sensitive[0])


def _said(rule: Policy, asset: Asset, evidence: str) -> Iterable[Finding]:
    words = fold(f"{asset.words}\n{asset.facts.get('disclaimers', '')}")
    if rule.requires and (rule.requires == "$never" or not expression(rule.requires).search(words)):
        yield rule.finding("words", place=asset.id)
    if not rule.forbids:
        return
    for match in expression(rule.forbids).finditer(words):
        if match[0] not in evidence:
            yield rule.finding("words", place=asset.id, found=match[0])
            return
