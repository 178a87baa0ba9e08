"""transformers' own tests run only by `make test-transformers`: they are in its source distribution, not in its wheel.

At the end stands one table: how many tests passed for each class, and each that was skipped, by name with its reason.
"""

import re
from collections import defaultdict

REASONS = {  # of the library's decorators, shortened
    r"test is slow": "slow in the library too: RUN_SLOW=1 runs it",
    r"test requires (an? )?(accelerator|torch.*accelerator|CUDA|GPU|multi|mps)": "needs an accelerator",
}


def pytest_configure(config):
    if config.option.markexpr == "transformers":
        config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnknownMarkWarning")  # the library's own marks


def pytest_ignore_collect(collection_path, config):
    return True if config.option.markexpr != "transformers" else None


def pytest_terminal_summary(terminalreporter):
    counts = defaultdict(lambda: defaultdict(int))
    skipped = defaultdict(set)
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.getreports(outcome):
            if "tests/transformers/" not in report.nodeid or (outcome == "passed" and report.when != "call"):
                continue
            _, class_name, test = report.nodeid.split("::")
            counts[class_name][outcome] += 1
            if outcome == "skipped":
                test = re.sub(r"(?<!attn)_\d+(_\w+)?$", "", test)  # the cases of a parameterised test
                skipped[test, _reason(report)].add(class_name)
    if not counts:
        return
    write = terminalreporter.write_line
    terminalreporter.section("transformers' tests on our classes")
    write(f"{'class':<24}{'passed':>8}{'failed':>8}{'skipped':>8}")
    for class_name, outcomes in sorted(counts.items()):
        write(f"{class_name:<24}{outcomes['passed']:>8}{outcomes['failed']:>8}{outcomes['skipped']:>8}")
    by_reason = defaultdict(list)
    for (test, reason), class_names in skipped.items():
        whose = "" if len(class_names) == len(counts) else f" ({', '.join(sorted(class_names))})"
        by_reason[reason].append(f"{test}{whose}")
    for reason, tests in sorted(by_reason.items()):
        write(f"\nskipped: {reason}")
        for test in sorted(tests):
            write(f"    {test}")


def _reason(report) -> str:
    _, _, reason = report.longrepr
    reason = reason.removeprefix("Skipped: ")
    for pattern, shorter in REASONS.items():
        if re.match(pattern, reason):
            return shorter
    return reason
