// Draws the charts from the report in the page. Without this script the page still has every figure in its tables.
"use strict";
(() => {
  let errors = 0;
  window.addEventListener("error", () => { errors += 1; document.body.dataset.errors = errors; });
  const report = JSON.parse(document.getElementById("report").textContent);
  const charts = [];
  const unit = report.data.kind === "record" ? "record" : "image";
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const histogram = (values, edges) => {
    const counts = new Array(edges.length - 1).fill(0);
    for (const value of values) {
      if (value === null) continue;
      let bin = edges.findIndex((edge, i) => i > 0 && value < edge) - 1;
      if (bin < 0) bin = counts.length - 1;
      counts[bin] += 1;
    }
    return counts.map((count) => (100 * count) / values.length);
  };

  const axis = (title, extra) => ({
    title: { display: true, text: title, color: colour("--soft") },
    ticks: { color: colour("--soft"), maxRotation: 0 },
    grid: { color: colour("--line") },
    ...extra,
  });

  const common = (x, y) => ({
    responsive: true,
    maintainAspectRatio: false,
    animation: false,
    scales: { x, y },
    plugins: { legend: { labels: { color: colour("--ink"), boxWidth: 14 } } },
  });

  const distances = (canvas, finding) => {
    const most = Math.max(1, ...finding.member_distances, ...finding.control_distances);
    const top = Math.min(most, 2);
    const bins = 24;
    const edges = Array.from({ length: bins + 1 }, (_, i) => (top * i) / bins);
    const labels = edges.slice(0, -1).map((edge) => edge.toFixed(2));
    const threshold = finding.threshold === null ? "" : " (reconstructed below " + finding.threshold.toFixed(2) + ")";
    return new Chart(canvas, {
      type: "bar",
      data: {
        labels,
        datasets: [
          { label: "training " + unit + "s" + threshold, data: histogram(finding.member_distances, edges), backgroundColor: colour("--member"), barPercentage: 1, categoryPercentage: 0.9 },
          { label: "control " + unit + "s", data: histogram(finding.control_distances, edges), backgroundColor: colour("--control"), barPercentage: 1, categoryPercentage: 0.9 },
        ],
      },
      options: common(axis("relative L2 distance", { grid: { display: false }, ticks: { color: colour("--soft"), autoSkip: true, maxTicksLimit: 9, maxRotation: 0 } }), axis("share of " + unit + "s, %", { beginAtZero: true })),
    });
  };

  const roc = (canvas, finding) => {
    const resolvable = 1 / Math.max(1, report.data.control_samples);
    const points = finding.membership.roc.map(([x, y]) => ({ x: Math.max(x, resolvable / 2), y }));
    const chance = Array.from({ length: 41 }, (_, i) => Math.pow(resolvable / 2, 1 - i / 40)).map((x) => ({ x, y: x }));
    const nice = (value) => [1, 0.1, 0.01, 0.001, 0.0001].find((tick) => Math.abs(value - tick) < 1e-9 * tick);
    return new Chart(canvas, {
      type: "line",
      data: {
        datasets: [
          { label: finding.attack, data: points, borderColor: colour("--member"), backgroundColor: colour("--member"), pointRadius: 0, borderWidth: 2.5, clip: 4 },
          { label: "guessing", data: chance, borderColor: colour("--soft"), borderDash: [5, 4], pointRadius: 0, borderWidth: 1.5 },
        ],
      },
      options: common(
        axis("false positive rate (log scale)", { type: "logarithmic", min: resolvable / 2, max: 1, ticks: { color: colour("--soft"), maxRotation: 0, callback: (value) => (nice(value) === undefined ? "" : String(nice(value))) } }),
        axis("true positive rate", { min: 0, max: 1 })),
    });
  };

  // The legend shows the marks that tell curves of one colour apart.
  const marked = (x, y) => {
    const options = common(x, y);
    options.plugins.legend.labels.usePointStyle = true;
    return options;
  };

  const spectra = (canvas) => {
    const marks = ["circle", "rect", "triangle", "crossRot"];
    const curve = (matrix, values, mark, dashed) => ({
      label: matrix + (dashed ? ", before" : ""),
      data: values.map((y, i) => ({ x: i + 1, y })),
      borderColor: colour(dashed ? "--control" : "--member"),
      backgroundColor: colour(dashed ? "--control" : "--member"),
      borderDash: dashed ? [5, 4] : [],
      pointStyle: mark,
      pointRadius: values.length > 64 ? 0 : 3,
      borderWidth: 2,
    });
    const datasets = [];
    report.model.connectivity.forEach(({ matrix, initial, trained }, i) => {
      const mark = marks[i % marks.length];
      datasets.push(curve(matrix, trained.singular_values, mark, false));
      if (initial !== null) datasets.push(curve(matrix, initial.singular_values, mark, true));
    });
    return new Chart(canvas, {
      type: "line",
      data: { datasets },
      options: marked(axis("number", { type: "linear", min: 1, ticks: { color: colour("--soft"), precision: 0, maxRotation: 0 } }), axis("singular value", { beginAtZero: true })),
    });
  };

  const draw = () => {
    while (charts.length > 0) charts.pop().destroy();
    for (const canvas of document.querySelectorAll("canvas[data-chart]")) {
      const kind = { roc, distances, spectra }[canvas.dataset.chart];
      charts.push(kind(canvas, report.findings[Number(canvas.dataset.finding)]));
    }
    document.body.dataset.charts = String(charts.length);
    document.body.dataset.errors = String(errors);
  };
  draw();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  // Print in light colours, with everything unfolded.
  const print = (on) => { document.documentElement.classList.toggle("printing", on); draw(); };
  window.addEventListener("beforeprint", () => { for (const fold of document.querySelectorAll("details")) fold.open = true; print(true); });
  window.addEventListener("afterprint", () => print(false));
})();
