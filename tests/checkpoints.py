"""Tiny random checkpoints of every family of upstreams, as the family's own library writes and reads them."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from ctranslate2_models import convert_whisper, write_ctranslate2
from torch import Tensor, nn

NUM_LAYERS = 3
DIM, HEADS, FFN = 32, 4, 64
DROPOUT = 0.1
# Kernels and strides of all real models: a receptive field of 400 samples and a hop of 320.
CONV_LAYERS = ((16, 10, 5), *((16, 3, 2),) * 4, *((16, 2, 2),) * 2)
POST_NORM = "post-norm, group norm"
PRE_NORM = "pre-norm, layer norm"
ESPNET_WEIGHTS = "valid.loss.ave.pth"

HF_TRANSFORMER = dict(
    hidden_size=DIM,
    num_hidden_layers=NUM_LAYERS,
    num_attention_heads=HEADS,
    intermediate_size=FFN,
    hidden_dropout=DROPOUT,
    attention_dropout=DROPOUT,
    activation_dropout=DROPOUT,
    feat_proj_dropout=DROPOUT,
    layerdrop=0.0,
)
HF_CONV = dict(
    conv_dim=[channels for channels, _, _ in CONV_LAYERS],
    conv_kernel=[kernel for _, kernel, _ in CONV_LAYERS],
    conv_stride=[stride for _, _, stride in CONV_LAYERS],
    num_conv_pos_embeddings=16,
    num_conv_pos_embedding_groups=4,
)
HF_POST_NORM = HF_CONV | dict(conv_bias=False, feat_extract_norm="group", do_stable_layer_norm=False)
HF_PRE_NORM = HF_CONV | dict(conv_bias=True, feat_extract_norm="layer", do_stable_layer_norm=True)
HF_DATA2VEC = HF_CONV | dict(conv_bias=False, num_conv_pos_embeddings=5, conv_pos_kernel_size=19)
WAVLM_POSITION = dict(relative_position_embedding=True, gru_rel_pos=True, num_buckets=32, max_distance=64)
NO_POSITION = dict(relative_position_embedding=False, gru_rel_pos=False)
HF_WAVLM_POSITION = dict(num_buckets=32, max_bucket_distance=64)
HF_CONFORMER = HF_CONV | dict(conv_bias=True, feat_extract_norm="layer", conv_depthwise_kernel_size=5)
HF_BERT = dict(
    feature_projection_input_dim=160,
    position_embeddings_type="relative_key",
    left_max_position_embeddings=8,
    right_max_position_embeddings=4,
    conv_depthwise_kernel_size=5,
    add_adapter=False,
)
WHISPER = dict(
    d_model=DIM,
    encoder_layers=NUM_LAYERS,
    encoder_attention_heads=HEADS,
    encoder_ffn_dim=4 * DIM,  # as in every Whisper; OpenAI's file does not say it
    decoder_layers=1,
    decoder_attention_heads=HEADS,
    decoder_ffn_dim=FFN,
    dropout=DROPOUT,
    attention_dropout=DROPOUT,
    activation_dropout=DROPOUT,
    vocab_size=20,
    max_target_positions=8,
    pad_token_id=0,
    bos_token_id=0,
    eos_token_id=0,
    decoder_start_token_id=0,
    begin_suppress_tokens=None,
)
FAIRSEQ_CONFORMER = dict(layer_type="conformer", attn_type="espnet", depthwise_conv_kernel_size=5)


@contextmanager
def fix_seed() -> Iterator[None]:
    """The same weights on every call, with the global generator left as it was."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also seed the generators of CUDA, which are not forked.
        torch.default_generator.manual_seed(0)
        yield


@torch.no_grad()
def randomise_weights(model: nn.Module) -> nn.Module:
    """Draw every parameter anew, so large that each layer, norm and bias shows in the hidden states."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(module, nn.Embedding):
                parameter.normal_()
            elif name == "bias":
                parameter.normal_(std=0.05)
            elif parameter.numel() == max(parameter.shape):  # gains: of norms, weight norm, WavLM's gates
                parameter.normal_(1.0, 0.1)
            else:
                parameter.normal_(std=0.2)
    return model


def describe_fairseq(pre_norm: bool) -> dict[str, Any]:
    """The arguments that fairseq's models and WavLM share."""
    return dict(
        extractor_mode="layer_norm" if pre_norm else "default",
        conv_feature_layers=str(list(CONV_LAYERS)),
        conv_bias=pre_norm,
        encoder_layers=NUM_LAYERS,
        encoder_embed_dim=DIM,
        encoder_ffn_embed_dim=FFN,
        encoder_attention_heads=HEADS,
        layer_norm_first=pre_norm,
        dropout=DROPOUT,
        attention_dropout=DROPOUT,
        activation_dropout=DROPOUT,
        dropout_input=DROPOUT,
        dropout_features=DROPOUT,
        encoder_layerdrop=0.0,
        conv_pos=16,
        conv_pos_groups=4,
    )


