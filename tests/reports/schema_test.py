"""Real and sample reports and policies are valid against reports/schema, invalid ones are not, and the SARIF and JUnit
files of `gate` are as docs/ci-formats.md says.

    schema_test.py SOURCE_ROOT PROGRAM TEST_REPORTS          exits 77 where python3-jsonschema is missing
"""
import copy
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

try:
    import jsonschema
except ImportError:
    sys.exit(77)

HOSTILE = "</script>\"'&<]]>\n\t\u2028\ufffe\u0001 why"


def made(report):
    """A finding with reconstructed images."""
    return next(finding for finding in report["findings"] if finding["samples"])


def bound(report):
    return made(report)["membership"]["epsilon_lower_bound"]


GOOD_POLICIES = [
    {"max_reconstructed_rate": 0.0, "max_membership_tpr_at_1pct_fpr": 0.05,
     "attacks": {"finite-width": {"max_reconstructed_rate": 0.02}}, "require_attacks": ["finite-width", "span"],
     "minimum_control_samples": 100, "on_inconclusive": "fail", "reasons": {"max_reconstructed_rate": HOSTILE}},
    {"max_reconstructed_rate": 0.5, "hold_against": "upper"},
    {"max_membership_advantage": 0.2, "max_epsilon_lower_bound": 3, "attacks": {"loss": {"max_epsilon_lower_bound": 8.5}}},
]
BAD_POLICIES = [
    {"max_reconstructed_rat": 0}, {"max_reconstructed_rate": 1.5}, {"max_reconstructed_rate": "0"},
    {"max_reconstructed_rate": 0, "schema": "afterimage.policy/2"},
    {"max_reconstructed_rate": 0, "attacks": {"span": {"max": 0}}}, {"max_reconstructed_rate": 0, "attacks": []},
    {"max_reconstructed_rate": 0, "require_attacks": "span"}, {"max_reconstructed_rate": 0, "on_inconclusive": "maybe"},
    {"max_reconstructed_rate": 0, "minimum_control_samples": -1}, {"max_reconstructed_rate": 0, "hold_against": "lower"},
    {"max_reconstructed_rate": 0, "reasons": {"max_reconstructed_rate": 7}}, {"max_epsilon_lower_bound": -1},
    {"max_epsilon_lower_bound": "3"}, {"max_membership_advantage": 1.5},
]
BROKEN_REPORTS = [
    lambda r: r.pop("verdict"), lambda r: r.update(verdict="good"), lambda r: r.update(schema="afterimage.report/2"),
    lambda r: r["findings"][0].pop("status"), lambda r: r["findings"][0].update(status="inconclusive", reason=""),
    lambda r: r["findings"][0].update(iterations=0.5), lambda r: r["inputs"][0].update(sha256="xyz"),
    lambda r: r["data"].update(samples=-1), lambda r: made(r)["reconstructed"].update(rate=95),
    lambda r: made(r)["control"].update(ci95=[0]), lambda r: made(r).update(p_value="small"),
    lambda r: made(r)["membership"].update(auc=None), lambda r: bound(r).update(value=-1),
    lambda r: bound(r).update(method="guess"), lambda r: bound(r).pop("ceiling"), lambda r: bound(r).update(delta=1), lambda r: r["gate"]["rules"][0].update(outcome="maybe"),
    lambda r: made(r)["samples"][0].update(original_png="\" onerror=\""), lambda r: r.update(timing=[]),
]


# What the schema of Jenkins' xUnit plugin (junit-10.xsd) lets stand in an element: attributes (! is required), children.
JUNIT = {
    "testsuite": ("name! tests! failures! errors! skipped time id package", "properties testcase"),
    "properties": ("", "property"), "property": ("name! value!", ""),
    "testcase": ("name! classname time group", "failure error skipped"),
    "failure": ("type message", ""), "error": ("type message", ""), "skipped": ("type message", ""),
}
JUNIT_TIME = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?")


BROKEN_COMPARISONS = [
    lambda c: c.pop("settings"), lambda c: c["settings"][0].update(sentence=""), lambda c: c["settings"][0].update(p_value=2),
    lambda c: c["settings"][1]["pictures"][0].update(support_png="\" onerror=\""), lambda c: c.update(seeds=[]),
    lambda c: c["settings"][0]["runs"][0].update(status="failed", reason=""), lambda c: c["settings"][0].update(on_front=1),
]


