"""The report page in a real browser: every chart is drawn, no script fails, hostile strings are escaped, nothing is fetched,
nothing is wider than a phone, and text has enough contrast.

    page_test.py PROGRAM [SCREENSHOT_FOLDER]          exits 77 where chromium is missing
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    sys.exit(77)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--virtual-time-budget=4000", "--hide-scrollbars"]
LIGHT, DARK = "--blink-settings=preferredColorScheme=1", "--blink-settings=preferredColorScheme=0"
HOSTILE = ["</script><script>document.title='owned'</script>", "\"><img src=x onerror=\"document.title='owned'\">",
           "<!--<script>", "{{verdict}}", "line\nbreak\u2028</script>", "x" * 300]
# Measures a copy of the page; the real one's policy would not let it run.
PROBE = r"""
addEventListener("load", () => setTimeout(() => {
  const luminance = (rgb) => rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
  const behind = (node) => { for (; node; node = node.parentElement) { const c = parts(getComputedStyle(node).backgroundColor); if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
  let faint = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !node.checkVisibility() || node.tagName === "SCRIPT") continue;
    const [a, b] = [luminance(parts(getComputedStyle(node).color).slice(0, 3)), luminance(behind(node))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(node.className + " " + contrast.toFixed(2));
  }
  const wide = [...document.querySelectorAll("body *")].filter((node) => node.getBoundingClientRect().right > innerWidth + 1).map((node) => node.tagName + "." + node.className);
  parent.postMessage({ width: innerWidth, overflow: document.documentElement.scrollWidth - innerWidth, wide, faint: [...new Set(faint)] }, "*");
}, 500));
"""


def browse(page, *more):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        return subprocess.run([CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *more, page.as_uri()], capture_output=True,
                              text=True, timeout=120).stdout


def framed(page, width, height, folder):
    """A page that shows another one at a width narrower than a headless window can be."""
    frame = folder / "frame.html"
    frame.write_text(f"<body style='margin:0'><iframe src='{page.name}' style='border:0' width={width} height={height}></iframe>"
                     "<pre id=m></pre><script>onmessage = (e) => { m.textContent = 'MEASURED' + JSON.stringify(e.data) + 'END'; }</script>")
    return frame


def measure(page, width, folder, *flags):
    source = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(), count=1)
    copy = folder / "probed.html"
    copy.write_text(source.replace("</head>", f"<script>{PROBE}</script></head>", 1))
    dom = browse(framed(copy, width, 900, folder), "--dump-dom", "--window-size=1300,1000", *flags)
    found = re.search("MEASURED({.*?})END", dom)
    assert found, "the page was not measured"
    return json.loads(found.group(1))


def check_comparison(run, folder):
    spec = {"schema": "afterimage.compare/1", "data": "fashion-mnist", "task": "odd-even", "samples": 12,
            "architecture": "mlp:64,64", "audit": {"attacks": "span,vertices"},
            "settings": [{"defense": "none"}, {"name": "".join(HOSTILE), "defense": "random-subset", "options": {"per-class": 2}}]}
    (folder / "spec.json").write_text(json.dumps(spec))
    subprocess.run([*run, "compare", folder / "spec.json", "--out", folder / "compared"], check=True, capture_output=True)
    check_page(folder / "compared/comparison.html", "defences compared")


def check_tasks(run, folder):
    subprocess.run([*run, "train", "--data", "fashion-mnist", "--tasks", "0,1/2,3/4,5", "--samples", "12", "--architecture",
                    "mlp:16", "--loss", "logistic", "--defense", "gvcl", "--defense-option", "steps=20", "--out",
                    folder / "turns"], check=True, capture_output=True)
    summary = json.loads((folder / "turns/tasks.json").read_text())
    summary["tasks"][1] = HOSTILE[0] + HOSTILE[5]
    summary["data"] = HOSTILE[1]
    summary["defense"]["evidence"][HOSTILE[2]] = HOSTILE[3]
    (folder / "turns/hostile.json").write_text(json.dumps(summary))
    page = folder / "turns/hostile.html"
    subprocess.run([*run, "render", folder / "turns/hostile.json", "--out", page], check=True, capture_output=True)
    check_page(page, "tasks in turn")


def check_page(page, title):
    dom = browse(page, "--dump-dom")
    assert 'data-charts="1"' in dom and 'data-errors="0"' in dom, f"{title}: the chart was not drawn"
    assert f"<title>afterimage: {title}</title>" in dom and "<img src=\"x\"" not in dom
    for width in (320, 390, 1200):
        measured = measure(page, width, page.parent)
        assert measured["overflow"] <= 0 and not measured["wide"], f"{title}: wider than {width} pixels: {measured}"
    for scheme in (LIGHT, DARK):
        faint = measure(page, 1200, page.parent, scheme)["faint"]
        assert not faint, f"{title}: text of too little contrast, {scheme}: {faint}"


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = pathlib.Path(temporary)
        run = [program, "--quiet"]
        subprocess.run([*run, "train", "--data", "fashion-mnist", "--task", "odd-even", "--samples", "12", "--architecture",
                        "mlp:128,128", "--out", folder / "run"], check=True, capture_output=True)
        subprocess.run([*run, "audit", folder / "run", "--steps", "400", "--out", folder / "report"], capture_output=True)
        report = json.loads((folder / "report/report.json").read_text())
        report["inputs"][0]["name"] = HOSTILE[0]
        report["inputs"][1]["name"] = HOSTILE[5]
        made = next(f for f in report["findings"] if f["samples"])
        made["samples"][0]["label"] = HOSTILE[1]
        made["reason"] = HOSTILE[2]
        made["evidence"][HOSTILE[5]] = HOSTILE[4]
        report["limitations"].append(HOSTILE[4] + HOSTILE[5])
        report["tool"]["command"] = HOSTILE[3] + HOSTILE[0]
        matrix = {"matrix": HOSTILE[0], "initial": {"radius": None, "singular_values": [1.5, 0.5]},
                  "trained": {"radius": 1.25, "singular_values": [2.0, 1e-9]}}
        report["model"]["connectivity"] = [matrix, {**matrix, "matrix": HOSTILE[5], "initial": None}]
        report["verdict"] = "fail"
        report["gate"] = {"policy": {}, "rules": [
            {"rule": f"{outcome}.max_reconstructed_rate", "measured": 0.25, "limit": None, "outcome": outcome, "reason": HOSTILE[0]}
            for outcome in ("fail", "inconclusive", "pass")]}
        pages = {}
        for verdict in ("fail", "pass", "inconclusive", "not-gated"):
            hostile, pages[verdict] = folder / "hostile.json", folder / f"{verdict}.html"
            hostile.write_text(json.dumps({**report, "verdict": verdict}))
            subprocess.run([program, "render", hostile, "--out", pages[verdict]], check=True, capture_output=True)
        page = pages["fail"]

        source = page.read_text()
        assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", source), "the page names something outside itself"
        dom = browse(page, "--dump-dom")
        canvases = dom.count("<canvas")
        # The spectra, a ROC where membership was scored (the span probe, at least), distances where images were.
        expected = 1 + sum(bool(finding["membership"]) + bool(finding["reconstructed"]) for finding in report["findings"])
        assert canvases == expected >= 6, f"{canvases} charts in the page, {expected} expected"
        assert f'data-charts="{canvases}"' in dom, "not every chart was drawn"
        assert 'data-errors="0"' in dom, "a script failed"
        title = re.search(r"<title>(.*?)</title>", dom).group(1)
        assert title.startswith("afterimage:"), title
        assert "<img src=\"x\"" not in dom and "{{verdict}}" in dom

        for width in (320, 390, 1200):
            measured = measure(page, width, folder)
            assert measured["width"] == width, measured
            assert measured["overflow"] <= 0 and not measured["wide"], f"wider than {width} pixels: {measured}"
        for verdict, path in pages.items():
            for scheme in (LIGHT, DARK):
                faint = measure(path, 1200, folder, scheme)["faint"]
                assert not faint, f"text of too little contrast, verdict {verdict}, {scheme}: {faint}"

        check_comparison(run, folder)
        check_tasks(run, folder)

        screenshots = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else folder
        for name, shown, flags in (("light", page, ["--window-size=1200,4400", LIGHT]), ("dark", page, ["--window-size=1200,4400", DARK]),
                                   ("phone", framed(page, 390, 5200, folder), ["--window-size=500,5200"])):
            target = screenshots / f"{name}.png"
            browse(shown, f"--screenshot={target}", *flags)
            assert target.read_bytes().startswith(b"\x89PNG"), name
        browse(page, f"--print-to-pdf={screenshots / 'print.pdf'}", DARK)
        assert (screenshots / "print.pdf").read_bytes().startswith(b"%PDF"), "print"
        print("charts drawn, hostile strings inert, nothing too wide, text readable, screenshots taken")


main()
