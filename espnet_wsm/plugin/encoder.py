"""The ESPnet encoder: waveforms in, frames of the fine-tuned upstream out."""

import inspect
import logging
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import torch
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from torch import Tensor, nn

from espnet_wsm.errors import UserError
from espnet_wsm.frames import RECEPTIVE_FIELD
from espnet_wsm.plugin.intermediate import listen
from espnet_wsm.upstream import (
    Checkpoint,
    LayerTable,
    LayerWeights,
    SuffixStream,
    WsmConfig,
    count_frames,
    find_checkpoint,
    load_upstream,
    prepare_suffix,
    run_suffix,
)
from espnet_wsm.upstream.cut import cut_of
from espnet_wsm.upstream.families.contract import AdaptedMixer
from espnet_wsm.upstream.identity import decode_identity, encode_identity
from espnet_wsm.upstream.layer_table import LayerRow, describe_part, describe_prefix, describe_suffix
from espnet_wsm.upstream.stored_cut import check_cut, load_suffix
from espnet_wsm.upstream.suffix import Behind, RunningSum

# The key under which torch stores the result of get_extra_state.
IDENTITY_KEY = "_extra_state"


class WsmS3prlEncoder(AbsEncoder):
    """An ESPnet encoder that fine-tunes only the last layers of an upstream.

    ESPnet's own ``S3prlFrontend`` back-propagates through the whole upstream even if it is frozen, and every
    checkpoint holds all of it. Here the upstream is cut below the first replaced layer: the prefix runs in
    eval mode and without a graph, the suffix trains, and ``state_dict()`` holds only what trains and the
    upstream's identity. ``load_state_dict`` also accepts a state of the whole model.

    Args:
        input_size: passed by ESPnet and unused, because the input is the waveform; the training configuration
            needs ``input_size: 1``, ``frontend: null`` and ``normalize: null``.
        cache: folder of stored features (the one with ``cut.json``) to train from. The upstream is then not
            loaded, and the input is the features. Set by ``WsmASRTask``, never in a configuration.
        **conf: the fields of :class:`espnet_wsm.upstream.WsmConfig`.

    Raises:
        UserError: the configuration, the upstream or the cache is faulty, or they do not fit together;
            ``load_state_dict`` raises it if a state does not belong to this upstream and configuration.
    """

    def __init__(self, input_size: int, cache: str | None = None, **conf):
        super().__init__()
        self.config = WsmConfig.from_dict(conf)
        self.suffix_dtype = self.config.suffix_dtype  # a name of a dtype; whoever decodes may set another
        self.cache = cache
        self.checkpoint: Checkpoint
        self.register_module("prefix", None)
        below = self._load() if cache is None else self._load_from_cache(Path(cache))
        num_below = len(below) - 1  # the first row is what lies below the layers
        # Kept alive, so that no new parameter can get the id() of an old one.
        pretrained = list(self.parameters())
        _, replaced = self.config.place_cut(num_below + len(self.suffix.layers))
        self._intermediate = self.config.place_intermediate(num_below + len(self.suffix.layers))
        kinds = prepare_suffix(self.suffix, replaced, self._output_size, self.config)
        known = {id(parameter) for parameter in pretrained}
        # LoRA, and what else starts at zero because it is added to something that was pretrained, starts so
        # whatever ESPnet's `init:` says.
        self._new = {
            name
            for name, p in self.named_parameters()
            if id(p) not in known and "lora_" not in name and (p.dim() < 2 or p.any())
        }
        self._pretrained = {name for name, p in self.named_parameters() if id(p) in known}
        self.register_module("layer_weights", None)
        if self.config.features == "weighted_sum":
            self.layer_weights = LayerWeights(num_below + len(self.suffix.layers) + 1)
        rows = [*below, *describe_suffix(self.suffix, num_below, kinds)]
        if self.layer_weights is not None:
            rows.append(describe_part("layer weights", "weighted sum", self.layer_weights))
        self.table = LayerTable(tuple(rows))
        logging.info("%s, cut above %d layers:\n%s", self.checkpoint, num_below, self.table)

        # By these names ESPnet's model knows them; it makes the layer, which depends on the tokens.
        self.interctc_layer_idx = list(self.config.interctc_layer_idx or ())
        self.interctc_use_conditioning = self.config.interctc_use_conditioning
        self.register_module("conditioning_layer", None)
        # ESPnet's SpecAugment, on the features between prefix and suffix; WsmASRTask puts it here.
        self.register_module("specaug", None)
        self._from_upstream = {name for name, p in self.named_parameters() if not p.requires_grad}
        self.register_state_dict_post_hook(_keep_what_trains)
        self.register_load_state_dict_pre_hook(_complete_state)

    def _load(self) -> tuple[LayerRow, ...]:
        expert, self.checkpoint = load_upstream(self.config.upstream, self.config.trust)
        self._output_size = self.checkpoint.family.dim(expert)
        self.prefix, self.suffix = cut_of(expert, self.checkpoint.family, self.config)
        return describe_prefix(self.prefix)

    def _load_from_cache(self, cache: Path) -> tuple[LayerRow, ...]:
        cut = check_cut(cache, self.config)
        self.checkpoint = find_checkpoint(self.config.upstream, self.config.trust)
        self._output_size = cut.dim
        self.suffix = load_suffix(cache, cut)
        return cut.below

    def list_pretrained(self) -> list[nn.Parameter]:
        """What trains of what came with the upstream, but for what a block of ours has taken over."""
        blocks = [module for module in self.modules() if isinstance(module, AdaptedMixer)]
        taken = {id(parameter) for block in blocks for parameter in block.parameters()}
        return [
            parameter
            for name, parameter in self.named_parameters()
            if name in self._pretrained and parameter.requires_grad and id(parameter) not in taken
        ]

    def output_size(self) -> int:
        """Channels of the output."""
        return self._output_size

    def forward(
        self,
        xs_pad: Tensor,
        ilens: Tensor,
        prev_states: Tensor | None = None,
        views: int = 1,
        ctc: nn.Module | None = None,
    ) -> tuple[Tensor | tuple[Tensor, list[tuple[int, Tensor]]], Tensor, None]:
        """Encode a batch of waveforms, or of stored features.

        Args:
            xs_pad: (B, N) 16 kHz samples, or (B, T, D) hidden states below the cut.
            ilens: (B,) number of valid samples or frames of each. A waveform shorter than one frame (400
                samples) is zero-padded to one frame.
            prev_states: unused; part of ESPnet's interface.
            views: how often each utterance passes the layers above the cut, in training masked otherwise
                each time. V views of B utterances come out as V times B, the second views after the first.
            ctc: ESPnet's CTC of the output; needed with ``interctc_use_conditioning``.

        Returns:
            (B, T, D) frames of 20 ms, (B,) number of valid frames of each, None. With ``interctc_layer_idx``
            a pair in place of the frames: they, and number and (B, T, D) normed output of each layer.
        """
        if xs_pad.dim() == 3 and xs_pad.size(-1) == 1:
            xs_pad = xs_pad.squeeze(-1)
        total = self._start_sum()
        if xs_pad.dim() == 3:
            hidden, olens = xs_pad, ilens
            frames = torch.arange(hidden.size(1), device=hidden.device)
            padding_mask = frames >= ilens.unsqueeze(1)
        else:
            hidden, padding_mask = self.prefix(split_waveforms(xs_pad, ilens), total and total.add)
            olens = count_frames(hidden, padding_mask).to(ilens.dtype)
        hidden = self._mask(hidden, olens, views)
        if views > 1:
            olens = olens.repeat(views)
            padding_mask = None if padding_mask is None else padding_mask.repeat(views, 1)
            if total is not None:
                total.repeat(views)
        heard: list[tuple[int, Tensor]] = []
        encoded = self._run_above(hidden, padding_mask, total, self._listen(ctc, heard))
        if not self.training:
            encoded = _repeat_last_frame(encoded, olens)
            heard = [(number, _repeat_last_frame(each, olens)) for number, each in heard]
        return (encoded, heard) if heard else encoded, olens, None

    def encode_alone(self, wav: Tensor, ctc: nn.Module | None = None) -> Tensor:
        """(1, T, D) frames of one waveform (N,), without what only batches and training need."""
        total = self._start_sum()
        hidden, _ = self.prefix([wav], total and total.add)
        return self._run_above(hidden, None, total, self._listen(ctc))

    def open_stream(self, ctc: nn.Module | None = None) -> SuffixStream:
        """The layers above the cut for one utterance after the other whose frames come in pieces.

        Its ``push`` takes what ``prefix`` gives, or features, and returns what ``forward`` returns in eval
        mode, as far as it can be known by then.

        Raises:
            UserError: a layer above the cut needs the whole utterance, or the output holds states of layers
                below it.
        """
        if self.layer_weights is not None:
            raise UserError(
                "features: weighted_sum adds up states of the layers below the cut too, which no stream is "
                "given: train with features: last"
            )
        return SuffixStream(self.suffix, self.suffix_dtype, self._listen(ctc))

    def _mask(self, hidden: Tensor, lengths: Tensor, views: int) -> Tensor:
        """Several views, in training with SpecAugment for each; all of them share its warping of time."""
        specaug = self.specaug if self.training else None
        if specaug is not None and specaug.time_warp is not None:
            hidden, _ = specaug.time_warp(hidden, lengths)
        if views > 1:
            hidden, lengths = hidden.repeat(views, 1, 1), lengths.repeat(views)
        for mask in () if specaug is None else (specaug.freq_mask, specaug.time_mask):
            if mask is not None:
                hidden, _ = mask(hidden, lengths)
        return hidden

    def _start_sum(self) -> RunningSum | None:
        """The weighted sum of all layers' states, if the configuration wants it."""
        return None if self.layer_weights is None else self.layer_weights.start()

    def _listen(self, ctc: nn.Module | None, heard: list[tuple[int, Tensor]] | None = None) -> Behind:
        """What is done behind the layers of ``interctc_layer_idx``; ``heard`` takes what they gave."""
        assert self.conditioning_layer is not None or not self.interctc_use_conditioning, (
            "no model has made it"
        )
        return listen(self._intermediate, self.suffix.final_norm, heard, self.conditioning_layer, ctc)

    def _run_above(
        self, hidden: Tensor, padding_mask: Tensor | None, total: RunningSum | None, behind: Behind
    ) -> Tensor:
        """(B, T, D) from the states below the cut, the first of which ``total`` has already."""
        encoded = run_suffix(
            self.suffix, self.suffix_dtype, hidden, padding_mask, total and total.add, behind
        )
        if total is None:
            return encoded
        total.add(encoded)
        return total.total

    def get_extra_state(self) -> Tensor:
        """The upstream's identity."""
        return encode_identity(self.checkpoint)

    def set_extra_state(self, state: Tensor) -> None:
        """Nothing to set; ``load_state_dict`` compares the identity before."""

    def reload_pretrained_parameters(self) -> None:
        """Undo ESPnet's ``init:`` on everything that came with the upstream, but not on new blocks.

        ESPnet calls this at the end of its initialisation. The weights are read from the checkpoint again, so
        they are never held in memory twice.
        """
        fresh = type(self)(1, self.cache, **asdict(self.config))
        own = dict(self.named_parameters())
        with torch.no_grad():
            for name, pretrained in fresh.named_parameters():
                if name not in self._new:
                    own[name].copy_(pretrained)


