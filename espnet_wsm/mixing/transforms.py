"""Whether code runs as it stands, or is traced or transformed by something that must see plain operations."""

import torch


def is_transformed() -> bool:
    """Whether ``torch.compile``, an export or a transform of ``torch.func`` runs this.

    In these, what depends on the values of a tensor cannot be decided, and a backward pass cannot call
    autograd again.
    """
    # torch.autograd.Function asks for the transforms in this way; nothing is public.
    active = torch._C._are_functorch_transforms_active()
    return active or torch.compiler.is_compiling() or torch.jit.is_tracing()
