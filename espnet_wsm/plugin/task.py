"""ESPnet's ASR task, with a record of what was built."""

import argparse
import json
import logging
import os
from dataclasses import asdict
from pathlib import Path

from espnet2.asr.espnet_model import ESPnetASRModel
from espnet2.tasks.asr import ASRTask

from espnet_wsm.plugin import register
from espnet_wsm.upstream import WsmConfig
from espnet_wsm.upstream.random_hubert import describe_upstream

PARAMETERS_FILE = "parameters.json"


class WsmASRTask(ASRTask):
    """Complete ``encoder_conf`` with its defaults and leave the parameter counts in the output directory.

    The defaults go into ``config.yaml``, so that a later version with other defaults still builds the model
    that was trained.
    """

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> ESPnetASRModel:
        """As ESPnet; also writes ``parameters.json`` to ``args.output_dir``."""
        if args.encoder != register.NAME:
            return super().build_model(args)
        args.encoder_conf = asdict(WsmConfig.from_dict(args.encoder_conf))
        model = super().build_model(args)
        if args.output_dir is not None:
            _write_parameters(Path(args.output_dir), model, args.encoder_conf)
        return model


def _write_parameters(output_dir: Path, model: ESPnetASRModel, encoder_conf: dict) -> None:
    parameters = list(model.parameters())
    record = {
        "trainable": sum(p.numel() for p in parameters if p.requires_grad),
        "total": sum(p.numel() for p in parameters),
        "upstream": {
            "name": encoder_conf["upstream"],
            "path": encoder_conf["path"],
            "description": describe_upstream(encoder_conf["path"]),
        },
    }
    logging.info("Training %(trainable)s of %(total)s parameters", record)
    output_dir.mkdir(parents=True, exist_ok=True)
    partial = output_dir / f"{PARAMETERS_FILE}.{os.getpid()}.tmp"
    partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    partial.replace(output_dir / PARAMETERS_FILE)
