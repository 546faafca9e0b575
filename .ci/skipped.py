"""Fails when a test was skipped that is not listed, and prints all that were skipped.

    skipped.py CTEST_JUNIT_FILE LIST

LIST has one test a line: its name, then " # " and why it may be skipped.
"""
import pathlib
import sys
import xml.etree.ElementTree


def main():
    junit, listed = sys.argv[1:]
    lines = [line for line in pathlib.Path(listed).read_text().splitlines() if line.strip()]
    allowed = dict(line.split(" # ", 1) for line in lines)
    tests = list(xml.etree.ElementTree.parse(junit).getroot().iter("testcase"))
    skipped = {test.get("name"): test.findtext("system-out", "") for test in tests if test.get("status") != "run" and
               test.find("failure") is None}
    unexpected = [name for name in skipped if name not in allowed]
    print(f"{len(tests)} tests, {len(skipped)} skipped")
    for name, output in skipped.items():
        print(f"  skipped: {name}: {allowed.get(name, 'NOT LISTED in ' + listed)}")
        if name in unexpected:
            print("    " + output.strip().replace("\n", "\n    "))
    for name in allowed.keys() - {test.get("name") for test in tests}:
        print(f"  no test has the name that {listed} lists: {name}")
        unexpected.append(name)
    if not tests:
        print("no test ran")
    return 1 if unexpected or not tests else 0


sys.exit(main())
