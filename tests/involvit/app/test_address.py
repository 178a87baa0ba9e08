import socket

import pytest

from involvit.app.address import named_port


@pytest.fixture(autouse=True)
def address(monkeypatch):
    """Sets the variables of the address, of which none is set before."""
    for name in ("NAME", "PORT"):
        monkeypatch.delenv(f"GRADIO_SERVER_{name}", raising=False)
    return lambda **variables: [monkeypatch.setenv(f"GRADIO_{name}", value) for name, value in variables.items()]


def test_gradio_looks_for_a_port_where_none_is_named():
    assert named_port() is None


def test_a_free_port_is_taken_on_every_address_of_this_machine(address):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("127.0.0.1", "0.0.0.0", "localhost"):
        address(SERVER_PORT=str(port), SERVER_NAME=name)
        assert named_port() == port


def test_a_port_in_use_is_an_error_that_names_the_variable(address):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        address(SERVER_PORT=str(port))
        with pytest.raises(OSError, match=f"GRADIO_SERVER_PORT={port} is in use; name another"):
            named_port()


@pytest.mark.parametrize("value", ["abc", "", "7860.5", "99999", "-1", "0", "9" * 5000])
@pytest.mark.parametrize("name", ["SERVER_PORT", "NUM_PORTS"])
def test_what_is_no_port_is_an_error_that_names_the_variable(address, name, value):
    address(**{name: value})
    with pytest.raises(ValueError, match=f"^GRADIO_{name}='{value}' is not a whole number from 1 to 65535"):
        named_port()


@pytest.mark.parametrize("value", ["8.8.8.8", "", "::1", "[::1]", "a..b", "x" * 300])
def test_what_is_no_address_of_this_machine_is_an_error_that_names_the_variable(address, value):
    address(SERVER_NAME=value)
    with pytest.raises(ValueError, match=r"^GRADIO_SERVER_NAME='.*' is no IPv4 address of this machine; give 127"):
        named_port()