def save_file(directory: Path, state: dict[str, Any]) -> Path:
    """Write one file and return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "checkpoint.pt"
    torch.save(state, path)
    return path


@fix_seed()
def write_wav2vec2(directory: Path, pre_norm: bool, **changes: Any) -> Path:
    """A file as S3PRL's converter writes it."""
    from s3prl.upstream.wav2vec2.wav2vec2_model import AudioPretrainingConfig, Wav2Vec2Config, Wav2Vec2Model

    sizes = describe_fairseq(pre_norm) | dict(final_dim=DIM, quantize_targets=True, latent_vars=8)
    model_cfg = Wav2Vec2Config(**sizes | changes)
    state = {
        "task_cfg": asdict(AudioPretrainingConfig(normalize=pre_norm)),
        "model_cfg": asdict(model_cfg),
        "model_weight": randomise_weights(Wav2Vec2Model(model_cfg)).state_dict(),
    }
    return save_file(directory, state)


@fix_seed()
def write_hubert(directory: Path, pre_norm: bool) -> Path:
    """A file as S3PRL's converter writes it."""
    from s3prl.upstream.hubert.hubert_model import HubertConfig, HubertModel, HubertPretrainingConfig

    model_cfg = HubertConfig(label_rate=50.0, **describe_fairseq(pre_norm), final_dim=DIM)
    task_cfg = HubertPretrainingConfig(label_rate=50.0, normalize=pre_norm)
    symbols = [[str(i) for i in range(10)]]
    state = {
        "task_cfg": asdict(task_cfg),
        "model_cfg": asdict(model_cfg),
        "model_weight": randomise_weights(HubertModel(model_cfg, task_cfg, symbols)).state_dict(),
        "dictionaries_symbols": symbols,
    }
    return save_file(directory, state)


@fix_seed()
def write_data2vec(directory: Path) -> Path:
    """A file as S3PRL's converter writes it."""
    from s3prl.upstream.data2vec.data2vec_model import Data2VecAudioConfig, Data2VecAudioModel
    from s3prl.upstream.wav2vec2.wav2vec2_model import AudioPretrainingConfig

    sizes = describe_fairseq(pre_norm=False) | dict(
        extractor_mode="layer_norm", conv_pos=95, pos_conv_depth=5
    )
    model_cfg = Data2VecAudioConfig(**sizes)
    model = randomise_weights(Data2VecAudioModel(model_cfg))
    model.remove_pretraining_modules()
    # The teacher's weights; S3PRL's own make_ema_teacher fails, its EMAModuleConfig takes no arguments.
    teacher = {name: weight.clone() for name, weight in model.encoder.state_dict().items()}
    state = {
        "task_cfg": asdict(AudioPretrainingConfig(normalize=True)),
        "model_cfg": asdict(model_cfg),
        "model_weight": model.state_dict() | {"_ema": teacher},
    }
    return save_file(directory, state)


@fix_seed()
def write_wavlm(directory: Path, pre_norm: bool, **relative_position: Any) -> Path:
    """A file as Microsoft publishes WavLM and UniSpeech-SAT."""
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    cfg = WavLMConfig(describe_fairseq(pre_norm) | dict(normalize=pre_norm) | relative_position)
    return save_file(directory, {"cfg": vars(cfg), "model": randomise_weights(WavLM(cfg)).state_dict()})