def split_waveforms(xs_pad: Tensor, ilens: Tensor) -> list[Tensor]:
    """Split padded waveforms (B, N) into B without padding; zeros make each at least a frame long."""
    return [
        x[:n] if n >= RECEPTIVE_FIELD else nn.functional.pad(x[:n], (0, RECEPTIVE_FIELD - n))
        for x, n in zip(xs_pad, ilens.tolist(), strict=True)
    ]


def _repeat_last_frame(x: Tensor, lengths: Tensor) -> Tensor:
    """Fill the padding of (B, T, D) with each utterance's last valid frame.

    ESPnet 202611 computes cer_ctc from the best path over all frames, including padding. It would count
    tokens found there as insertions, and choose the best epoch by them. A repeated frame adds no token.
    """
    frames = torch.arange(x.size(1), device=x.device).unsqueeze(0)  # (1, T)
    index = torch.minimum(frames, (lengths - 1).clamp(min=0).unsqueeze(1))  # (B, T)
    return x.gather(1, index.unsqueeze(-1).expand_as(x))


def _keep_what_trains(
    encoder: WsmS3prlEncoder, state: dict[str, Any], prefix: str, _metadata: dict[str, Any]
) -> None:
    """After ``state_dict()``: remove what the upstream's own checkpoint holds."""
    for key in [key for key in state if key.startswith(prefix)]:
        name = key.removeprefix(prefix)
        if name.startswith("prefix.") or name in encoder._from_upstream:
            del state[key]


