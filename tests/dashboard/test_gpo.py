"""A turn of GPO from the page: begun, watched, compared, a text of it staged; and what stops one."""

import asyncio
import importlib
import threading

import msgspec
import pytest

from arauto.core.errors import ConflictError, InputError, NotFoundError
from arauto.core.spread import LOCAL, guard
from arauto.dashboard.screens import gpo
from arauto.loop import NewTurn, read_turns, register_jobs, turn_later
from tests.browser.conftest import until
from tests.dashboard.test_app import launch
from tests.dashboard.test_wizard import send
from tests.gpo.data import frame
from tests.gpo.small import small
from tests.late import late

late("torch")

GOOD = {
    "title": "A watch for every day",
    "description": "The watch that keeps you company.",
    "image_suggestion": "A person in a park with a watch on the wrist",
}


@pytest.fixture
def quick(monkeypatch):
    """A base of a few thousand parameters that has learnt nothing: its texts are nonsense, the way is the same."""

    def make(table, folder, **_):
        made = small(table)
        made.save(folder)
        return made

    monkeypatch.setattr("arauto.loop.turns.make_base", make)
    monkeypatch.setattr("arauto.loop.turns.COMPARED", 16)


@pytest.fixture
async def alone(runtime, quick):
    """The GPO screen of a live campaign in English, beside a table to learn from; nobody does its jobs."""
    campaign = await launch(runtime)
    feedback = runtime.settings.home / "feedback"
    feedback.mkdir(parents=True)
    frame(120).write_csv(feedback / "tests.csv")
    (feedback / "notes.txt").write_text("not a table")
    return f"/dashboard/campaigns/{campaign.id}/gpo"


@pytest.fixture
async def at(runtime, alone):
    register_jobs(runtime.store, runtime.settings)
    return alone


async def test_a_turn_is_begun_watched_and_a_text_of_it_staged(inside, runtime, at):
    page = await inside.get(at)
    assert "No turn has been run yet" in page.text
    assert "<option>tests.csv</option>" in page.text
    assert "notes.txt" not in page.text
    assert (await send(inside, f"{at}/start", data="tests.csv", iterations="x", batch="8")).status_code == 422
    begun = await send(inside, f"{at}/start", data="tests.csv", iterations="2", batch="8")
    assert "The turn has begun" in begun.text
    await runtime.store.jobs.run_worker(wait=False)
    (turn,) = read_turns(runtime.settings, 1)
    assert turn.stage == "done"
    assert turn.gate.passed
    assert len(turn.readings) == 2
    assert turn.candidate.simulated
    page = await inside.get(at)
    for told in ("The gate is open", "Reward: proxy and truth", "Before and after, side by side", "Expected gain"):
        assert told in page.text, told
    lines = (await inside.get(f"{at}/readings.csv")).text.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("iteration,reward")
    (model,) = await runtime.store.catalogue.models()
    assert model.sha256 == turn.candidate.sha256

    place = next(place for place, one in enumerate(turn.samples) if one.after)
    taken = await send(inside, f"{at}/take", run=turn.run, sample=str(place))
    assert "The candidate, before it is staged" in taken.text
    assert (await send(inside, f"{at}/take", run=turn.run, sample="99")).status_code == 422
    nasty = {**GOOD, "title": "<script>alert(1)</script>"}
    await send(inside, f"{at}/keep", **nasty)
    assert nasty["title"] not in (await inside.get(at)).text
    assert (await send(inside, f"{at}/stage", **nasty)).status_code == 422


async def test_a_turn_that_is_cancelled_ends(inside, runtime, at, monkeypatch):
    begun, ended = threading.Event(), threading.Event()

    def endless(*_, progress, **__):
        try:
            while not ended.wait(0.01):
                begun.set()
                progress(0, 1, "")
        finally:
            ended.set()

    monkeypatch.setattr("arauto.loop.turns.make_base", endless)
    job = await turn_later(runtime.store, runtime.settings, 1, NewTurn(data="tests.csv"), actor="test")
    stop = asyncio.Event()
    worker = asyncio.create_task(runtime.store.jobs.run_worker(stop))
    assert await asyncio.to_thread(begun.wait, 60)
    assert 'action="/dashboard/campaigns/1/gpo/cancel"' in (await inside.get(at)).text
    assert "told to end" in (await send(inside, f"{at}/cancel")).text
    assert await asyncio.to_thread(ended.wait, 60)
    stop.set()
    await worker
    assert (await runtime.store.jobs.get(job)).state == "cancelled"
    page = (await inside.get(at)).text
    assert "cancelled" in page
    assert "/gpo/start" in page
    assert "/gpo/cancel" not in page
    assert "No turn waits or runs" in (await send(inside, f"{at}/cancel")).text
    assert (await runtime.store.catalogue.audit_log(1))[0].action == "job.cancel"


