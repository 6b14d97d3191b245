import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arauto.core.brief import Brief, Message
from arauto.core.campaign import DAY_MS, Campaign, CampaignPlan, Site
from arauto.core.errors import EventError
from arauto.core.events import REPEAT
from arauto.core.ids import uuid7
from arauto.core.receipts import Receipt, ReceiptBook
from arauto.loop.admit import LATENESS_MS, MAX_INT, OLDEST_MS, SERVERS_MS, SKEW_MS, admit, read_batch, with_key

NOW = 1_760_000_000_000
HOUR = 3_600_000
BOOK = ReceiptBook(b"a secret of the test, 32 bytes or more")
SITE = Site(id=3, name="shop", key="key-3")
WINDOW = 2 * DAY_MS
VISITOR = uuid7(NOW)


def campaign(number=7, site_id=3, currency="BRL"):
    return Campaign(
        id=number,
        site_id=site_id,
        slug=f"c{number}",
        name="c",
        brief=Brief(product="watch"),
        message=Message(language="en", product="watch", call_to_action="Buy"),
        plan=CampaignPlan(attribution_ms=WINDOW, currency=currency),
        state="live",
    )


CAMPAIGNS = {7: campaign(), 8: campaign(8, site_id=4, currency="USD")}


def receipt(*, decided=NOW - HOUR, number=7, visitor=None, book=BOOK):
    tag = {} if visitor is None else {"visitor_tag": BOOK.visitor_tag(visitor)}
    facts = {"decision_id": uuid7(decided), "campaign_id": number, "variant_id": 11, "propensity": 0.25}
    return book.sign(Receipt(**facts, policy_version=9, segment=2, **tag))


def event(kind="impression", *, at=NOW - 1000, made=NOW - 1000, **fields):
    fields = {"receipt": receipt(), **fields}
    return {"type": kind, "id": str(uuid7(made)), "at": at, **{k: v for k, v in fields.items() if v is not None}}


def body(*events, consent="granted", key="key-3"):
    return msgspec.json.encode({"key": key, "consent": consent, "events": events})


def door(*events, private=False, campaigns=CAMPAIGNS):
    return admit(read_batch(body(*events)), SITE, campaigns, BOOK, NOW, private=private)


def one(made):
    admitted = door(made)
    assert admitted.problems == []
    return admitted.rows[0]


def refusal(made, **options):
    admitted = door(made, **options)
    assert admitted.rows == []
    (problem,) = admitted.problems
    assert problem.index == 0
    return problem


def test_an_impression_takes_everything_from_its_receipt():
    token = receipt()
    row = one(event(receipt=token))
    facts = BOOK.read(token)
    assert (row.type, row.site_id, row.received_ms, row.occurred_ms) == ("impression", 3, NOW, NOW - 1000)
    assert (row.decision_id, row.campaign_id, row.variant_id) == (facts.decision_id, 7, 11)
    assert (row.propensity, row.policy_version, row.segment) == (0.25, 9, "mobile")
    assert (row.visitor_id, row.tomb) == (None, None)


def test_what_each_type_brings():
    rows = door(
        event("view", item="i1"),
        event("cart", item="i2"),
        event("purchase", value=12.5, currency="BRL", order="o1"),
        event("rating", score=4),
        event("web_vital", metric="CLS", reading=0.1),
        event("custom", name="scroll", props={"depth": 0.5, "who": "x"}),
        event("click"),
    ).rows
    assert [row.type for row in rows] == ["view", "cart", "purchase", "rating", "web_vital", "custom", "click"]
    assert [row.ref for row in rows] == ["i1", "i2", "o1", "", "", "", ""]
    assert (rows[2].value_cents, rows[2].currency) == (1250, "BRL")
    assert rows[3].score == 4
    assert (rows[4].metric, rows[4].reading) == ("CLS", 0.1)
    assert (rows[5].name, rows[5].props) == ("scroll", {"depth": 0.5, "who": "x"})


def test_private_events_keep_nothing_of_the_person():
    mine = receipt(visitor=VISITOR)
    rows = door(
        event("purchase", value="9.90", currency="BRL", order="o1", receipt=mine, visitor=str(VISITOR)),
        event("view", item="i1", receipt=mine, visitor=str(VISITOR)),
        event("custom", name="x", props={"mail": "a@b"}, receipt=mine, visitor=str(VISITOR)),
        private=True,
    ).rows
    assert [(row.visitor_id, row.tomb, row.ref, row.props) for row in rows] == [(None, None, "", None)] * 3
    assert rows[0].value_cents == 990
    assert rows[0].decision_id == BOOK.read(mine).decision_id