@fix_seed()
def write_distiller(directory: Path) -> Path:
    """A file as S3PRL's pre-training writes it, without the state of the training."""
    from s3prl.upstream.distiller.model import DistillerConfig, DistillerModel

    config = dict(
        extractor_mode="default",
        extractor_conv_feature_layers=str(list(CONV_LAYERS)),
        conv_pos=16,
        conv_pos_groups=4,
        encoder_layers=NUM_LAYERS,
        encoder_embed_dim=DIM,
        encoder_ffn_embed_dim=FFN,
        encoder_attention_heads=HEADS,
        layer_norm_first=False,
        dropout=DROPOUT,
        attention_dropout=DROPOUT,
        activation_dropout=DROPOUT,
        encoder_layerdrop=0.0,
        final_dim=DIM,
        task_emb_type="expand-last",
        n_tasks=2,
        pred_layer_id=[1, 2],
    )
    model = randomise_weights(DistillerModel(DistillerConfig(config)))
    return save_file(directory, {"Config": {"distiller": config}, "Distiller": model.state_dict()})


@fix_seed()
def write_espnet_hubert(directory: Path, pre_norm: bool) -> Path:
    """A directory as an experiment of ESPnet's HuBERT recipe leaves it."""
    from espnet2.tasks.hubert import HubertTask
    from espnet2.utils.yaml_no_alias_safe_dump import yaml_no_alias_safe_dump

    options = ["--encoder=torchaudio_hubert", "--model=torchaudio", "--normalize=none", "--num_classes=10"]
    args = HubertTask.get_parser().parse_args([*options, "--input_size=1", f"--output_dir={directory}"])
    args.token_list = [str(i) for i in range(10)]
    args.encoder_conf = dict(
        extractor_mode="layer_norm" if pre_norm else "group_norm",
        extractor_conv_layer_config=[list(layer) for layer in CONV_LAYERS],
        extractor_conv_bias=pre_norm,
        encoder_embed_dim=DIM,
        encoder_projection_dropout=DROPOUT,
        encoder_pos_conv_kernel=16,
        encoder_pos_conv_groups=4,
        encoder_num_layers=NUM_LAYERS,
        encoder_num_heads=HEADS,
        encoder_attention_dropout=DROPOUT,
        encoder_ff_interm_features=FFN,
        encoder_ff_interm_dropout=DROPOUT,
        encoder_dropout=DROPOUT,
        encoder_layer_norm_first=pre_norm,
        encoder_layer_drop=0.0,
        final_dim=DIM,
    )
    model = randomise_weights(HubertTask.build_model(args))
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "config.yaml", "w", encoding="utf-8") as file:
        yaml_no_alias_safe_dump(vars(args), file, indent=4, sort_keys=False)
    torch.save(model.state_dict(), directory / ESPNET_WEIGHTS)
    return directory


@fix_seed()
def write_hf(directory: Path, model_type: str, changes: dict[str, Any]) -> Path:
    """A directory as ``save_pretrained`` of a model and of its feature extractor leaves it."""
    from transformers import AutoConfig, AutoModel, SeamlessM4TFeatureExtractor, Wav2Vec2FeatureExtractor

    config = AutoConfig.for_model(model_type, **HF_TRANSFORMER | changes)
    randomise_weights(AutoModel.from_config(config)).save_pretrained(directory)
    if model_type == "wav2vec2-bert":
        extractor = SeamlessM4TFeatureExtractor()
    else:
        group_norm = changes.get("feat_extract_norm") == "group"
        extractor = Wav2Vec2FeatureExtractor(
            do_normalize=not group_norm, return_attention_mask=not group_norm
        )
    extractor.save_pretrained(directory)
    return directory


