"""Does the deviation predict how well the tangent attack reconstructs? Trains networks over widths, step sizes and numbers of images,
attacks each by the tangent search alone (linear programmes are exact for any kernel), and prints
Spearman's correlation of the mean distance with every figure of the deviation.

    python3 tests/benchmarks/deviation_correlation.py build/release/afterimage [--mnist DIR] [--widths 128,256,512,1024]
        [--rates 1e-3,4e-3] [--samples 10,20,40]

Needs numpy.
"""
import numpy
from program import Program, arguments, findings


def ranks(values):
    values = numpy.asarray(values, float)
    return numpy.array([(values < value).sum() + ((values == value).sum() + 1) / 2 for value in values])


def main():
    options = arguments(widths="128,256,512,1024", rates="1e-3,4e-3", samples="10,20,40")
    program = Program(options.program, options.mnist)
    rows = []
    print("width  rate   samples  distance  kernel distance  linearization error  residual at the truth", flush=True)
    for width in map(int, options.widths.split(",")):
        for rate in map(float, options.rates.split(",")):
            for samples in map(int, options.samples.split(",")):
                run = program.train(f"{width}-{rate}-{samples}", samples, f"mlp:{width},{width}", "--learning-rate", rate)
                if run is None:
                    continue
                _, report = program.audit(run, "--attacks", "finite-width", "--rounds", 0)
                finding, deviation = findings(report)["finite-width"], report["deviation"]
                # An image without a reconstruction is as far as the mean image: 1.
                distances = [1.0 if sample["relative_distance"] is None else min(1.0, sample["relative_distance"])
                             for sample in finding["samples"]]
                figures = [deviation[name] for name in ("kernel_distance", "linearization_error", "residual_at_truth")]
                rows.append([numpy.mean(distances), *figures, width, rate, samples])
                print(f"{width:5}  {rate:5.0e}  {samples:7}  {rows[-1][0]:8.4f}  {figures[0]:15.5f}  {figures[1]:19.4f}  "
                      f"{figures[2]:21.4f}", flush=True)
    table = numpy.array(rows)
    for column, name in enumerate(("kernel distance", "linearization error", "residual at the truth"), start=1):
        print(f"Spearman of the distance with {name}: {numpy.corrcoef(ranks(table[:, 0]), ranks(table[:, column]))[0, 1]:.2f}")


main()
