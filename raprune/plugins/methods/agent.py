"""The pruning agent: a policy network that reads a layer's weights and learns by REINFORCE which filters to keep.

Source: Huang, Zhou, You, Neumann, *Learning to Prune Filters in Convolutional Neural Networks*, arXiv 1801.07365:
the agent's network (section 3), its gradient (equation 5) and Algorithm 1.

Departures, each a setting that ``preset: paper`` turns off where the paper is clear:
- the widths of the network, the pooling of wide weight matrices to ``max_columns`` columns and the stop rule are ours,
  since the paper does not specify them; no axis is pooled below 2;
- ``initial_keep_probability``: unspecified in the paper; ours starts at 0.8, near networks that still work;
- ``magnitude_prior`` adds a fixed slope over the rank of the L1 norms (or of the criterion ``prior``) to the logits, so
  that the agent starts from that ranking and learns where it is wrong;
- the decision stage follows separately, because the reward's optimum lies well inside the bound. The paper's is
  ``decision: reward``;
- ``logit_learning_rate``: the last layer's biases, one per filter, learn faster than the network that all filters
  share. With one rate for both, the logits move together and the policy settles too early (docs/decisions.md);
- advantages are divided by the standard deviation of the M rewards (``normalise: mean_std``), not only centred.

Shapes: N filters, L weights per filter (after pooling), M masks per update.
"""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from raprune.network.draws import drawn
from raprune.network.masks import keep_first
from raprune.network.optimisers import Adam
from raprune.plugins.methods.base import Evaluate, LayerView, Ranking
from raprune.plugins.methods.learning import (
    CriterionName,
    Learner,
    LearnerSettings,
    entropy,
    most_important_first,
    ranks,
    sample_masks,
)
from raprune.registry import METHODS


class AgentSettings(LearnerSettings):
    min_updates: int = Field(default=30, ge=1)
    """Fewest updates per layer before it may count as converged."""
    max_updates: int = Field(default=60, ge=1)
    """Most updates per layer, even if that is below ``min_updates``."""
    converged_entropy: float = Field(default=0.01, ge=0)
    """A layer has converged once the mean entropy of its keep probabilities is below this, in nats per filter."""
    learning_rate: float = Field(default=0.001, gt=0)
    """Adam's learning rate for the policy network."""
    logit_learning_rate: float = Field(default=0.2, gt=0)
    """Adam's learning rate for the last layer's biases, one free logit per filter."""
    normalise: Literal["mean_std", "mean"] = "mean_std"
    """``mean``: subtract the mean reward of the M masks; ``mean_std``: also divide by their standard deviation."""
    initial_keep_probability: float = Field(default=0.8, gt=0, lt=1)
    """Keep probability of every filter before the first update, the magnitude prior aside."""
    magnitude_prior: float = Field(default=3.0, ge=0)
    """How far, in logits, the filter with the largest L1 norm starts above the one with the smallest."""
    prior: CriterionName | None = None
    """The criterion whose ranking it starts from; null for the L1 norms. ``magnitude_prior`` says how far."""
    max_columns: int = Field(default=64, ge=2)
    """Average-pool weight matrices with more columns to this many."""
    min_columns_for_conv: int = Field(default=24, ge=2)
    """With fewer columns, the agent has only its two fully connected layers."""
    channels: int = Field(default=8, ge=1)
    """Filters of each of the agent's four convolutions."""
    hidden: int = Field(default=64, ge=1)
    """Width of the agent's first fully connected layer."""

    def shortened(self) -> Self:
        return super().shortened().model_copy(update={"min_updates": 1})


class Policy(nn.Module):
    """Four alternating (7x7 convolution, 2x2 max pooling) and two fully connected layers: weights to N logits."""

    def __init__(self, weights_NM: Tensor, settings: AgentSettings, ranks_N: Tensor | None = None) -> None:
        """``ranks_N`` are those of the ranking to start from, see :func:`raprune.plugins.methods.learning.ranks`;
        the L1 norms' without it."""
        super().__init__()
        num_filters = weights_NM.shape[0]
        input_11NL = _standardised(pool_columns(weights_NM.float(), settings.max_columns))
        self.register_buffer("input_11NL", input_11NL)
        if ranks_N is None:
            ranks_N = ranks(weights_NM.double().abs().sum(1))
        self.register_buffer("prior_N", settings.magnitude_prior * ranks_N)
        self.body = _body(num_filters, input_11NL.shape[-1], settings)
        self.head = nn.Linear(settings.hidden, num_filters)
        keep = settings.initial_keep_probability
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.fill_(math.log(keep / (1 - keep)))

    def forward(self) -> Tensor:
        """Keep logits, (N,)."""
        logits_N: Tensor = self.head(self.body(self.get_buffer("input_11NL")))[0] + self.get_buffer("prior_N")
        return logits_N


def pool_columns(weights_NM: Tensor, max_columns: int) -> Tensor:
    """(N, M_l) to (N, min(M_l, max_columns)) by averaging columns."""
    if weights_NM.shape[1] <= max_columns:
        return weights_NM
    return F.adaptive_avg_pool1d(weights_NM[None], max_columns)[0]