def load(path):
    return json.loads(pathlib.Path(path).read_text(), parse_constant=lambda c: sys.exit(f"{c} in {path}"))


def validator_of(path):
    schema = load(path)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def check_valid(validator, document):
    errors = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]
    assert not errors, errors


def check_sarif(run, outcomes, level, place):
    """`outcomes` are those of all rules, by name; `level` is that of an inconclusive one."""
    driver = run["tool"]["driver"]
    assert [rule["id"] for rule in driver["rules"]] == ["afterimage/" + name for name in outcomes], driver
    for rule in driver["rules"]:
        assert rule["name"] and rule["help"]["text"] and rule["defaultConfiguration"]["level"] == "error", rule
        assert all(1 <= len(rule[key]["text"]) <= 1024 for key in ("shortDescription", "fullDescription")), rule
    levels = {"afterimage/" + name: "error" if outcome == "fail" else level
              for name, outcome in outcomes.items() if outcome != "pass"}
    assert {result["ruleId"]: result["level"] for result in run["results"]} == levels, run
    assert run["columnKind"] == "unicodeCodePoints", run
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"] and result["kind"] == "fail", result
        location = result["locations"][0]["physicalLocation"]
        assert location["artifactLocation"] == place and len(location["region"]) == 4, location
        assert set(result["partialFingerprints"]) >= {"primaryLocationLineHash"}, result


def check_junit(suite, outcomes, skips):
    def check_element(element):
        attributes, children = JUNIT[element.tag]
        assert set(element.attrib) <= set(attributes.replace("!", "").split()), element.attrib
        assert {name[:-1] for name in attributes.split() if name.endswith("!")} <= set(element.attrib), element.attrib
        assert {child.tag for child in element} <= set(children.split()), element.tag
        assert JUNIT_TIME.fullmatch(element.get("time", "0")), element.attrib
        for child in element:
            check_element(child)

    check_element(suite)
    inconclusive = "skipped" if skips else "error"
    found = {case.get("name"): case[0].tag if len(case) else "pass" for case in suite.iter("testcase")}
    tags = {"pass": "pass", "fail": "failure", "inconclusive": inconclusive}
    assert found == {name: tags[outcome] for name, outcome in outcomes.items()}, found
    for tag, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert int(suite.get(attribute)) == list(found.values()).count(tag), suite.attrib
        assert all(element.text.startswith(element.get("message")) for element in suite.iter(tag)), tag
    assert int(suite.get("tests")) == len(outcomes), suite.attrib