@fix_seed()
def make_whisper(**changes: Any) -> nn.Module:
    """A Whisper with a language model's head, of random weights."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    return randomise_weights(WhisperForConditionalGeneration(WhisperConfig(**WHISPER | changes)))


def write_whisper(directory: Path, **changes: Any) -> Path:
    """A directory as ``save_pretrained`` of a model and of its feature extractor leaves it."""
    from transformers import WhisperFeatureExtractor

    model = make_whisper(**changes)
    model.save_pretrained(directory)
    WhisperFeatureExtractor(feature_size=model.config.num_mel_bins).save_pretrained(directory)
    return directory


def write_whisper_openai(directory: Path, **changes: Any) -> Path:
    """A file as OpenAI publishes them, with the encoder of :func:`write_whisper` and no decoder."""
    model = make_whisper(**changes)
    config = model.config
    names = {
        "embed_positions.weight": "positional_embedding",
        "layers.": "blocks.",
        "self_attn_layer_norm": "attn_ln",
        "self_attn.q_proj": "attn.query",
        "self_attn.k_proj": "attn.key",
        "self_attn.v_proj": "attn.value",
        "self_attn.out_proj": "attn.out",
        "final_layer_norm": "mlp_ln",
        "fc1": "mlp.0",
        "fc2": "mlp.2",
    }
    state = {}
    for name, weight in model.model.encoder.state_dict().items():
        name = name.replace("layer_norm", "ln_post") if name.startswith("layer_norm") else name
        for theirs, openai in names.items():
            name = name.replace(theirs, openai)
        state[f"encoder.{name}"] = weight
    state["decoder.positional_embedding"] = torch.zeros(config.max_target_positions, DIM)
    dims = {
        "n_mels": config.num_mel_bins,
        "n_audio_ctx": config.max_source_positions,
        "n_audio_state": config.d_model,
        "n_audio_head": config.encoder_attention_heads,
        "n_audio_layer": config.encoder_layers,
        "n_vocab": config.vocab_size,
        "n_text_ctx": config.max_target_positions,
        "n_text_state": config.d_model,
        "n_text_head": config.decoder_attention_heads,
        "n_text_layer": config.decoder_layers,
    }
    return save_file(directory, {"dims": dims, "model_state_dict": state})


def write_whisper_ctranslate2(directory: Path, **changes: Any) -> Path:
    """A folder as CTranslate2's converter leaves it, with the weights of :func:`write_whisper`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text('{"alignment_heads": [[0, 0]], "suppress_ids": []}')
    write_ctranslate2(directory / "model.bin", convert_whisper(make_whisper(**changes).model, "float32"))
    return directory


CHECKPOINTS: dict[tuple[str, str], Callable[[Path], Path]] = {
    ("wav2vec2", POST_NORM): partial(write_wav2vec2, pre_norm=False),
    ("wav2vec2", PRE_NORM): partial(write_wav2vec2, pre_norm=True),
    ("hubert", POST_NORM): partial(write_hubert, pre_norm=False),
    ("hubert", PRE_NORM): partial(write_hubert, pre_norm=True),
    ("wavlm", POST_NORM): partial(write_wavlm, pre_norm=False, **WAVLM_POSITION),
    ("wavlm", PRE_NORM): partial(write_wavlm, pre_norm=True, **WAVLM_POSITION),
    ("unispeech_sat", POST_NORM): partial(write_wavlm, pre_norm=False, **NO_POSITION),
    ("unispeech_sat", PRE_NORM): partial(write_wavlm, pre_norm=True, **NO_POSITION),
    ("data2vec", "post-norm, layer norm"): write_data2vec,
    ("distiller", POST_NORM): write_distiller,
    ("espnet_hubert", POST_NORM): partial(write_espnet_hubert, pre_norm=False),
    ("espnet_hubert", PRE_NORM): partial(write_espnet_hubert, pre_norm=True),
    ("hf_hubert", POST_NORM): partial(write_hf, model_type="hubert", changes=HF_POST_NORM),
    ("hf_hubert", PRE_NORM): partial(write_hf, model_type="hubert", changes=HF_PRE_NORM),
    ("hf_wav2vec2", POST_NORM): partial(write_hf, model_type="wav2vec2", changes=HF_POST_NORM),
    ("hf_wav2vec2", PRE_NORM): partial(write_hf, model_type="wav2vec2", changes=HF_PRE_NORM),
    ("hf_wavlm", POST_NORM): partial(write_hf, model_type="wavlm", changes=HF_POST_NORM | HF_WAVLM_POSITION),
    ("hf_wavlm", PRE_NORM): partial(write_hf, model_type="wavlm", changes=HF_PRE_NORM | HF_WAVLM_POSITION),
    ("hf_generic", "data2vec-audio, post-norm, layer norm"): partial(
        write_hf, model_type="data2vec-audio", changes=HF_DATA2VEC
    ),
    ("hf_generic", f"unispeech, {PRE_NORM}"): partial(write_hf, model_type="unispeech", changes=HF_PRE_NORM),
    ("hf_generic", f"unispeech-sat, {POST_NORM}"): partial(
        write_hf, model_type="unispeech-sat", changes=HF_POST_NORM
    ),
    ("hf_wav2vec2_bert", "layer norm"): partial(write_hf, model_type="wav2vec2-bert", changes=HF_BERT),
    ("hf_wav2vec2", f"with MMS adapters, {PRE_NORM}"): partial(
        write_hf, model_type="wav2vec2", changes=HF_PRE_NORM | dict(adapter_attn_dim=8)
    ),
    ("whisper", "pre-norm, on log-mel"): write_whisper,
}

