// Draws utility against leakage from the comparison in the page. Without this script the page still has every figure.
"use strict";
(() => {
  let errors = 0;
  window.addEventListener("error", () => { errors += 1; document.body.dataset.errors = errors; });
  const comparison = JSON.parse(document.getElementById("report").textContent);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const percent = (value) => 100 * value;
  // Settings have the numbers of the table.
  const measured = comparison.settings.map((setting, i) => ({ ...setting, number: String(i + 1) }))
    .filter((setting) => setting.test_accuracy.mean !== null && setting.reconstructed !== null);
  let chart = null;

  const points = measured.map((setting) => ({
    number: setting.number,
    x: percent(setting.test_accuracy.mean),
    y: percent(setting.reconstructed.rate),
    acrossX: setting.test_accuracy.ci95 === null ? null : setting.test_accuracy.ci95.map(percent),
    acrossY: setting.reconstructed.ci95.map(percent),
    front: setting.on_front,
    settled: setting.runs.every((run) => run.status === "ok"),
  }));

  // Settings at nearly the same place share one label.
  const labels = [];
  for (const point of points) {
    const near = labels.find((label) => Math.abs(label.x - point.x) < 1.2 && Math.abs(label.y - point.y) < 2.5);
    if (near === undefined) labels.push({ x: point.x, y: point.y, text: point.number });
    else near.text += ", " + point.number;
  }

  // Intervals as thin crosses, and each setting's number beside its point.
  const crosses = {
    id: "crosses",
    afterDatasetsDraw(drawn) {
      const { ctx, scales: { x, y }, chartArea } = drawn;
      ctx.save();
      ctx.lineWidth = 1;
      ctx.font = "13px system-ui, sans-serif";
      for (const point of points) {
        const px = x.getPixelForValue(point.x), py = y.getPixelForValue(point.y);
        ctx.strokeStyle = colour(point.front ? "--control" : "--soft");
        ctx.beginPath();
        ctx.moveTo(px, y.getPixelForValue(point.acrossY[0]));
        ctx.lineTo(px, y.getPixelForValue(point.acrossY[1]));
        if (point.acrossX !== null) {
          ctx.moveTo(x.getPixelForValue(point.acrossX[0]), py);
          ctx.lineTo(x.getPixelForValue(point.acrossX[1]), py);
        }
        ctx.stroke();
      }
      ctx.fillStyle = colour("--ink");
      for (const label of labels) {
        const px = x.getPixelForValue(label.x), py = y.getPixelForValue(label.y);
        const right = px + 10 + ctx.measureText(label.text).width > chartArea.right;
        ctx.textAlign = right ? "right" : "left";
        ctx.fillText(label.text, px + (right ? -9 : 9), py - 7);
      }
      ctx.restore();
    },
  };

  const axis = (title, extra) => ({
    title: { display: true, text: title, color: colour("--soft") },
    ticks: { color: colour("--soft"), maxRotation: 0 },
    grid: { color: colour("--line") },
    ...extra,
  });

  const draw = () => {
    if (chart !== null) chart.destroy();
    const front = points.filter((point) => point.front).sort((a, b) => a.x - b.x);
    const others = points.filter((point) => !point.front);
    const pointStyle = ({ raw }) => (raw === undefined || raw.settled ? "circle" : "triangle");
    const high = Math.max(10, ...points.map((point) => point.acrossY[1]));
    const low = Math.min(100, ...points.map((point) => (point.acrossX === null ? point.x : point.acrossX[0])));
    chart = new Chart(document.querySelector("canvas[data-chart]"), {
      type: "scatter",
      data: {
        datasets: [
          { label: "on the Pareto front", data: front, showLine: true, borderColor: colour("--control"), backgroundColor: colour("--control"), pointStyle, pointRadius: 5, borderWidth: 1.5 },
          { label: "other settings", data: others, backgroundColor: colour("--member"), pointStyle, pointRadius: 5 },
        ],
      },
      options: {
        responsive: true,
        maintainAspectRatio: false,
        animation: false,
        scales: {
          x: axis("test accuracy, %", { min: Math.max(0, Math.floor(low / 10) * 10), max: 100 }),
          y: axis("training " + (comparison.data.kind === "record" ? "record" : "image") + "s reconstructed, %", { min: 0, max: Math.min(100, Math.ceil(high / 10) * 10) }),
        },
        plugins: { legend: { labels: { color: colour("--ink"), boxWidth: 14 } } },
      },
      plugins: [crosses],
    });
    document.body.dataset.charts = "1";
    document.body.dataset.errors = String(errors);
  };
  draw();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  const print = (on) => { document.documentElement.classList.toggle("printing", on); draw(); };
  window.addEventListener("beforeprint", () => print(true));
  window.addEventListener("afterprint", () => print(false));
})();
