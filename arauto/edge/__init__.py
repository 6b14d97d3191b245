"""Small models in the visitor's browser: what is written there stays there."""

from arauto.edge.convert import to_onnx, to_tfjs
from arauto.edge.evaluate import Evaluation, Scores, evaluate, tally
from arauto.edge.generate import Example, generate
from arauto.edge.model import EdgeModel, Manifest, Prediction, load
from arauto.edge.reading import read_examples
from arauto.edge.recipe import OWN, RESEARCH, SHIPPED, Release, train_research, train_shipped, with_metrics, write
from arauto.edge.site import (
    MODULES,
    PEERS,
    POLICY,
    RELEASE,
    Asset,
    assets,
    example,
    file_name,
    peers,
    served,
    serving,
    shipped,
)
from arauto.edge.train import Trained, TrainPlan, train

__all__ = [
    "MODULES",
    "OWN",
    "PEERS",
    "POLICY",
    "RELEASE",
    "RESEARCH",
    "SHIPPED",
    "Asset",
    "EdgeModel",
    "Evaluation",
    "Example",
    "Manifest",
    "Prediction",
    "Release",
    "Scores",
    "TrainPlan",
    "Trained",
    "assets",
    "evaluate",
    "example",
    "file_name",
    "generate",
    "load",
    "peers",
    "read_examples",
    "served",
    "serving",
    "shipped",
    "tally",
    "to_onnx",
    "to_tfjs",
    "train",
    "train_research",
    "train_shipped",
    "with_metrics",
    "write",
]
