"""Policy iteration, its damped form, KL steps and natural gradients of softmax tables are one step of mirror descent."""

import torch
from torch import Tensor


def mirror_step(log_probs: Tensor, q: Tensor, keep: float | Tensor, gain: float) -> Tensor:
    """Returns log zeta', zeta'(a|x) proportional to zeta(a|x)^keep exp(gain q(x, a)) over the legal actions.

    Soft policy iteration with temperature tau and damping beta (Zhang et al. 2022, 2211.17116): keep = 1 - beta and
    gain = beta / tau. A KL-proximal step of size eta (Chakraborty et al. 2026, 2602.16966), the natural gradient of softmax
    tables: keep = 1 and gain = eta. q may be off by any number per row. keep may differ by row and action.
    Shapes: log_probs, q [*K, A], -inf in log_probs where an action is illegal -> [*K, A].
    """
    legal = log_probs > -torch.inf
    logits = keep * log_probs.where(legal, 0.0) + gain * q
    return torch.log_softmax(logits.masked_fill(~legal, -torch.inf), dim=-1)