def test_a_visitor_is_kept_when_the_decision_was_made_for_it():
    row = one(event(receipt=receipt(visitor=VISITOR), visitor=str(VISITOR)))
    assert (row.visitor_id, row.tomb) == (VISITOR, BOOK.tomb(VISITOR))


def test_where_visitors_are_assigned_a_stage_counts_once_for_each():
    by_visitor = campaign()
    by_visitor = msgspec.structs.replace(by_visitor, plan=CampaignPlan(attribution_ms=WINDOW, assignment="visitor"))

    def told(visitor, named):
        facts = {"decision_id": uuid7(NOW - HOUR), "campaign_id": 7, "variant_id": 11, "propensity": 0.25}
        tag = {"visitor_tag": BOOK.visitor_tag(visitor)} if visitor else {}
        token = BOOK.sign(Receipt(**facts, policy_version=9, segment=2, stage=40, **tag))
        of = {"visitor": str(named)} if named else {}
        (row,) = door(event(receipt=token, **of), campaigns={7: by_visitor}).rows
        return row.stage, row.once

    assert told(VISITOR, VISITOR) == (40, True)
    assert told(None, None) == (40, False)
    # Tied to a visitor who is not named any more: whose first it is cannot be known.
    assert told(VISITOR, None) == (REPEAT, False)


def test_an_anonymous_decision_stays_anonymous():
    row = one(event(visitor=str(VISITOR)))
    assert (row.visitor_id, row.tomb) == (None, None)


def test_a_receipt_of_another_visitor_is_refused():
    problem = refusal(event(receipt=receipt(visitor=uuid7(NOW)), visitor=str(VISITOR)))
    assert (problem.code, problem.field) == ("bad_receipt", "events[0].receipt")


def test_an_outcome_without_a_receipt_needs_a_visitor():
    loose = event("purchase", value=1, currency="BRL", receipt=None, visitor=str(VISITOR))
    row = one(loose)
    assert (row.decision_id, row.campaign_id, row.visitor_id) == (None, None, VISITOR)
    assert refusal(loose, private=True).field == "events[0].receipt"
    assert refusal(event("rating", score=1, receipt=None)).field == "events[0].receipt"


@pytest.mark.parametrize("made", [{"kind": "impression"}, {"kind": "click"}, {"kind": "web_vital"}])
def test_some_events_mean_nothing_without_a_receipt(made):
    more = {"metric": "LCP", "reading": 1} if made["kind"] == "web_vital" else {}
    assert refusal(event(**made, **more, receipt=None, visitor=str(VISITOR))).field == "events[0].receipt"


def test_a_receipt_of_another_site_is_refused():
    problem = refusal(event(receipt=receipt(number=8)))
    assert (problem.code, problem.problem) == ("bad_receipt", "belongs to another site")


def test_an_unknown_campaign_is_named_only_when_the_receipt_is_ours():
    ours = door(event(receipt=receipt(number=999)))
    assert (ours.unknown, len(ours.problems)) == ({999}, 1)
    forged = receipt(number=999, book=ReceiptBook(b"another secret of 32 bytes or more.."))
    theirs = door(event(receipt=forged))
    assert (theirs.unknown, len(theirs.problems)) == (set(), 1)


@given(st.integers(0, 83), st.characters(codec="ascii"))
def test_an_altered_receipt_is_refused(place, character):
    token = receipt()
    altered = token[:place] + character + token[place + 1 :]
    if altered == token:
        return
    assert refusal(event(receipt=altered)).code == "bad_receipt"


def test_an_expired_receipt_is_refused_and_a_late_one_is_not():
    oldest = NOW - WINDOW - LATENESS_MS
    assert one(event(receipt=receipt(decided=oldest), at=oldest + HOUR)).occurred_ms == oldest + HOUR
    assert refusal(event(receipt=receipt(decided=oldest - 1), at=oldest + HOUR)).code == "bad_receipt"
    assert refusal(event(receipt=receipt(decided=NOW + SERVERS_MS + 1))).code == "bad_receipt"


def test_an_outcome_after_the_window_is_refused():
    decided = NOW - WINDOW - HOUR
    token = receipt(decided=decided)
    assert one(event("click", receipt=token, at=decided + WINDOW)).occurred_ms == decided + WINDOW
    assert refusal(event("click", receipt=token, at=decided + WINDOW + 1)).field == "events[0].at"