def _complete_state(
    encoder: WsmS3prlEncoder, state: dict[str, Any], prefix: str, *_torch_arguments: Any
) -> None:
    """Before ``load_state_dict()``: refuse a state that does not fit, and add what came with the upstream.

    ESPnet loads with ``strict=False``, which would silently leave a layer random.
    """
    given = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    identity = encoder.get_extra_state()
    if IDENTITY_KEY in given:
        record = decode_identity(given[IDENTITY_KEY])
        checkpoint = encoder.checkpoint
        if record["digest"] != checkpoint.digest:
            raise UserError(
                f"the checkpoint was trained on the upstream {record['upstream']} (digest "
                f"{record['digest'][:12]}), but encoder_conf names {checkpoint} at {checkpoint.place}: give "
                "the upstream that it was trained on"
            )
    own = dict(encoder.named_parameters()) | dict(encoder.named_buffers())
    if encoder.prefix is None:  # the state may be of the whole model; stored features replace the prefix
        for name in [name for name in given if name.startswith("prefix.")]:
            del given[name], state[prefix + name]
    trained = own.keys() - encoder._from_upstream
    missing = sorted(name for name in trained if name not in given and not name.startswith("prefix."))
    surplus = sorted(given.keys() - own.keys() - {IDENTITY_KEY})
    differing = sorted(name for name in given.keys() & own.keys() if given[name].shape != own[name].shape)
    for names, what in (
        (missing, "lacks"),
        (surplus, "has, but the model has not,"),
        (differing, "has in another size"),
    ):
        if names:
            raise UserError(
                f"the checkpoint does not fit encoder_conf: it {what} {len(names)} tensors, the first is "
                f"{names[0]}; was it trained with another mixer, num_replaced, layers, width, hidden or "
                "features?"
            )
    state.setdefault(prefix + IDENTITY_KEY, identity)
    for name, value in own.items():
        state.setdefault(prefix + name, value.detach())


# ESPnet reads defaults from the signature of a class, so the signature is built from the fields of WsmConfig.
WsmS3prlEncoder.__signature__ = inspect.Signature(
    [
        inspect.Parameter("input_size", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        inspect.Parameter("cache", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None),
    ]
    + [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
        )
        for field in fields(WsmConfig)
    ]
)
