"""KD images per second of resnet56 to resnet20, against the usual loop on the same images.

Run `python -m rltemp.experiments.studies.cifar_throughput --data DATA` on an otherwise idle machine; DATA holds
train/<class>/* and test/<class>/*, without it images of noise are made. `rltemp bench --only throughput` is the same
without options.
"""

import argparse

from rltemp.experiments.bench.section import tables
from rltemp.experiments.bench.throughput import measure
from rltemp.experiments.bench.timing import one_thread
from rltemp.experiments.console import output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="a tree of images of 32 x 32 px")
    parser.add_argument("--seconds", type=float, default=60.0, help="about how long (default: %(default)s)")
    options = parser.parse_args()
    with one_thread():
        output().print(*tables(measure(options.seconds, options.data)), sep="\n")


if __name__ == "__main__":
    main()
