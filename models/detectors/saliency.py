"""Where a network looks: saliency maps taken from inside it, for architectures that are known.

Grad-CAM says which places raised the logit of "fake". Attention rollout says from which places the answer was put
together, whatever it is. For networks of which neither can be had, `models.explain.occlusion` covers and asks again.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from models.detectors.contract import Saliency
from models.types import Class

Net = TypeVar("Net", bound=torch.nn.Module)


def grad_cam(pixels: Tensor, see: Callable[[Tensor], Tensor], judge: Callable[[Tensor], Tensor]) -> Saliency:
    """Grad-CAM: each channel of a layer of convolutions, weighted by how much it raises the logit on average.

    Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV
    2017. Where `judge` is a mean over places and a linear layer, it is the CAM of Zhou et al., CVPR 2016.

    Args:
        pixels: `(N, ...)`, as `see` takes them, on the network's device.
        see: to `(N, C, h, w)` activations of that layer.
        judge: from there to `(N,)` logits of "fake". A row must not depend on its neighbours.
    """
    with torch.no_grad():
        activations = see(pixels).float()
    with torch.enable_grad():  # of the activations alone: the weights need none
        activations.requires_grad_()
        (gradients,) = torch.autograd.grad(judge(activations).sum(), activations)
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    raised = (weights * activations.detach()).sum(dim=1).relu()
    return Saliency.scaled("grad_cam", raised.cpu().numpy())


def rollout(attentions: Sequence[Tensor], readout: Tensor) -> Saliency | None:
    """Attention rollout: attentions of all layers multiplied up, half of each standing for the residual path.

    Source: Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020; heads are averaged. It knows no
    classes. What every place has at least is the noise of averaging and taken off.

    Args:
        attentions: of each layer in order, `(N, heads, L, L)`, rows summing to 1. The last `h * h` of the `L` tokens
            are patches, row by row; those before them, if any, are class tokens.
        readout: `(N or 1, L)`, in which shares the answer is read off the last layer's tokens.

    Returns:
        None if the attentions are not of one such square.
    """
    length = readout.shape[1]
    side = int(length**0.5)
    if not attentions or any(a is None or a.shape[-2:] != (length, length) for a in attentions):
        return None
    flow = readout.float()[:, None]
    half = torch.eye(length, device=readout.device) / 2
    for attention in reversed(attentions):
        flow = flow @ (attention.float().mean(dim=1) / 2 + half)
    patches = flow[:, 0, length - side * side :].reshape(-1, side, side).cpu().numpy()
    return Saliency.scaled("attention_rollout", patches - patches.min(axis=(1, 2), keepdims=True))


def first_token(length: int, device: torch.device) -> Tensor:
    """The readout of a class token, which comes first."""
    return torch.eye(1, length, device=device)


def mean_of_patches(length: int, device: torch.device) -> Tensor:
    """The readout of a mean over all patches, without the class tokens before them."""
    patches = int(length**0.5) ** 2
    return (torch.arange(length, device=device) >= length - patches)[None].float() / patches


def attentive(net: Net) -> Net:
    """A twin of a network of transformers that shares its weights, and can hand out its attentions.

    Fused attention never has them in memory. The twin computes slower and its last digits differ, so scores are left to
    the network itself; a switch would be seen by passes that other threads have under way.
    """
    shared: dict[int, Any] = {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
    twin = copy.deepcopy(net, shared)
    for module in twin.modules():
        if callable(switch := getattr(module, "set_attn_implementation", None)):
            switch("eager")
    return twin


def fake_logit(outputs: Tensor, labels: Sequence[Class]) -> Tensor:
    """`models.detectors.labels.fake_logits` for gradients: `(N, C)` outputs to `(N,)` logits of fake."""
    if len(labels) == 1:
        return outputs[:, 0] if labels[0] == "fake" else -outputs[:, 0]
    fake, real = (outputs[:, [label == of for label in labels]].logsumexp(dim=1) for of in ("fake", "real"))
    return fake - real
