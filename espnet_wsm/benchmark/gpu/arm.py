"""One arm on the device: steps and decoding timed with events, peaks, and the batch that still fits."""

import dataclasses
import gc
import time
from collections.abc import Callable
from pathlib import Path

import torch

from espnet_wsm.benchmark.config import Arm, BenchmarkConfig
from espnet_wsm.benchmark.gpu.card import CountingCard, CudaCard, is_out_of_memory
from espnet_wsm.benchmark.gpu.plan import CheckPlan
from espnet_wsm.benchmark.ratios import PARTS
from espnet_wsm.benchmark.worker import Answer, ArmBench, Batch
from espnet_wsm.meters import SavedBytes, spread

NAME = "arm"
TIMES = ("step_s", "forward_s", "suffix_s", "decode_s", "real_time_factor")


class Moment:
    """A point of the device's own time; the difference of two of them, in seconds, waits for the later."""

    def __init__(self) -> None:
        self.event = torch.cuda.Event(enable_timing=True)
        self.event.record()

    def __sub__(self, earlier: "Moment") -> float:
        self.event.synchronize()
        return earlier.event.elapsed_time(self.event) / 1000


class DeviceArm(ArmBench):
    """Measures one arm on a device whose work is asynchronous.

    Times come from events in the device's own queue, so that the steps of a model that has small kernels are
    not slowed down by waits which a training does not have either.

    Args:
        way: ``today`` or ``cut``.
        mixer: ``wsm`` or ``attention``.
        num_replaced: k.
        architecture: of the upstream.
        upstream: its folder.
        plan: device, sizes of batches and of the card.
    """

    def __init__(
        self, way: str, mixer: str, num_replaced: int, architecture: str, upstream: Path, plan: CheckPlan
    ):
        arm = Arm(way, mixer=mixer)
        config = BenchmarkConfig(
            architecture=architecture,
            arms={NAME: arm},
            ratio_arms=dict.fromkeys(PARTS, NAME),
            num_replaced=num_replaced,
            device=plan.device,
        )
        self.plan = plan
        super().__init__(arm, config, upstream, plan.device)
        self.resident = self.memory.reset()

    def use_cache(self) -> None:
        """Drop what is below the cut; from now on the input is stored features."""
        self.model.body.prefix = self.prefix = None
        self.arm = dataclasses.replace(self.arm, way="cached", measure=("step",))
        # ArmBench has frozen what is dropped here. What stays is frozen again, or each collection would take
        # longer than a step.
        gc.unfreeze()
        self.resident = self.memory.reset()
        gc.freeze()

    def sizes(self) -> Answer:
        """Parameters, and bytes of model, gradients' owners and optimiser at rest."""
        return {
            "trained_parameters": sum(p.numel() for p in self.trained),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "resident_bytes": self.resident,
        }

    def measure_point(self, seconds: float, dtype: str) -> Answer:
        """Steps and, but from stored features, decoding of one utterance.

        Args:
            seconds: its length.
            dtype: ``float32`` or ``bfloat16``.

        Returns:
            ``saved_bytes`` that autograd keeps, ``peak_bytes``, and of each time median, least and greatest;
            or ``{"skipped": reason}`` where memory is too small.
        """
        return self._without_memory_errors(lambda: self._measure_point(seconds, dtype))

    def _measure_point(self, seconds: float, dtype: str) -> Answer:
        self._set_dtype(dtype)
        data = self._make_batch(seconds, 1)
        # Warms up, and counts; the hooks that count are not there when peak and times are taken.
        saved = self._step(data, dtype, SavedBytes(self.model))["saved_bytes"]
        self.memory.reset()
        self._step(data, dtype, None)  # the memory that later steps find in torch's cache
        peak = self.memory.peak()
        steps = self._repeat(lambda: self._step(data, dtype, None))
        answer = {"saved_bytes": saved, "peak_bytes": peak, "rounds": len(steps)}
        if "decode" in self.arm.measure:
            self._decode(data, dtype)
            decoded = self._repeat(lambda: self._decode(data, dtype))
            steps = [step | decoded[min(i, len(decoded) - 1)] for i, step in enumerate(steps)]
        for name in TIMES:
            values = [step[name] for step in steps if step.get(name) is not None]
            if values:
                answer[name] = spread(values)
        return answer

    def _repeat(self, measure: Callable[[], Answer]) -> list[Answer]:
        """One measurement or more, as the plan's time and rounds allow."""
        answers = [measure()]
        begin = time.monotonic()
        while len(answers) < self.plan.rounds and time.monotonic() - begin < self.plan.seconds_per_point:
            answers.append(measure())
        return answers

    def try_batch(self, utterances: int, dtype: str) -> Answer:
        """One step of a batch on the plan's card.

        Returns:
            ``fits``, and with it ``peak_bytes`` and ``step_s``, or what the device said.
        """
        make_card = CudaCard if self.device.type == "cuda" else CountingCard
        card = make_card(self.plan.card_bytes)

        def step() -> Answer:
            self._set_dtype(dtype)
            with card.limit(self.model):
                data = self._repeat_utterance(utterances)
                self.memory.reset()
                taken = self._step(data, dtype, None)
            return {"fits": True, "step_s": taken["step_s"], "peak_bytes": card.read_peak()}

        answer = self._without_memory_errors(step)
        answer = {"fits": False, "said": answer["skipped"]} if "skipped" in answer else answer
        return answer | {"usable_bytes": card.usable}

    def _repeat_utterance(self, number: int) -> Batch:
        """One utterance so many times: random numbers for all would take longer than the step."""
        one = self._make_batch(self.plan.utterance_s, 1)

        def repeat(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.repeat(number, *[1] * (tensor.dim() - 1))

        return Batch(repeat(one.inputs), repeat(one.lengths), tuple(map(repeat, one.texts)))

    def _without_memory_errors(self, work: Callable[[], Answer]) -> Answer:
        """What ``work`` gives, or that memory was too small; what it held is free again."""
        try:
            return work()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            said = str(error).splitlines()[0]
        # Only here: while an exception is handled, its traceback keeps all tensors of the step alive.
        self.optimizer.zero_grad(set_to_none=True)
        self.memory.reset()
        return {"skipped": f"did not fit: {said}"}

    def _mark(self, name: str) -> None:
        if self.device.type == "cuda":
            self._marks[name] = Moment()
        else:
            super()._mark(name)

    def release(self) -> int:
        """Forget the model; returns the bytes of the device that are still in use."""
        self.model = self.prefix = self.optimizer = self.trained = None
        gc.unfreeze()
        return self.memory.reset()
