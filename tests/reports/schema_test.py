"""A real report is valid against reports/schema/report-1.json, and reports that break the contract are not.

    schema_test.py SOURCE_ROOT PROGRAM          exits 77 where python3-jsonschema is missing
"""
import copy
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import jsonschema
except ImportError:
    sys.exit(77)


def main():
    root, program = pathlib.Path(sys.argv[1]), sys.argv[2]
    schema = json.loads((root / "reports/schema/report-1.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    with tempfile.TemporaryDirectory() as folder:
        run = [program, "--quiet"]
        subprocess.run([*run, "train", "--data", "fashion-mnist", "--task", "odd-even", "--samples", "8", "--architecture",
                        "mlp:64,64", "--out", folder + "/run"], check=True)
        codes = []
        for name, more in (("plain", []), ("gated", ["--policy", str(root / "tests/data/policy.json")])):
            codes.append(subprocess.run([*run, "audit", folder + "/run", "--steps", "200", "--out", f"{folder}/{name}", *more]).returncode)
            report = json.loads(pathlib.Path(f"{folder}/{name}/report.json").read_text(), parse_constant=lambda c: sys.exit(f"{c} in JSON"))
            errors = [error.message for error in validator.iter_errors(report)]
            assert not errors, errors
        assert codes[0] in (0, 3) and codes[1] == 1, codes
    for spoil in (lambda r: r.pop("verdict"), lambda r: r.update(verdict="good"), lambda r: r["findings"][0].pop("status"),
                  lambda r: r["inputs"][0].update(sha256="xyz"), lambda r: r["data"].update(samples=-1),
                  lambda r: r["findings"][1]["reconstructed"].update(rate=95)):
        broken = copy.deepcopy(report)
        spoil(broken)
        assert not validator.is_valid(broken)
    print("report valid; six broken ones are not")


main()
