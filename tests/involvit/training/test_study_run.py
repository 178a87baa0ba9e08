import os
import subprocess
import sys

from involvit.training.study_run import OF_STUDY

SCRIPT = """
import sys, time
from involvit.training.study_run import end_with_study
end_with_study()
print("running", flush=True)
time.sleep(float(sys.argv[1]))
"""


def go(environment, seconds):
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, seconds], stdin=pipe, stdout=pipe, env=environment)
    process.stdout.readline()
    process.stdin.close()  # as the system does when the study is killed
    return process.wait(timeout=60)


def test_a_training_ends_with_its_study_and_one_of_no_study_does_not():
    assert go({**os.environ, OF_STUDY: "1"}, "60") == 130
    assert go({name: value for name, value in os.environ.items() if name != OF_STUDY}, "0.3") == 0