def _standardised(input_NL: Tensor) -> Tensor:
    """(1, 1, N, L) with mean 0 and standard deviation 1; zeros if all weights are equal up to rounding."""
    centred_NL = torch.zeros_like(input_NL)
    if not _alike(input_NL, relative=1e-6):
        centred_NL = (input_NL - input_NL.mean()) / input_NL.std().clamp_min(1e-12)
    return centred_NL[None, None]


def _body(num_filters: int, num_columns: int, settings: AgentSettings) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels, height, width = 1, num_filters, num_columns
    if num_columns >= settings.min_columns_for_conv:
        for _ in range(4):
            window = (2 if height >= 4 else 1, 2 if width >= 4 else 1)
            layers += [nn.Conv2d(channels, settings.channels, 7, padding=3), nn.ReLU(), nn.MaxPool2d(window)]
            channels, height, width = settings.channels, height // window[0], width // window[1]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, settings.hidden), nn.ReLU())


def advantages(rewards_M: Tensor, normalise: str) -> Tensor | None:
    """Rewards minus their mean, divided by their standard deviation for ``mean_std``, float32; ``None`` if all equal.

    Rewards that differ only by rounding count as equal: dividing by their standard deviation would make them +1 and -1.
    Scores are near 100 and their differences are divided by the drop bound, so rewards carry rounding of about 1e-12.
    """
    rewards_M = rewards_M.double()
    if _alike(rewards_M, relative=1e-9, absolute=1e-11):
        return None
    centred_M = rewards_M - rewards_M.mean()
    return (centred_M / rewards_M.std(correction=0) if normalise == "mean_std" else centred_M).float()


def _alike(values: Tensor, relative: float, absolute: float = 0.0) -> bool:
    """Whether the values differ by no more than rounding."""
    spread = float(values.max() - values.min())
    return spread <= max(absolute, relative * float(values.abs().max()))


def reinforce_loss(logits_N: Tensor, masks_MN: Tensor, advantages_M: Tensor) -> Tensor:
    """Equation 5 as a loss: minus the mean over the M masks of advantage times log-probability."""
    log_probs_M = (F.logsigmoid(logits_N) * masks_MN + F.logsigmoid(-logits_N) * (1 - masks_MN)).sum(1)
    return -(advantages_M * log_probs_M).mean()


@METHODS.register("agent", AgentSettings)
class Agent(Learner):
    """The paper's reinforcement-learned pruning agent (REINFORCE on a policy network)."""

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self.settings = settings

    @property
    def fewest_updates(self) -> int:
        return self.settings.min_updates

    def learn(self, layer: LayerView, evaluate: Evaluate, rng: torch.Generator, num_updates: int) -> Ranking:
        """Algorithm 1 for one layer, except for its decision: filters by keep probability."""
        policy = self._policy(layer, rng)
        rest = [p for p in policy.parameters() if p is not policy.head.bias]
        groups: list[dict[str, Any]] = [
            {"params": rest},
            {"params": [policy.head.bias], "lr": self.settings.logit_learning_rate},
        ]
        optimiser = Adam(groups, lr=self.settings.learning_rate)
        for update in range(num_updates):
            if not self._update(policy, optimiser, evaluate, rng, update >= self.settings.min_updates):
                break
        with torch.no_grad():
            logits_N = policy()
        order = most_important_first(logits_N)
        likely = keep_first(order, max(1, int((logits_N > 0).sum())))
        state = _agent_state(policy, optimiser, rng)
        return Ranking(order, likely, state, keep_probs=torch.sigmoid(logits_N))

    def _policy(self, layer: LayerView, rng: torch.Generator) -> Policy:
        ranks_N = ranks(self.start(layer))
        seed = int(torch.randint(0, 2**62, (1,), generator=rng))
        with drawn(seed):
            return Policy(layer.weights_NM, self.settings, ranks_N)

    def _update(
        self,
        policy: Policy,
        optimiser: torch.optim.Optimizer,
        evaluate: Evaluate,
        rng: torch.Generator,
        may_converge: bool,
    ) -> bool:
        """Sample, score and update once; ``False`` where the policy has converged instead."""
        s = self.settings
        logits_N = policy()
        nats = entropy(logits_N.detach())
        if may_converge and nats < s.converged_entropy:
            return False
        masks = sample_masks(logits_N.detach(), s.masks_per_update, rng)
        evaluations = evaluate(masks, policy_entropy=nats)
        rewards_M = torch.tensor([e.reward for e in evaluations], dtype=torch.float64)
        advantages_M = advantages(rewards_M, s.normalise)
        if advantages_M is not None:
            loss = reinforce_loss(logits_N, torch.stack(masks).float(), advantages_M)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return True


def _agent_state(policy: Policy, optimiser: torch.optim.Optimizer, rng: torch.Generator) -> dict[str, Tensor]:
    """Everything that an agent needs to continue from here: its network, Adam's moments, the generator."""
    state = {f"policy.{name}": tensor.clone() for name, tensor in policy.state_dict().items()}
    names = [name for name, _ in policy.named_parameters() if name != "head.bias"] + ["head.bias"]
    for index, moments in optimiser.state_dict()["state"].items():
        for key, value in moments.items():
            state[f"adam.{names[index]}.{key}"] = torch.as_tensor(value).clone()
    return state | {"rng": rng.get_state()}
