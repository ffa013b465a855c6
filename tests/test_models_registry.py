"""Specifications of networks: what is recorded, what is built, what is refused."""

import copy
import pickle

import jsonargparse
import pytest
import torch

from stconv.errors import ConfigError
from stconv.models import (
    REGISTRY,
    Conv2Plus1D,
    Conv3D,
    Increment,
    Network,
    Persistence,
    STConvS2S,
    build,
    describe,
    register,
)


def test_arguments_are_recorded_with_their_defaults():
    assert describe(Conv3D(2, c_out=1, t_in=5, leads=3, n_filters=4)) == {
        "name": "Conv3D",
        "arguments": {
            "c_in": 2,
            "c_out": 1,
            "t_in": 5,
            "leads": 3,
            "n_layers": 3,
            "n_filters": 4,
            "kernel": 5,
            "alignment": "lead",
            "space_padding": "zero",
            "dropout": 0.0,
            "norm": "batch",
            "zero_head": False,
            "convolution": None,
            "filters": None,
        },
    }


def test_nested_networks_are_described_in_place():
    spec = describe(Increment(Increment(Persistence(2, 1, 3, 4))))
    inner = {"name": "Persistence", "arguments": {"c_in": 2, "c_out": 1, "t_in": 3, "leads": 4}}
    assert spec == {
        "name": "Increment",
        "arguments": {"network": {"name": "Increment", "arguments": {"network": inner}}},
    }
    assert isinstance(build(spec).network.network, Persistence)


def test_a_copied_or_pickled_network_describes_itself():
    network = STConvS2S(1, 1, 5, 5, n_filters=2)
    assert (
        describe(copy.deepcopy(network)) == describe(pickle.loads(pickle.dumps(network))) == describe(network)
    )


def test_changing_a_description_does_not_change_the_network():
    network = Persistence(1, 1, 2, 3)
    describe(network)["arguments"]["leads"] = 7
    assert describe(network)["arguments"]["leads"] == 3


def test_the_command_line_sees_the_signature_and_builds_the_network():
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Network, "network")
    inner = {"c_in": 2, "c_out": 1, "t_in": 5, "leads": 3, "n_filters": 4, "alignment": "paper"}
    spec = {
        "class_path": "Increment",
        "init_args": {"network": {"class_path": "Conv2Plus1D", "init_args": inner}},
    }
    found = parser.instantiate(parser.parse_object({"network": spec})).network
    assert describe(found) == describe(Increment(Conv2Plus1D(**inner)))
    wrong = {"class_path": "Conv3D", "init_args": {**inner, "alignment": "newest"}}
    with pytest.raises(jsonargparse.ArgumentError, match="alignment"):
        parser.parse_object({"network": wrong})


REFUSED = [
    (
        {"name": "LSTM", "arguments": {}},
        r"unknown network 'LSTM'\. Registered networks: Advected, AlexNet, Bounded, Climatology, Conv2Plus1D",
    ),
    ({"name": "os.system", "arguments": {}}, r"unknown network 'os\.system'"),
    (
        {"class_path": "Conv3D"},
        r"specified as \{'name': \.\.\., 'arguments': \{\.\.\.\}\}; found \{'class_path'",
    ),
    ("Conv3D", r"specified as .* found 'Conv3D'"),
    (
        {"name": "Persistence", "arguments": {"c_in": 1}},
        r"'Persistence' cannot be built: missing a required arg",
    ),
    (
        {"name": "Persistence", "arguments": {"c_in": 1, "c_out": 1, "t_in": 1, "leads": 1, "depth": 2}},
        r"unexpected keyword argument 'depth'.*It takes: c_in, c_out, t_in, leads\.",
    ),
]


@pytest.mark.parametrize(("spec", "message"), REFUSED)
def test_bad_specifications_are_refused(spec, message):
    with pytest.raises(ConfigError, match=message):
        build(spec)


def test_unregistered_networks_have_no_description():
    class Own(Persistence):
        pass

    with pytest.raises(
        ConfigError, match=r"Own is not a registered network\. Decorate its class with `@register`"
    ):
        describe(Own(1, 1, 1, 1))


def test_a_name_is_taken_once():
    with pytest.raises(
        ConfigError, match=r"a network named 'Conv3D' is registered already \(stconv\.models\.stacks\)"
    ):
        register(type("Conv3D", (Network,), {}))


def test_arguments_must_be_json_able():
    class Loose(Network):
        def __init__(self, c_in, c_out, t_in, leads, *, extra=None):
            super().__init__(c_in, c_out, t_in, leads)

    try:
        register(Loose)
        assert describe(Loose(1, 1, 1, 1, extra=(1, 2)))["arguments"]["extra"] == [1, 2]
        for extra in (torch.zeros(1), float("nan"), {1}):
            with pytest.raises(ConfigError, match="an argument of Loose cannot be written as JSON"):
                Loose(1, 1, 1, 1, extra=extra)
    finally:
        del REGISTRY["Loose"]


@pytest.mark.parametrize(
    "make", [lambda: Persistence(1, 2, 3, 4), lambda: Increment(Conv3D(1, 2, 3, 4, n_filters=1))]
)
def test_persistence_needs_the_history_of_every_target(make):
    with pytest.raises(
        ConfigError, match=r"has 1 input channels for 2 targets.*Add the targets to the inputs"
    ):
        make()


def test_a_registered_subclass_records_its_own_arguments():
    class Wide(Conv3D):
        def __init__(self, c_in, c_out, t_in, leads, *, factor=2):
            super().__init__(c_in, c_out, t_in, leads, n_filters=2 * factor)

    try:
        register(Wide)
        sizes = {"c_in": 1, "c_out": 1, "t_in": 2, "leads": 3}
        assert describe(Wide(**sizes)) == {"name": "Wide", "arguments": {**sizes, "factor": 2}}
    finally:
        del REGISTRY["Wide"]
