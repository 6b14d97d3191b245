"""Who is like whom, and what worked for them: encoder, visitor index, segments, offers."""

from arauto.audience.batch import encode_states, write_vectors
from arauto.audience.encoder import DIMENSIONS, About, Encoder, TextEncoder, code_of, encoder_of, fit
from arauto.audience.evaluate import OURS, Evaluation, Row, evaluate
from arauto.audience.foreign import open_annoy, open_faiss, write_faiss
from arauto.audience.index import EXACT_BELOW, VisitorIndex
from arauto.audience.interactions import Interactions, Split, interactions_of, leave_last_out
from arauto.audience.linear import Recipe, Statistics, counted
from arauto.audience.offers import Candidate, Offer, Policy, Tally, choose, tally
from arauto.audience.pgvector import PgVectors
from arauto.audience.ranking import Measured, Quality
from arauto.audience.rules import parse, sensitive
from arauto.audience.segments import NOBODY, Clusters, Drift, Segment, adjusted_rand
from arauto.audience.state import KINDS, MOST, NOTHING, Kind, Showings, Touch, Weights, pack, touch_of, unpack
from arauto.audience.visitors import Filter, ItemOffer, Neighbour, Visitors

__all__ = [
    "DIMENSIONS",
    "EXACT_BELOW",
    "KINDS",
    "MOST",
    "NOBODY",
    "NOTHING",
    "OURS",
    "About",
    "Candidate",
    "Clusters",
    "Drift",
    "Encoder",
    "Evaluation",
    "Filter",
    "Interactions",
    "ItemOffer",
    "Kind",
    "Measured",
    "Neighbour",
    "Offer",
    "PgVectors",
    "Policy",
    "Quality",
    "Recipe",
    "Row",
    "Segment",
    "Showings",
    "Split",
    "Statistics",
    "Tally",
    "TextEncoder",
    "Touch",
    "VisitorIndex",
    "Visitors",
    "Weights",
    "adjusted_rand",
    "choose",
    "code_of",
    "counted",
    "encode_states",
    "encoder_of",
    "evaluate",
    "fit",
    "interactions_of",
    "leave_last_out",
    "open_annoy",
    "open_faiss",
    "pack",
    "parse",
    "sensitive",
    "tally",
    "touch_of",
    "unpack",
    "write_faiss",
    "write_vectors",
]
