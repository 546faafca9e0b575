// Draws each task's accuracy after each task from the figures in the page. Without this script the page still has them.
"use strict";
(() => {
  let errors = 0;
  window.addEventListener("error", () => { errors += 1; document.body.dataset.errors = errors; });
  const sequence = JSON.parse(document.getElementById("report").textContent);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const dashes = [[], [7, 4], [2, 3], [10, 3, 2, 3]];
  let chart = null;

  const axis = (title, extra) => ({
    title: { display: true, text: title, color: colour("--soft") },
    ticks: { color: colour("--soft"), maxRotation: 0 },
    grid: { color: colour("--line") },
    ...extra,
  });

  const draw = () => {
    if (chart !== null) chart.destroy();
    const lines = sequence.tasks.map((name, task) => ({
      label: name,
      data: sequence.after.map((row, t) => (task <= t ? 100 * row.accuracy[task] : null)),
      borderColor: colour(task % 2 === 0 ? "--control" : "--member"),
      backgroundColor: colour(task % 2 === 0 ? "--control" : "--member"),
      borderDash: dashes[Math.floor(task / 2) % dashes.length],
      borderWidth: 1.5,
    }));
    const low = Math.min(...lines.flatMap((line) => line.data.filter((value) => value !== null)));
    chart = new Chart(document.querySelector("canvas[data-chart]"), {
      type: "line",
      data: { labels: sequence.tasks.map((name, t) => String(t + 1)), datasets: lines },
      options: {
        responsive: true,
        maintainAspectRatio: false,
        animation: false,
        scales: {
          x: axis("after task"),
          y: axis("test accuracy, %", { min: Math.max(0, Math.floor((low - 1) / 10) * 10), max: 100 }),
        },
        plugins: { legend: { labels: { color: colour("--ink"), boxWidth: 40 } } },
      },
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