def check_policies(root, program, report, folder):
    validator = validator_of(root / "reports/schema/policy-1.json")
    check_valid(validator, load(root / "tests/data/policy.json"))
    file, sarif, junit = folder / "a policy.json", folder / "gate.sarif", folder / "gate.xml"
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()

    def gate(which, cwd):
        """Result, SARIF run, JUnit suite; None for files that were not written."""
        result = subprocess.run([program, "gate", which, "--policy", file, "--sarif", sarif, "--junit", junit],
                                capture_output=True, text=True, cwd=cwd)
        files = (load(sarif)["runs"][0] if sarif.exists() else None,
                 xml.etree.ElementTree.parse(junit).getroot() if junit.exists() else None)
        sarif.unlink(missing_ok=True)
        junit.unlink(missing_ok=True)
        return result, *files

    for fields, valid in [(p, True) for p in GOOD_POLICIES] + [(p, False) for p in BAD_POLICIES]:
        policy = {"schema": "afterimage.policy/1", **fields}
        assert validator.is_valid(policy) == valid, policy
        file.write_text(json.dumps(policy))
        result, run, suite = gate(report, elsewhere)
        assert (result.returncode in (0, 1)) == valid and (result.returncode == 2) != valid, (policy, result)
        if not valid:
            assert len(result.stderr.strip().splitlines()) == 1 and run is None and suite is None, (policy, result)
            continue
        outcomes = dict(re.findall(r"^(\S+): (pass|fail|inconclusive) \(", result.stdout, re.M))
        assert len(outcomes) >= 1, result.stdout
        check_sarif(run, outcomes, "error", {"uri": "a%20policy.json", "uriBaseId": "POLICYFOLDER"})
        assert "uri" not in run["originalUriBaseIds"]["POLICYFOLDER"] and str(folder) not in json.dumps(run), run
        check_junit(suite, outcomes, skips=False)

    rules = {"max_reconstructed_rate": 0.0, "minimum_control_samples": 10**9}
    for choice, level, code in (("fail", "error", 1), ("inconclusive", "warning", 3), ("pass", "note", 0)):
        file.write_text(json.dumps({"schema": "afterimage.policy/1", "on_inconclusive": choice, **rules}))
        result, run, suite = gate(report, folder)
        outcomes = dict(re.findall(r"^(\S+): (pass|fail|inconclusive) \(", result.stdout, re.M))
        assert outcomes["minimum_control_samples"] == "inconclusive", result.stdout
        assert result.returncode == (1 if "fail" in outcomes.values() else code), result
        check_sarif(run, outcomes, level, {"uri": "a%20policy.json"})
        check_junit(suite, outcomes, skips=choice == "pass")

    other = load(report)
    next(file for file in other["inputs"] if file["role"] == "trained")["sha256"] = "0" * 64
    (folder / "other.json").write_text(json.dumps(other))
    prints, names = [], []
    for which in (report, report, folder / "other.json"):
        _, run, suite = gate(which, folder)
        prints.append({value for result in run["results"] for value in result["partialFingerprints"].values()})
        names.append({(case.get("classname"), case.get("name")) for case in suite.iter("testcase")})
    assert prints[0] == prints[1] and prints[0] and not prints[0] & prints[2], prints
    assert names[0] == names[1] and not names[0] & names[2], names


def check_comparison(root, run, folder):
    validator = validator_of(root / "reports/schema/comparison-1.json")
    spec = {"schema": "afterimage.compare/1", "data": "fashion-mnist", "task": "odd-even", "samples": 8,
            "architecture": "mlp:64,64", "audit": {"attacks": "span,vertices"},
            "settings": [{"defense": "none"}, {"name": HOSTILE, "defense": "kip",
                                               "options": {"per-class": 2, "distillation-steps": 20}}]}
    (folder / "spec.json").write_text(json.dumps(spec))
    subprocess.run([*run, "compare", folder / "spec.json", "--out", folder / "compared"], check=True, capture_output=True)
    comparison = load(folder / "compared/comparison.json")
    check_valid(validator, comparison)
    for number, spoil in enumerate(BROKEN_COMPARISONS):
        broken = copy.deepcopy(comparison)
        spoil(broken)
        assert not validator.is_valid(broken), f"broken comparison {number} is valid"


def main():
    root, program, tests = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    validator = validator_of(root / "reports/schema/report-1.json")
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        sample = folder / "sample.json"
        subprocess.run([tests, "a report read from its JSON is equal to the one that was written"], check=True, capture_output=True,
                       env={**os.environ, "AFTERIMAGE_SAMPLE_REPORT": str(sample)})
        check_valid(validator, load(sample))
        run = [program, "--quiet"]
        subprocess.run([*run, "train", "--data", "fashion-mnist", "--task", "odd-even", "--samples", "8", "--architecture",
                        "mlp:64,64", "--out", folder / "run"], check=True)
        codes = []
        for name, more in (("unknown", ["--unknown-start", "--attacks", "span,kkt"]), ("plain", []),
                           ("gated", ["--policy", root / "tests/data/policy.json"])):
            codes.append(subprocess.run([*run, "audit", folder / "run", "--steps", "200", "--out", folder / name, *more]).returncode)
            report = load(folder / name / "report.json")
            check_valid(validator, report)
        assert codes[0] == 3 and codes[1] in (0, 3) and codes[2] == 1, codes
        for number, spoil in enumerate(BROKEN_REPORTS):
            broken = copy.deepcopy(report)
            spoil(broken)
            assert not validator.is_valid(broken), f"broken report {number} is valid"
        check_policies(root, program, folder / "gated/report.json", folder)
        check_comparison(root, run, folder)
    print(f"reports and policies valid; {len(BROKEN_REPORTS)} broken reports and {len(BAD_POLICIES)} policies are not")


main()
