"""The embedded model itself (make test-models): it writes enough that passes every check, in both languages."""

import pytest

from arauto.core.settings import load_settings
from arauto.creative import (
    LocalEngine,
    ModelStore,
    Writer,
    check_copy,
    has_errors,
    too_similar,
    understand,
    write_slots,
)

from .briefs import ENGLISH_WORDS, README_WORDS, SHOES

pytestmark = pytest.mark.models


@pytest.fixture
async def engine(request):
    if "models" not in request.config.getoption("-m"):
        pytest.skip("make test-models runs the real model")
    settings = load_settings()
    local = LocalEngine(ModelStore(settings).path(settings.local_model), threads=settings.model_threads)
    yield local
    await local.close()


@pytest.mark.parametrize(
    "brief", [understand(README_WORDS), understand(ENGLISH_WORDS), SHOES], ids=["pt-BR", "en", "with an offer"]
)
async def test_four_variants_that_pass(engine, brief):
    known = [copy for copy, _ in write_slots(brief, 4).accepted]
    result = await Writer(engine, attempts_each=5).write(brief, 4, known=known)
    for copy, origin in result.accepted:
        print(f"\n{copy.title}\n  {copy.description}\n  {copy.image_suggestion}  [{origin.seed}]")
    for refusal in result.refused:
        print(f"\nrefused: {refusal.copy} {[(finding.rule, finding.problem) for finding in refusal.findings]}")
    print(f"\n{len(result.accepted)} accepted of {result.attempts} in {result.seconds:.0f} s")
    assert len(result.accepted) == 4
    copies = [copy for copy, _ in result.accepted]
    for place, copy in enumerate(copies):
        assert not has_errors(check_copy(copy, brief))
        assert not too_similar(copy, [*known, *copies[:place]])


async def test_the_same_seed_writes_the_same(engine):
    brief = understand(README_WORDS)
    first = await Writer(engine, attempts_each=1).write(brief, 1, seed=11)
    await engine.close()
    second = await Writer(engine, attempts_each=1).write(brief, 1, seed=11)
    assert (first.accepted, first.refused) == (second.accepted, second.refused)
