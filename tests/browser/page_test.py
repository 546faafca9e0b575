"""The report page in a real browser: every chart is drawn, no script fails, hostile strings are inert, nothing is fetched.

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
HOSTILE = ["</script><script>document.title='owned'</script>", "\"><img src=x onerror=\"document.title='owned'\">",
           "<!--<script>", "{{verdict}}"]


def browse(page, *more):
    with tempfile.TemporaryDirectory() as profile:
        return subprocess.run([CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *more, page.as_uri()], capture_output=True,
                              text=True, timeout=120).stdout


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        run = [program, "--quiet"]
        subprocess.run([*run, "train", "--data", "fashion-mnist", "--task", "odd-even", "--samples", "12", "--architecture",
                        "mlp:128,128", "--out", folder / "run"], check=True, capture_output=True)
        subprocess.run([*run, "audit", folder / "run", "--steps", "400", "--out", folder / "report"], capture_output=True)
        report = json.loads((folder / "report/report.json").read_text())
        report["inputs"][0]["name"] = HOSTILE[0]
        report["findings"][1]["samples"][0]["label"] = HOSTILE[1]
        report["findings"][1]["reason"] = HOSTILE[2]
        report["tool"]["command"] = HOSTILE[3] + HOSTILE[0]
        hostile = folder / "hostile.json"
        hostile.write_text(json.dumps(report))
        page = folder / "page.html"
        subprocess.run([program, "render", hostile, "--out", page], check=True, capture_output=True)

        source = page.read_text()
        assert not re.search(r"(?:src|href)\s*=\s*[\"']?(?:https?:)?//", source), "the page names something outside itself"
        dom = browse(page, "--dump-dom")
        assert 'data-charts="3"' in dom, "not every chart was drawn"
        assert 'data-errors="0"' in dom, "a script failed"
        title = re.search(r"<title>(.*?)</title>", dom).group(1)
        assert title.startswith("afterimage:"), title
        assert "<img src=\"x\"" not in dom and "{{verdict}}" in dom

        screenshots = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else folder
        for name, flags in {"light": ["--window-size=1200,4200", "--blink-settings=preferredColorScheme=1"],
                            "dark": ["--window-size=1200,4200", "--blink-settings=preferredColorScheme=0"],
                            "phone": ["--window-size=500,5200"]}.items():
            target = screenshots / f"{name}.png"
            browse(page, f"--screenshot={target}", *flags)
            assert target.read_bytes().startswith(b"\x89PNG"), name
        print("charts drawn, hostile strings inert, screenshots taken")


main()
