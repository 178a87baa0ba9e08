import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = "from involvit.hub_answer import fault_of_hub; print(fault_of_hub('someone/model', 'config.json', 2.0))"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"HTTPS_PROXY": "socks5://127.0.0.1:9"}, "ImportError: Using SOCKS proxy, but the 'socksio' package is not"),
        ({"SSL_CERT_FILE": "nowhere.pem"}, "; correct or unset the environment variable SSL_CERT_FILE"),
        ({"HF_HUB_OFFLINE": "1"}, "OfflineModeIsEnabled: Cannot reach"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "ConnectError: "),  # a port of no service
    ],
)
def test_why_the_hub_cannot_be_asked_is_told_on_one_line(tmp_path, settings, reason):
    unset = ("HF_HUB_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
    environment = {name: value for name, value in os.environ.items() if name.upper() not in unset}
    environment |= {"HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT), **settings}
    result = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    (line,) = result.stdout.splitlines()
    assert reason in line