REFUSED: dict[str, Callable[[Path], Path]] = {
    "wav2vec2_conformer_relpos": partial(
        write_wav2vec2, pre_norm=True, pos_enc_type="rel_pos", **FAIRSEQ_CONFORMER
    ),
    "wav2vec2_conformer_rope": partial(
        write_wav2vec2, pre_norm=True, pos_enc_type="rope", **FAIRSEQ_CONFORMER
    ),
    "hf_wav2vec2_conformer": partial(write_hf, model_type="wav2vec2-conformer", changes=HF_CONFORMER),
    "hf_sew": partial(write_hf, model_type="sew", changes=HF_CONV | dict(feat_extract_norm="group")),
    "hf_adapter": partial(write_hf, model_type="wav2vec2", changes=HF_PRE_NORM | dict(add_adapter=True)),
}


def load_reference(family: str, variant: str, path: Path) -> Callable[[list[Tensor]], list[Tensor]]:
    """The upstream as its own library runs it: 16 kHz waveforms, each (N,), to all hidden states (B, T, D).

    Args:
        family, variant: a key of ``CHECKPOINTS``.
        path: what its maker returned.
    """
    if (family, variant) not in CHECKPOINTS:
        raise KeyError((family, variant))
    with torch.random.fork_rng(devices=[]):  # weights are drawn before they are loaded
        if family == "whisper":
            return load_whisper(path)
        s3prl_has_it = family in ("hf_hubert", "hf_wav2vec2") or not family.startswith("hf_")
        return load_expert(family, path) if s3prl_has_it else load_transformers(path)


def load_transformers(path: Path) -> Callable[[list[Tensor]], list[Tensor]]:
    """Transformers' model behind its own feature extractor."""
    from transformers import AutoFeatureExtractor, AutoModel

    extractor = AutoFeatureExtractor.from_pretrained(path)
    model = AutoModel.from_pretrained(path).eval()

    @torch.no_grad()
    def run(wavs: list[Tensor]) -> list[Tensor]:
        # The mask is asked for as S3PRL's hf_* experts do, though group-norm extractors are saved without it.
        inputs = extractor(
            [wav.numpy() for wav in wavs],
            sampling_rate=16000,
            padding=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        return list(model(**inputs, output_hidden_states=True).hidden_states)

    return run


def load_whisper(path: Path) -> Callable[[list[Tensor]], list[Tensor]]:
    """Transformers' encoder behind its own feature extractor, of one utterance at its own length.

    The encoder refuses whatever does not fill its positions, so it is given as many as it needs.
    """
    from transformers import WhisperFeatureExtractor, WhisperModel

    extractor = WhisperFeatureExtractor.from_pretrained(path)
    whole = WhisperModel.from_pretrained(path).eval().encoder
    positions = whole.embed_positions.weight

    @torch.no_grad()
    def run(wavs: list[Tensor]) -> list[Tensor]:
        (wav,) = wavs
        inputs = extractor(wav.numpy(), sampling_rate=16000, padding="do_not_pad", return_tensors="pt")
        mel = inputs["input_features"]  # (1, mels, M)
        encoder = copy.deepcopy(whole)
        encoder.embed_positions = nn.Embedding.from_pretrained(positions[: (mel.size(2) + 1) // 2])
        # It wants exactly twice as many frames; M may be odd, and the configuration takes no fraction.
        vars(encoder.config)["max_source_positions"] = mel.size(2) / 2
        out = encoder(mel, output_hidden_states=True)
        return [*out.hidden_states[:NUM_LAYERS], out.last_hidden_state]

    return run


def load_expert(family: str, path: Path) -> Callable[[list[Tensor]], list[Tensor]]:
    """S3PRL's expert of that name."""
    checkpoint = path / ESPNET_WEIGHTS if family == "espnet_hubert" else path
    expert = import_module(f"s3prl.upstream.{family}.expert").UpstreamExpert(str(checkpoint)).eval()
    if family == "espnet_hubert":  # the only expert that takes a GPU without being told to
        expert.to("cpu").device = torch.device("cpu")

    @torch.no_grad()
    def run(wavs: list[Tensor]) -> list[Tensor]:
        return list(expert(wavs)["hidden_states"])

    return run
