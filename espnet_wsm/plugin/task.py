"""ESPnet's ASR task with our trainer, the feature cache, and a record of what was built."""

import argparse
import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from espnet2.asr.espnet_model import ESPnetASRModel
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.tasks.abs_task import IteratorOptions
from espnet2.tasks.asr import ASRTask

from espnet_wsm.allocator import keep_memory
from espnet_wsm.data.kaldi.lists import read_list
from espnet_wsm.errors import UserError, report_user_errors
from espnet_wsm.files import read_yaml, write_text
from espnet_wsm.plugin import register
from espnet_wsm.plugin.arguments import MODEL, find_reason_against_cache
from espnet_wsm.plugin.model import WsmASRModel
from espnet_wsm.plugin.numbers import parse_training
from espnet_wsm.plugin.optimisers import fuse
from espnet_wsm.plugin.trainer import WsmTrainer
from espnet_wsm.upstream import WsmConfig
from espnet_wsm.upstream.checkpoint import locate
from espnet_wsm.upstream.heads_record import HEADS_FILE, with_windows
from espnet_wsm.upstream.layer_table import LayerTable, describe_part
from espnet_wsm.upstream.random_upstream import describe_upstream
from espnet_wsm.upstream.stored_cut import CUT_FILE, read_cut

PARAMETERS_FILE = "parameters.json"


class WsmASRTask(ASRTask):
    """Adds defaults to ``encoder_conf``, and writes the parameter counts to the output directory.

    The defaults go into ``config.yaml``, so that a version with other defaults still builds the model that
    was trained. If the speech has the data type ``feature_cache``, the model trains without its prefix. Even
    then ``config.yaml`` describes the whole model, so that decoding starts from waveforms.
    """

    trainer = WsmTrainer

    @classmethod
    def main(cls, args: argparse.Namespace | None = None, cmd: Sequence[str] | None = None) -> None:
        """As ESPnet's.

        Raises:
            UserError: what has to be a number is none.
        """
        super().main(parse_training(cls.get_parser(), cmd) if args is None else args)

    @classmethod
    def get_parser(cls) -> argparse.ArgumentParser:
        """As ESPnet's, with options of our own."""
        parser = super().get_parser()
        parser.set_defaults(model=MODEL)
        parser.add_argument(
            "--pretrained_lr_scale",
            type=float,
            default=1.0,
            help="learning rate of what came with the upstream, relative to that of new blocks and the head",
        )
        parser.add_argument(
            "--pretrained_from_step",
            type=int,
            default=0,
            help="steps in which new blocks and the head train without what came with the upstream",
        )
        return parser

    @classmethod
    def build_optimizers(
        cls, args: argparse.Namespace, model: torch.nn.Module
    ) -> list[torch.optim.Optimizer]:
        """As ESPnet's; with ``pretrained_lr_scale``, what came with the upstream is a group of its own.

        Only a training has optimisers: where it begins, a guide is loaded too.

        Raises:
            UserError: the scale is negative or not finite, or the number of steps negative; or the guide
                cannot guide this model.
        """
        if isinstance(model, WsmASRModel):
            model.open_guide()
        optimizers = super().build_optimizers(fuse(args), model)
        scale = args.pretrained_lr_scale
        if not 0 <= scale < float("inf"):
            raise UserError(f"--pretrained_lr_scale has to be 0 or more, got {scale}")
        if (steps := args.pretrained_from_step) < 0:
            raise UserError(f"--pretrained_from_step has to be 0 or more, got {steps}")
        if args.encoder == register.NAME:
            pretrained = {id(parameter) for parameter in model.encoder.list_pretrained()}
            for optimizer in optimizers:
                if scale != 1:
                    _scale_rate(optimizer, pretrained, scale)
                if steps > 0:
                    _hold_back(optimizer, pretrained, steps)
        return optimizers

    @classmethod
    def main_worker(cls, args: argparse.Namespace) -> None:
        """As ESPnet's, but each of several processes reports a UserError without a traceback.

        On a CPU the process keeps its memory for the next tensors.
        """
        if args.ngpu == 0:
            keep_memory(kernels=True)
        report_user_errors(super().main_worker)(args)

    @classmethod
    def build_sequence_iter_factory(
        cls, args: argparse.Namespace, iter_options: IteratorOptions, mode: str
    ) -> AbsIterFactory:
        """As ESPnet's.

        Raises:
            UserError: a batch holds fewer utterances than there are processes to share it.
        """
        try:
            return super().build_sequence_iter_factory(args=args, iter_options=iter_options, mode=mode)
        except RuntimeError as error:
            if "world_size" not in str(error):
                raise
            raise UserError(
                f"a batch of the {mode} set holds fewer utterances than there are processes ({error}): raise "
                f"batch_bins, take a larger {mode} set, or train in fewer processes"
            ) from error

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> ESPnetASRModel:
        """As ESPnet's; the first process also writes ``parameters.json`` to ``args.output_dir``.

        Raises:
            UserError: the training needs waveforms but is given features, or is given both, or features of
                two caches.
        """
        if args.encoder != register.NAME:
            return super().build_model(args)
        conf = asdict(WsmConfig.from_dict(args.encoder_conf))
        # A name is only valid in this working directory, whereas decoding looks for a path in others too.
        conf["upstream"] = locate(conf["upstream"])
        cache = _find_cache(args)
        if cache is not None:
            conf["windows"] = _find_windows(Path(cache), WsmConfig(**conf), args.output_dir)
        args.encoder_conf = conf | {"cache": cache}
        model = super().build_model(args)
        args.encoder_conf = conf
        # ESPnet would mask the model's input, which is the waveform; SpecAugment is meant for features.
        model.encoder.specaug, model.specaug = model.specaug, None
        # The first of several processes writes: it also removes what looks half-written, such as another's.
        first = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
        if args.output_dir is not None and first:
            _write_parameters(Path(args.output_dir), model, args.encoder_conf)
        return model


