import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# What httpx, by which Gradio looks for its own server, does with an address.
SCRIPT = """
import involvit.app.environment
import httpx
for host in ("127.0.0.1", "localhost", "10.0.0.7", "example.com", "huggingface.co"):
    transport = httpx.Client()._transport_for_url(httpx.URL(f"http://{host}:7860/"))
    print(host, "Proxy" in type(transport._pool).__name__)
"""


@pytest.mark.parametrize("no_proxy", [{}, {"NO_PROXY": "example.com"}, {"no_proxy": "example.com"}])
def test_the_page_is_found_on_this_machine_whatever_proxy_leads_elsewhere(no_proxy):
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"http_proxy": "http://127.0.0.1:9", "GRADIO_SERVER_NAME": "10.0.0.7", "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment | no_proxy, capture_output=True, text=True, check=True
    )
    by_proxy = dict(line.split() for line in result.stdout.splitlines())
    is_listed = "False" if no_proxy else "True"
    expected = {"127.0.0.1": "False", "localhost": "False", "10.0.0.7": "False", "huggingface.co": "True"}
    assert by_proxy == expected | {"example.com": is_listed}
