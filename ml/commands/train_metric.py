"""`train-metric`: an encoder whose vectors are near where the garments are the same, or of the same kind."""

import argparse

from ml.commands.train import add_training_arguments, run_training
from ml.training.options import MetricOptions

HELP = "Train a metric encoder on the photos of a manifest and write it as an encoder folder."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_training_arguments(parser, MetricOptions)


def run(args: argparse.Namespace) -> str:
    return run_training(args, MetricOptions, "train-metric")
