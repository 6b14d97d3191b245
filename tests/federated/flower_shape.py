"""The part of Flower's API that the bridge touches, in Flower's shapes: what runs where Flower is not installed. The
same tests run on the real package by `make test-flower`."""

import types

import numpy as np


class Array:
    def __init__(self, ndarray):
        self._kept = np.array(ndarray)

    def numpy(self):
        return self._kept.copy()


class ArrayRecord(dict):
    pass


class MetricRecord(dict):
    pass


class ConfigRecord(dict):
    pass


class RecordDict(dict):
    @property
    def array_records(self):
        return {name: one for name, one in self.items() if isinstance(one, ArrayRecord)}


class Message:
    def __init__(self, content=None, *, dst_node_id=None, message_type=None, reply_to=None, error=None):
        self.content, self.error = content, error

    def has_error(self):
        return self.error is not None


class Error:
    def __init__(self, code, reason=None):
        self.reason = reason


class ClientApp:
    def train(self):
        def keep(function):
            self._train = function
            return function

        return keep

    def __call__(self, message, context):
        return self._train(message, context)


class ServerApp:
    def main(self):
        return lambda function: function


class FedAvg:
    def __init__(self, fraction_evaluate=1.0, arrayrecord_key="arrays", min_available_nodes=2, min_train_nodes=2):
        self.key = arrayrecord_key

    def configure_train(self, server_round, arrays, config, grid):
        record = RecordDict({self.key: arrays, "config": config})
        return [Message(record, dst_node_id=node, message_type="train") for node in grid.get_node_ids()]

    def aggregate_train(self, server_round, replies):
        contents = [one.content for one in replies]
        live = [one["metrics"]["num-examples"] for one in contents]
        names = contents[0]["arrays"]
        mean = {
            name: Array(sum(n * one["arrays"][name].numpy() for n, one in zip(live, contents, strict=True)) / sum(live))
            for name in names
        }
        return ArrayRecord(mean), MetricRecord()

    def start(self, grid, initial_arrays, num_rounds, train_config=None):
        arrays = initial_arrays
        for number in range(1, num_rounds + 1):
            replies = grid.send_and_receive(self.configure_train(number, arrays, ConfigRecord(), grid))
            arrays = self.aggregate_train(number, replies)[0] or arrays
        return types.SimpleNamespace(arrays=arrays)


class Grid:
    pass


def modules():
    """What `sys.modules` has to hold."""
    app = (Array, ArrayRecord, MetricRecord, ConfigRecord, RecordDict, Message, Error)
    parts = {"flwr.app": app, "flwr.clientapp": (ClientApp,), "flwr.serverapp": (Grid, ServerApp)}
    found = {"flwr": types.ModuleType("flwr")}
    for name, classes in {**parts, "flwr.serverapp.strategy": (FedAvg,)}.items():
        found[name] = types.ModuleType(name)
        for one in classes:
            setattr(found[name], one.__name__, one)
    return found
