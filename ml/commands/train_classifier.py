"""`train-classifier`: a network that tells the label of a photo."""

import argparse

from ml.commands.train import add_training_arguments, run_training
from ml.training.options import ClassifierOptions

HELP = "Train a classifier on the photos of a manifest and write it as an encoder folder."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_training_arguments(parser, ClassifierOptions)


def run(args: argparse.Namespace) -> str:
    return run_training(args, ClassifierOptions, "train-classifier")
