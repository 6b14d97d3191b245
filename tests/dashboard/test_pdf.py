"""A report on paper: by the browser that is there, or a clear word when there is none."""

from arauto.dashboard import paper
from tests.dashboard.test_app import launch
from tests.dashboard.test_wizard import send

PRINTER = """#!/bin/sh
for one in "$@"; do case "$one" in --print-to-pdf=*) printf '%%PDF-1.7 of ' > "${one#--print-to-pdf=}"
  for last in "$@"; do :; done; grep -o '<h1>[^<]*' "${last#file://}" >> "${one#--print-to-pdf=}";; esac; done
"""


def program(folder, text):
    path = folder / "browser"
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


async def test_the_report_is_printed_in_the_readers_language(inside, runtime, monkeypatch, tmp_path):
    campaign = await launch(runtime)
    monkeypatch.setenv(paper.NAMED, program(tmp_path, PRINTER))
    answer = await send(inside, f"/dashboard/campaigns/{campaign.id}/pdf")
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-disposition"] == 'attachment; filename="watch.pdf"'
    assert answer.content.startswith(b"%PDF-1.7 of <h1>The watch")


async def test_without_a_browser_the_mend_is_told(inside, runtime, monkeypatch, tmp_path):
    campaign = await launch(runtime)
    at = f"/dashboard/campaigns/{campaign.id}"
    monkeypatch.setenv(paper.NAMED, str(tmp_path / "none"))
    answer = await send(inside, f"{at}/pdf")
    assert answer.status_code == 422
    assert "CHROMIUM_PATH" in answer.text
    monkeypatch.setenv(paper.NAMED, program(tmp_path, "#!/bin/sh\nexit 3\n"))
    assert "did not print" in (await send(inside, f"{at}/pdf")).text
