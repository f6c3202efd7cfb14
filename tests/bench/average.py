"""Averages the tensors of models of one architecture, and calibrates the mean on validation.

    python tests/bench/average.py MODEL MODEL [...] --run RUN --out FOLDER

Runs that began from the same weights often lie in one basin of the loss, and their mean is then
better than each ("model soups", Wortsman et al. 2022, arXiv 2203.05482). MODEL is a file or a
registered name. RUN is the folder of a training; its validation data fit the scores, and its
history becomes that of the mean, which also tells what was averaged.
"""

import argparse
import tomllib
from pathlib import Path

import torch

from jadfer_cli.cli.console import stderr_console
from jadfer_cli.cli.training_progress import ConsoleReporter
from jadfer_cli.expression import lineage
from jadfer_cli.expression.networks.base import Network
from jadfer_cli.options import ModelOptions
from jadfer_cli.runtime import settle
from jadfer_cli.training import joined_data, run_config, run_folder
from jadfer_cli.training import start as starts


def mean_of(networks: list[Network]) -> Network:
    """The first network with the mean of all tensors, running statistics included."""
    states = [network.state_dict() for network in networks]
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in states]
    if any(each != shapes[0] for each in shapes):
        raise SystemExit("the models have other tensors than the first")
    mean = {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(first.dtype)
        for name, first in states[0].items()
    }
    networks[0].load_state_dict(mean)
    return networks[0].eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    if a.out.resolve() == a.run.resolve():
        parser.error("--out is the folder of the run, whose model would be lost")
    runtime = settle(ModelOptions(engine="torch", device="cpu"))
    config = tomllib.loads((a.run / run_folder.CONFIG).read_text("utf-8"))
    report = ConsoleReporter(stderr_console(), quiet=False)
    data = joined_data.data_of(run_config.inputs_of(config), None, runtime, report)
    models = [starts.labelled(model) for model in a.models]
    network = mean_of([model.build() for model in models])
    history = dict(starts.labelled(str(a.run / run_folder.MODEL)).metrics["training"])
    history.pop("best_epoch", None)  # of that run, not of the mean
    history["averaged"] = [lineage.origin(model) for model in models]
    a.out.mkdir(parents=True, exist_ok=True)
    valid = data.load("valid", first_only=True)
    start = starts.load(a.models[0], models[0].architecture)
    path, metrics = run_folder.finish(network, valid, a.out, history, start)
    print(path)
    for name, found in metrics.items():
        if isinstance(found, dict) and "mean_class_recall" in found:
            print(f"{name}: {found['accuracy']:.4f}, recall {found['mean_class_recall']:.4f}")


if __name__ == "__main__":
    main()
