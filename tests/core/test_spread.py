"""One function over many parts: the answers in order, no more parts taken than there is room for, an end when told."""

import pickle
import sys

import pytest

from arauto.core import errors
from arauto.core.errors import ArautoError, EngineError, InputError, RateLimitError
from arauto.core.spread import Spread, Stopped


def added(shared, part):
    return shared + part


def test_the_answers_come_in_the_order_of_the_parts_as_they_are_asked_for():
    taken = []

    def parts():
        for part in range(5):
            taken.append(part)
            yield part

    answers = Spread(added, 10)(parts())
    assert next(answers) == 10
    assert taken == [0]
    assert list(answers) == [11, 12, 13, 14]


def test_it_ends_when_it_is_told_to():
    done = []

    def work(_, part):
        done.append(part)
        return part

    with pytest.raises(Stopped):
        list(Spread(work, None)(range(9), stopped=lambda: len(done) == 3))
    assert done == [0, 1, 2]


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'arauto\[ray\]'") as caught:
        list(Spread(added, 1, "local")([1]))
    assert caught.value.field == "ray_address"


def kinds(kind=ArautoError):
    return [kind, *(each for one in kind.__subclasses__() for each in kinds(one) if each.__module__ == errors.__name__)]


@pytest.mark.parametrize("kind", kinds())
def test_an_error_crosses_to_another_process_whole(kind):
    error = kind("is wrong", field="here", mend="mend it")
    if isinstance(error, RateLimitError):
        error.retry_after = 7
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), vars(again), str(again)) == (kind, vars(error), str(error))
    assert EngineError in kinds()
