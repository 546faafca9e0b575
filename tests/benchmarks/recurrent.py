"""Does a smaller rank of the recurrent matrix give less away? What finite-width finds, beside what numbers determine.

    python3 tests/benchmarks/recurrent.py build/release/afterimage [--mnist DIR] [--seeds 2] [--width 48] [--seconds 40]
        [--cells rnn,lstm,gru,cfc]

For each cell and rank, networks are trained by gradient descent on 1 and 4 pictures to a loss of 1e-4 and audited with
finite-width for so many seconds. Prints r 2 H / (d N), the numbers of a gate's recurrent factors for each unknown pixel,
all parameters for each, what came back, the mean relative L2 distance and SSIM, and membership's AUC.
Needs numpy.
"""
import numpy
from program import Program, arguments, findings

PIXELS = 28 * 28


def main():
    options = arguments(seeds=2, width=48, seconds=40, cells="rnn,lstm,gru,cfc")
    program = Program(options.program, options.mnist)
    print("| cell | rank | N | r 2H / dN | parameters / dN | came back | mean L2 | mean SSIM | AUC |")
    for cell in options.cells.split(","):
        for rank in (2, 8, options.width):
            for samples in (1, 4):
                back, distances, similarities, areas, parameters = 0, [], [], [], 0
                for seed in range(options.seeds):
                    name = f"{cell}-{rank}-{samples}-{seed}"
                    run = program.train(name, samples, f"{cell}:{options.width},rank={rank}", "--learning-rate", 0.05,
                                        "--until-loss", 1e-4, "--steps", 4000, "--mean", "public", "--seed", seed)
                    if run is None:
                        print(f"{name}: training failed", flush=True)
                        continue
                    _, report = program.audit(run, "--attacks", "finite-width", "--time-limit", options.seconds)
                    found = findings(report)["finite-width"]
                    parameters = report["model"]["parameters"]
                    if found["reconstructed"]:
                        back += found["reconstructed"]["count"]
                        distances.append(found["mean_relative_distance"])
                        similarities.append(found["mean_ssim"])
                    if found["membership"]:
                        areas.append(found["membership"]["auc"])
                means = [numpy.mean(values) if values else float("nan") for values in (distances, similarities, areas)]
                print(f"| {cell} | {rank} | {samples} | {rank * 2 * options.width / PIXELS / samples:.2f} | "
                      f"{parameters / PIXELS / samples:.1f} | {back} of {samples * options.seeds} | {means[0]:.2f} | "
                      f"{means[1]:.2f} | {means[2]:.2f} |", flush=True)


main()
