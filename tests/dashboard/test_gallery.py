"""The kit on a page: its files by role and range, its findings, what somebody lets stand."""

import pytest

from arauto.core.errors import EngineError, NotFoundError
from arauto.loop import brief_findings, kit_folder, read_kit, register_jobs, unwaive
from arauto.loop import kits as loop_kits
from tests.dashboard.test_wizard import FROM_HERE, begin, form_of, send


@pytest.fixture
async def kit(inside, runtime):
    """The page of a campaign whose kit (texts only) is made."""
    number = await begin(inside)
    at = f"/dashboard/campaigns/{number}"
    form = form_of((await runtime.store.catalogue.campaign(int(number))).brief)
    await send(inside, f"{at}/brief/apply", **form)
    assert "No kit has been made yet" in (await inside.get(f"{at}/gallery")).text
    assert "Tick at least one" in (await send(inside, f"{at}/gallery/make", media="")).text
    await send(inside, f"{at}/gallery/make", media="text")
    register_jobs(runtime.store, runtime.settings)
    await runtime.store.jobs.run_worker(wait=False)
    return at, int(number)


async def test_a_kit_is_made_shown_and_waived(inside, runtime, kit):
    at, number = kit
    assert "Making the kit:</b> done" in (await inside.get(f"{at}/texts")).text
    page = await inside.get(f"{at}/gallery")
    assert "Assets: " in page.text
    made, findings, _ = read_kit(runtime.settings, number)
    first = made.assets[0]
    titles = {one.copy.title for one in await runtime.store.catalogue.variants(number)}
    assert any(title in asset.words for title in titles for asset in made.assets)
    file = await inside.get(f"{at}/gallery/asset", params={"asset": first.id})
    assert file.content == (kit_folder(runtime.settings, number) / first.path).read_bytes()
    assert file.headers["content-disposition"].startswith("attachment")
    assert file.headers["x-content-type-options"] == "nosniff"
    for wrong in ("", "../../x", "nothing"):
        assert (await inside.get(f"{at}/gallery/asset", params={"asset": wrong})).status_code == 404

    policy = await inside.get(f"{at}/policy")
    assert "KIT-LINK" in policy.text
    assert (await send(inside, f"{at}/policy/waive", rule="KIT-LINK", reason="no")).status_code == 422
    done = await send(inside, f"{at}/policy/waive", rule="KIT-LINK", reason="a shop <b>window</b> only")
    assert "a shop &lt;b&gt;window&lt;/b&gt; only" in done.text
    _, findings, waivers = read_kit(runtime.settings, number)
    assert [one.rule for one in waivers] == ["KIT-LINK"]
    assert all(one.waived_by for one in findings if one.rule == "KIT-LINK")
    log = (await inside.get(f"{at}/policy/policy.csv")).text
    assert "KIT-LINK" in log
    assert (await send(inside, f"{at}/policy/waive", rule="X" * 99, reason="long enough")).status_code == 422
    # A kit made anew keeps what was waived.
    await send(inside, f"{at}/gallery/make", media="text")
    await runtime.store.jobs.run_worker(wait=False)
    assert read_kit(runtime.settings, number)[2]
    back = await send(inside, f"{at}/policy/drop", rule="KIT-LINK", place="")
    assert "Nothing has been waived" in back.text
    with pytest.raises(NotFoundError):
        await unwaive(runtime.store, runtime.settings, number, "KIT-LINK", "", actor="test")


async def test_what_a_page_shows_comes_in_ranges(inside, runtime, kit):
    at, number = kit
    folder = kit_folder(runtime.settings, number)
    (folder / "kit.json").write_text((folder / "kit.json").read_text().replace("application/json", "video/mp4"))
    first = read_kit(runtime.settings, number)[0].assets[0]
    body = (folder / first.path).read_bytes()

    async def ask(told):
        return await inside.get(f"{at}/gallery/asset", params={"asset": first.id}, headers={"Range": told})

    part = await ask("bytes=2-5")
    assert (part.status_code, part.content, part.headers["content-type"]) == (206, body[2:6], "video/mp4")
    assert part.headers["content-range"] == f"bytes 2-5/{len(body)}"
    assert (await ask("bytes=-3")).content == body[-3:]
    assert (await ask("bytes=4-")).content == body[4:]
    assert (await ask(f"bytes={len(body)}-")).status_code == 416
    assert (await ask("lines=1")).content == body
    (folder / first.path).unlink()
    assert (await ask("bytes=0-")).status_code == 404


async def test_a_kit_is_nobodys_business_without_a_session(web, inside, kit):
    at, _ = kit
    inside.cookies.clear()
    answer = await inside.get(f"{at}/gallery/asset", params={"asset": "x"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert (await inside.post(f"{at}/gallery/make", data={"media": "text"}, headers=FROM_HERE)).status_code == 303


async def test_without_the_packages_of_kits_a_page_says_the_mend(inside, runtime, kit, monkeypatch):
    at, number = kit
    assert (await inside.get(f"{at}/gallery")).status_code == 200

    def missing():
        raise EngineError("kits need the package typst", field="kit", mend="pip install 'arauto[kit]'")

    monkeypatch.setattr(loop_kits, "_kits", missing)
    assert brief_findings((await runtime.store.catalogue.campaign(number)).brief) == []
    page = await inside.get(f"{at}/gallery")
    assert page.status_code == 200
    assert "pip install &#39;arauto[kit]&#39;" in page.text
    assert (await inside.get(f"{at}/policy")).status_code == 200
