"""Reports made up for the tests of pages."""

from arauto.core.brief import Brief, Message
from arauto.core.campaign import Campaign, CampaignPlan, Copy, Origin, Variant
from arauto.loop.report import Facts, make_report
from arauto.store import ArmTotals, VitalHistogram, Weights

NOW = 1_790_000_000_000
MINUTE = 60_000


def campaign(**plan):
    return Campaign(
        id=3,
        site_id=1,
        slug="watch",
        name="A watch",
        brief=Brief(product="watch"),
        message=Message(language="pt-BR", product="watch", call_to_action="Saiba mais"),
        plan=CampaignPlan(**plan),
        state="live",
        created_ms=NOW - 20 * MINUTE,
        launched_ms=NOW - 10 * MINUTE,
    )


def variant(place, **changes):
    copy = {"title": f"Title {place}", "description": f"Text {place}", "image_suggestion": f"Image {place}"}
    origin = Origin(engine="local", model="small-model") if place % 2 else Origin(engine="slot")
    state = changes.pop("state", "live")
    name = changes.pop("name", "abcdefghijkl"[place])
    return Variant(id=place + 1, campaign_id=3, name=name, copy=Copy(**copy | changes), origin=origin, state=state)


def totals(place, impressions, clicks, **more):
    return ArmTotals(
        variant_id=place + 1, segment=more.pop("segment", "desktop"), impressions=impressions, clicks=clicks, **more
    )


def weights(minute, *shares):
    return Weights(
        version=minute + 1, at_ms=NOW - 10 * MINUTE + minute * MINUTE, propensities=dict(enumerate(shares, 1))
    )


def report(*, variants=None, rows=(), history=(), vitals=(), **plan):
    facts = Facts(
        campaign=campaign(**plan),
        variants=[variant(0), variant(1)] if variants is None else variants,
        totals=rows,
        vitals=vitals,
        weights=history,
    )
    return make_report(facts, NOW)


def busy(**plan):
    """Two variants with clicks, purchases, ratings, load times and three reweightings."""
    return report(
        rows=[
            totals(0, 1234, 40, purchases=2, orders=3, value_cents=269_700, ratings=4, rating_sum=18, rating_sq=82),
            totals(1, 2000, 130, segment="mobile", ratings=2, rating_sum=9, rating_sq=41),
        ],
        history=[weights(0, 0.5, 0.5), weights(3, 0.3, 0.7), weights(6, 0.1, 0.9)],
        vitals=[VitalHistogram(variant_id=1, metric="load", buckets={150: 80, 160: 15, 170: 5})],
        **plan,
    )
