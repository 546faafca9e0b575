"""Runs every command that the README marks as tested, in order, in a folder of its own, and checks their exit codes.

    readme_test.py SOURCE_ROOT PROGRAM
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

EXPECTED = {"gate": 1, "verify": 0, "attack finite-width": None}  # None: 0 or 3, a short search may not settle


def main():
    root, program = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    readme = (root / "README.md").read_text()
    blocks = re.findall(r"<!-- test: run these -->\n```\n(.*?)```", readme, re.S)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) >= 9, commands
    untested = set(re.findall(r"^build/release/afterimage .*$", readme, re.M)) - set(commands)
    assert not untested, f"commands that no test runs: {untested}"
    for script in re.findall(r"^(?:audit|tests)/\w+$", readme, re.M):
        assert os.access(root / script, os.X_OK), f"{script} cannot be run"
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "build").mkdir()
        os.symlink(program.parent, pathlib.Path(folder) / "build" / "release")
        os.symlink(root / "tests", pathlib.Path(folder) / "tests")
        for command in commands:
            result = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
            wanted = next((code for words, code in EXPECTED.items() if f"afterimage {words}" in command), 0)
            allowed = (0, 3) if wanted is None else (wanted,)
            print(result.returncode, command)
            assert result.returncode in allowed, result.stdout + result.stderr
        assert (pathlib.Path(folder) / "out/page.html").exists()


main()