def _find_cut_folder(feats_scp: Path) -> Path:
    """The folder of the cut whose features a list names, which is above that of their set.

    A list of features of several sets is elsewhere: then the first one that it names says where.
    """
    folder = feats_scp.parent.parent
    if not (folder / CUT_FILE).exists() and feats_scp.is_file():
        for entry in read_list(feats_scp, []).values():
            return Path(entry.value).parent.parent
    return folder


def _scale_rate(optimizer: torch.optim.Optimizer, chosen: Collection[int], scale: float) -> None:
    """Give the parameters with these ids groups of their own, at ``scale`` times the rate."""
    for group in list(optimizer.param_groups):
        apart = [parameter for parameter in group["params"] if id(parameter) in chosen]
        if apart:
            group["params"] = [parameter for parameter in group["params"] if id(parameter) not in chosen]
            optimizer.add_param_group(group | {"params": apart, "lr": scale * group["lr"]})


def _hold_back(optimizer: torch.optim.Optimizer, chosen: Collection[int], steps: int) -> None:
    """Leave the parameters with these ids as they are in the first ``steps`` steps.

    The steps are counted in a parameter group, which checkpoints keep.
    """
    optimizer.param_groups[0]["steps_taken"] = 0

    def drop_gradients(made: torch.optim.Optimizer, *_: Any) -> None:
        if made.param_groups[0]["steps_taken"] < steps:
            for group in made.param_groups:
                for parameter in group["params"]:
                    if id(parameter) in chosen:
                        parameter.grad = None

    def count(made: torch.optim.Optimizer, *_: Any) -> None:
        made.param_groups[0]["steps_taken"] += 1

    optimizer.register_step_pre_hook(drop_gradients)
    optimizer.register_step_post_hook(count)


def _find_cache(args: argparse.Namespace) -> str | None:
    """The folder of the stored cut that a training's features belong to, None for waveforms."""
    speech = [
        (_find_cut_folder(Path(path)) if kind == register.CACHE_TYPE else None)
        for part in ("train", "valid")
        for path, name, kind in getattr(args, f"{part}_data_path_and_name_and_type", None) or ()
        if name == "speech"
    ]
    if len(set(speech)) > 1:
        raise UserError(
            "training and validation speech have to be both waveforms, or both features of one cache; got "
            + " and ".join("waveforms" if folder is None else str(folder) for folder in speech)
        )
    if not speech or speech[0] is None:
        return None
    if reason := find_reason_against_cache(args):
        raise UserError(f"this training cannot use the feature cache {speech[0]}: {reason}")
    return str(speech[0])


def _find_windows(cache: Path, config: WsmConfig, output_dir: str | None) -> Any:
    """``windows: attention`` as the lists of this run so far, or as those that stage 2 has read off."""
    if not config.reads_heads:
        return config.windows
    earlier = Path(output_dir or "") / "config.yaml"
    if output_dir and earlier.is_file() and (earlier.parent / "checkpoint.pth").exists():
        return (read_yaml(earlier).get("encoder_conf") or {}).get("windows", config.windows)
    cut = read_cut(cache)
    digest, layers = cut.key["upstream digest"], cut.list_replaced(config)
    return with_windows(config, cache / HEADS_FILE, digest, layers).windows


def _write_parameters(output_dir: Path, model: ESPnetASRModel, encoder_conf: dict) -> None:
    others = [
        describe_part(name, type(module).__name__, module)
        for name, module in model.named_children()
        if name != "encoder"
    ]
    if model.encoder.conditioning_layer is not None:
        others.append(describe_part("encoder", "conditioning on CTC", model.encoder.conditioning_layer))
    table = LayerTable((*model.encoder.table.rows, *(row for row in others if row.parameters)))
    record = {
        "trainable": table.trainable,
        "total": table.parameters,
        "upstream": {
            "name": model.encoder.checkpoint.name,
            "path": encoder_conf["upstream"] if Path(encoder_conf["upstream"]).exists() else None,
            "description": describe_upstream(encoder_conf["upstream"]),
        },
    }
    logging.info("Training %(trainable)s of %(total)s parameters", record)
    write_text(output_dir / PARAMETERS_FILE, json.dumps(record, indent=2).split("\n"))