@pytest.fixture
def ray():
    guard(LOCAL)
    ray = importlib.import_module("ray")
    ray.init(address=LOCAL, num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")
async def test_a_turn_on_ray_tells_how_far_it_is_and_is_ended_from_the_page(inside, runtime, alone, ray):
    from bench.ray_workers import working

    settings = msgspec.structs.replace(runtime.settings, ray_address=LOCAL)
    register_jobs(runtime.store, settings)
    stop = asyncio.Event()
    worker = asyncio.create_task(runtime.store.jobs.run_worker(stop))
    try:
        asked = NewTurn(data="tests.csv", iterations=64, batch=128)
        job = await turn_later(runtime.store, settings, 1, asked, actor="test")

        async def at_work():
            return working() and (await runtime.store.jobs.get(job)).done > 0

        async def over():
            return not working() and (await runtime.store.jobs.get(job)).state == "cancelled"

        await until(at_work, seconds=300)
        assert '<progress max="1000"' in (await inside.get(alone)).text
        assert "told to end" in (await send(inside, f"{alone}/cancel")).text
        await until(over, seconds=300)
    finally:
        stop.set()
        await worker


async def test_what_cannot_be_learnt_from_is_told(inside, runtime, at):
    await send(inside, f"{at}/start", data="own", iterations="2", batch="8")
    await runtime.store.jobs.run_worker(wait=False)
    assert "No campaign has shown two texts yet" in (await inside.get(at)).text
    assert "Nenhuma campanha exibiu dois textos ainda" in (await inside.get(at, params={"lang": "pt-BR"})).text
    await inside.get(at, params={"lang": "en"})
    for name, table, told in (("few", frame(6), "20 are needed"), ("noise", frame(80, shown=2), "The gate is shut")):
        table.write_csv(runtime.settings.home / "feedback" / f"{name}.csv")
        await send(inside, f"{at}/start", data=f"{name}.csv", iterations="2", batch="8")
        await runtime.store.jobs.run_worker(wait=False)
        assert told in (await inside.get(at)).text
    page = (await inside.get(at)).text
    assert "The gate is shut" in page
    ours = (await inside.get(at, params={"lang": "pt-BR"})).text
    assert "O acaso não está excluído: o intervalo começa em" in ours
    assert "chance is not excluded" not in ours
    await inside.get(at, params={"lang": "en"})
    assert (await inside.get(f"{at}/readings.csv")).text.count("\n") == 1
    for wrong, error in (("../tests.csv", NotFoundError), ("notes.txt", NotFoundError)):
        with pytest.raises(error):
            await turn_later(runtime.store, runtime.settings, 1, NewTurn(data=wrong), actor="test")
    with pytest.raises(InputError):
        await turn_later(runtime.store, runtime.settings, 1, NewTurn(iterations=0), actor="test")


async def test_without_the_packages_of_training_the_page_says_the_mend(inside, at, monkeypatch):
    monkeypatch.setattr(gpo, "can_train", lambda: False)
    assert "pip install &#39;arauto[train]&#39;" in (await inside.get(at)).text.replace("'", "&#39;")
    assert (await send(inside, f"{at}/start", data="own", iterations="2", batch="8")).status_code == 422


async def test_a_staged_text_waits_for_an_approver(inside, runtime, at):
    campaign = await runtime.store.catalogue.campaign(1)
    brief = msgspec.structs.replace(campaign.brief, language="en")
    with pytest.raises(ConflictError):
        await runtime.store.catalogue.change_draft(
            1, name="x", brief=brief, message=campaign.message, plan=campaign.plan, actor="test"
        )
    portuguese = {
        "title": "Watch para todo dia",
        "description": "O watch que acompanha você.",
        "image_suggestion": "Pessoa num parque com um watch no pulso",
    }
    done = await send(inside, f"{at}/stage", **portuguese)
    assert "Staged: an approver can release it now" in done.text, done.text
    staged = [one for one in await runtime.store.catalogue.variants(1) if one.state == "staged"]
    assert [one.copy.title for one in staged] == [portuguese["title"]]