def test_a_wrong_clock_is_borne_within_a_day():
    decided = NOW - HOUR
    token = receipt(decided=decided)
    assert one(event(receipt=token, at=NOW + SKEW_MS)).occurred_ms == NOW
    assert one(event(receipt=token, at=decided - SKEW_MS)).occurred_ms == decided
    assert refusal(event(receipt=token, at=NOW + SKEW_MS + 1)).field == "events[0].at"
    assert refusal(event(receipt=token, at=decided - SKEW_MS - 1)).field == "events[0].at"
    lone = {"receipt": None, "visitor": str(VISITOR), "score": 3}
    assert one(event("rating", at=NOW - LATENESS_MS, **lone)).occurred_ms == NOW - LATENESS_MS
    assert refusal(event("rating", at=NOW - LATENESS_MS - SKEW_MS - 1, **lone)).field == "events[0].at"


def test_event_ids_are_version_7_and_of_our_time():
    assert refusal({**event(), "id": "6f1d2c1e-0b3a-4d5e-8f90-123456789abc"}).field == "events[0].id"
    assert refusal({**event(), "id": "0199c3d4-0b3a-7d5e-1f90-123456789abc"}).field == "events[0].id"
    assert refusal(event(made=NOW + SKEW_MS + 1)).field == "events[0].id"
    assert refusal(event(made=NOW - OLDEST_MS - 1)).field == "events[0].id"
    assert one(event(made=NOW + SKEW_MS)).type == "impression"


@pytest.mark.parametrize("value", ["-1", "1.001", "NaN", "1e400", "sNaN", "1000000000.01"])
def test_amounts_are_checked(value):
    assert refusal(event("purchase", value=value, currency="BRL")).field == "events[0].value"


def test_the_currency_is_that_of_the_campaign():
    assert refusal(event("purchase", value=1, currency="USD")).field == "events[0].currency"
    lone = {"receipt": None, "visitor": str(VISITOR), "value": 1}
    assert one(event("purchase", currency="BRL", **lone)).currency == "BRL"
    assert "BRL" in refusal(event("purchase", currency="USD", **lone)).mend


@pytest.mark.parametrize("prop", ["a\0b", "\u202e", MAX_INT + 1, -MAX_INT - 1])
def test_props_that_cannot_be_kept_are_refused(prop):
    assert refusal(event("custom", name="x", props={"p": prop})).field == "events[0].props.p"


def test_one_bad_event_never_loses_the_others():
    batch = read_batch(
        b'{"key":"key-3","events":[%s,{"type":"impression"},{"type":"nope","id":1},"x",7,%s]}'
        % (msgspec.json.encode(event()), msgspec.json.encode(event("click")))
    )
    assert [place for place, _ in batch.events] == [0, 5]
    admitted = admit(batch, SITE, CAMPAIGNS, BOOK, NOW, private=True)
    assert admitted.places == [0, 5]
    assert [problem.index for problem in admitted.problems] == [1, 2, 3, 4]
    assert admitted.problems[0].field == "events[1].id"
    assert batch.consent == "denied"


def test_half_a_surrogate_pair_costs_nobody_the_batch():
    made = msgspec.json.encode(event("custom", name="x", props={"p": "HERE"}))
    told = rb"\ud83d\ude00 \ud800 \uDC00 \\ud800"
    batch = read_batch(b'{"key":"k","events":[%s]}' % made.replace(b"HERE", told))
    assert batch.events[0][1].props == {"p": "\U0001f600 \ufffd \ufffd \\ud800"}


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"key":"k"}',
        b'{"key":"k","events":[]}',
        b'{"key":1,"events":[1]}',
        b'{"key":"k","events":[1],"more":1}',
        b'{"key":"k","events":[1],"consent":"maybe"}',
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_batch_is_refused_whole(bad):
    with pytest.raises(EventError):
        read_batch(bad)


def test_a_batch_has_at_most_500_events():
    assert len(read_batch(body(*[event()] * 500)).events) == 500
    with pytest.raises(EventError):
        read_batch(body(*[event()] * 501))


def test_the_key_may_stand_in_the_query_string():
    bare = b'{"events":[1]}'
    assert msgspec.json.decode(with_key(bare, "key=a%20b")) == {"key": "a b", "events": [1]}
    assert msgspec.json.decode(with_key(b'{"key":"own"}', "key=other")) == {"key": "own"}
    assert with_key(bare, "x=1") == bare
    assert with_key(b"\xff", "key=a") == b"\xff"
