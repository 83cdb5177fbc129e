# SPDX-License-Identifier: LGPL-2.1-or-later
"""Muon for the matrices of the blocks, AdamW for the rest."""
import torch


def orthogonal(stack):
    """Newton-Schulz: moves each matrix of [n,r,c] towards the nearest orthogonal one. bf16 is exact enough."""
    tall = stack.shape[1] > stack.shape[2]
    x = (stack / (stack.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
    x = x.transpose(1, 2) if tall else x
    for _ in range(5):
        a = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
    return (x.transpose(1, 2) if tall else x).float()


class Optimizer:
    """One learning rate for both: `step(scale)` multiplies the largest rates by scale."""

    def __init__(self, model, adam_lr=1.5e-3, muon_lr=.012, momentum=.95, decay=.02):
        named = list(model.named_parameters())
        matrix = lambda name, p: p.ndim == 2 and name.startswith("blocks.")
        self.rest = [p for n, p in named if not matrix(n, p)]
        self.groups = {}  # shape -> parameters, which are updated as one stack
        for name, p in named:
            if matrix(name, p):
                self.groups.setdefault(tuple(p.shape), []).append(p)
        self.adam_lr, self.muon_lr, self.momentum, self.decay = adam_lr, muon_lr, momentum, decay
        self.adam = torch.optim.AdamW(self.rest, lr=adam_lr, betas=(.9, .98), weight_decay=0)
        self.speed = {shape: torch.zeros(len(ps), *shape, device=ps[0].device) for shape, ps in self.groups.items()}

    def zero_grad(self):
        for p in self.rest + [p for ps in self.groups.values() for p in ps]:
            p.grad = None

    @torch.no_grad()
    def step(self, scale):
        torch.nn.utils.clip_grad_norm_(self.rest, 1.0)
        for group in self.adam.param_groups:
            group["lr"] = self.adam_lr * scale
        self.adam.step()
        lr = self.muon_lr * scale
        for shape, params in self.groups.items():
            grad = torch.stack([p.grad for p in params])
            speed = self.speed[shape].lerp_(grad, 1 - self.momentum)
            update = orthogonal(grad.lerp(speed, self.momentum)) * max(1, shape[0] / shape[1]) ** .5
            for p, u in zip(params, update):
                p.mul_(1 - lr * self.decay).add_(u, alpha=-lr)

    def state_dict(self):
        return dict(adam=self.adam.state_dict(), speed=self.speed)

    def load_state_dict(self, state):
        self.adam.load_state_dict(state["adam"])
        self.speed = {k: v.to(self.speed[k].device) for k, v in state["speed"].items()}
