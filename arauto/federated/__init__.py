"""Many learn together; the coordinator sees only noised sums. Needs ``pip install 'arauto[federated]'``."""

from arauto.federated.audit import Finding, audit
from arauto.federated.authority import Authority, open_authority
from arauto.federated.bidding import federated_market
from arauto.federated.bids import (
    FRACTIONS,
    METHODS,
    Auctions,
    Market,
    Result,
    check_auctions,
    compare,
    counts_of,
    market_of,
    regions_of,
    replay,
)
from arauto.federated.client import Client, Keys
from arauto.federated.coordinator import Coordinator, Outcome
from arauto.federated.flower import region_app, regions
from arauto.federated.local import new_offer, play
from arauto.federated.privacy import Ledger, decode, encode, epsilon_of, noise_for
from arauto.federated.region import Learn, Report, learn, region, until_given
from arauto.federated.remote import take_part
from arauto.federated.rounds import Rounds
from arauto.federated.server import Server, median_of
from arauto.federated.site import MODULE, module
from arauto.federated.training import Trained, Training, train
from arauto.federated.vectors import vectors
from arauto.federated.wire import Offer, Privacy, Receipt, RefusedError

__all__ = [
    "FRACTIONS",
    "METHODS",
    "MODULE",
    "Auctions",
    "Authority",
    "Client",
    "Coordinator",
    "Finding",
    "Keys",
    "Learn",
    "Ledger",
    "Market",
    "Offer",
    "Outcome",
    "Privacy",
    "Receipt",
    "RefusedError",
    "Report",
    "Result",
    "Rounds",
    "Server",
    "Trained",
    "Training",
    "audit",
    "check_auctions",
    "compare",
    "counts_of",
    "decode",
    "encode",
    "epsilon_of",
    "federated_market",
    "learn",
    "market_of",
    "median_of",
    "module",
    "new_offer",
    "noise_for",
    "open_authority",
    "play",
    "region",
    "region_app",
    "regions",
    "regions_of",
    "replay",
    "take_part",
    "train",
    "until_given",
    "vectors",
]
