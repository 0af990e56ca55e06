"""`check-encoder`: validate an untrusted encoder folder."""

import argparse
import json
from pathlib import Path

from ml.encoder.card import card_to_json
from ml.inference.check import check_encoder

HELP = "Check an encoder folder (format, hashes, sizes, its network run once) and print its card as one line of JSON."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="card.json, weights.safetensors and model.onnx")
    parser.add_argument("--threads", type=int, metavar="N", help="cores the network may use; default: all")


def run(args: argparse.Namespace) -> str:
    return json.dumps(json.loads(card_to_json(check_encoder(args.folder, args.threads))), ensure_ascii=False)
