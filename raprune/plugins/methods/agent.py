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
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from raprune.network.masks import keep_first
from raprune.plugins.methods.base import Asked, Criterion, Evaluate, LayerView, Method, Ranking
from raprune.registry import METHODS, Settings
from raprune.study.names import NameOf

TIMED_UPDATES = 6
"""Updates of a layer that an estimate runs to time one."""


class AgentSettings(Settings):
    masks_per_update: int = Field(default=5, ge=2)
    """M, the number of keep masks sampled and scored for one update."""
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
    learning_share: float = Field(default=0.5, gt=0, le=1)
    """Share of the layer's candidates (``candidates_per_layer``) that learning may use, the decision stage the rest."""
    prior: Annotated[str, NameOf(METHODS)] | None = None
    """A criterion whose ranking the agent starts from; null for the L1 norms. :attr:`magnitude_prior` says how far."""
    max_columns: int = Field(default=64, ge=2)
    """Average-pool weight matrices with more columns to this many."""
    min_columns_for_conv: int = Field(default=24, ge=2)
    """With fewer columns, the agent has only its two fully connected layers."""
    channels: int = Field(default=8, ge=1)
    """Filters of each of the agent's four convolutions."""
    hidden: int = Field(default=64, ge=1)
    """Width of the agent's first fully connected layer."""

    def problems(self) -> list[tuple[str, str]]:
        if self.prior is None or issubclass(METHODS.get(self.prior).make, Criterion):  # type: ignore[arg-type]
            return []
        known = [plugin.name for plugin in METHODS if issubclass(plugin.make, Criterion)]  # type: ignore[arg-type]
        return [("prior", f"must be a criterion ({', '.join(known)}); {self.prior} is none")]

    def shortened(self) -> Self:
        return self.model_copy(update={"min_updates": 1, "max_updates": min(TIMED_UPDATES, self.max_updates)})


class Policy(nn.Module):
    """Four alternating (7x7 convolution, 2x2 max pooling) and two fully connected layers: weights to N logits."""

    def __init__(self, weights_NM: Tensor, settings: AgentSettings, importance_N: Tensor) -> None:
        super().__init__()
        num_filters = weights_NM.shape[0]
        input_11NL = _standardised(pool_columns(weights_NM.float(), settings.max_columns))
        self.register_buffer("input_11NL", input_11NL)
        self.register_buffer("prior_N", _prior(importance_N, settings.magnitude_prior))
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


def _prior(importance_N: Tensor, slope: float) -> Tensor:
    """(N,): from -slope/2 for the least important filter to slope/2 for the most, linear in the rank."""
    rank_N = importance_N.argsort(stable=True).argsort().float()
    return slope * (rank_N / max(1, len(importance_N) - 1) - 0.5)


def _body(num_filters: int, num_columns: int, settings: AgentSettings) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels, height, width = 1, num_filters, num_columns
    if num_columns >= settings.min_columns_for_conv:
        for _ in range(4):
            window = (2 if height >= 4 else 1, 2 if width >= 4 else 1)
            layers += [nn.Conv2d(channels, settings.channels, 7, padding=3), nn.ReLU(), nn.MaxPool2d(window)]
            channels, height, width = settings.channels, height // window[0], width // window[1]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, settings.hidden), nn.ReLU())


def entropy(logits_N: Tensor) -> float:
    """Mean entropy of the N Bernoulli variables, in nats per filter."""
    probs_N = torch.sigmoid(logits_N)
    return float((F.softplus(logits_N) - probs_N * logits_N).mean())


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


def sample_masks(logits_N: Tensor, number: int, rng: torch.Generator) -> list[Tensor]:
    """Independent Bernoulli draws; an empty mask is drawn again up to 100 times, then keeps the likeliest filter."""
    probs_N = torch.sigmoid(logits_N)
    masks = []
    for _ in range(number):
        for _ in range(101):
            mask = torch.rand(len(probs_N), generator=rng) < probs_N
            if mask.any():
                break
        else:
            mask[int(probs_N.argmax())] = True
        masks.append(mask)
    return masks


@METHODS.register("agent", AgentSettings)
class Agent(Method):
    """The paper's reinforcement-learned pruning agent (REINFORCE on a policy network)."""

    def __init__(self, settings: AgentSettings) -> None:
        self.settings = settings

    def asked(self, num_filters: int, candidates: int | None) -> Asked:
        del num_filters
        s = self.settings
        most = self._max_updates(candidates)
        return Asked(s.masks_per_update, (min(s.min_updates, most), most))

    def _max_updates(self, candidates: int | None) -> int:
        """Most updates in a layer that may ask for ``candidates``."""
        s = self.settings
        if candidates is None:
            return s.max_updates
        return min(s.max_updates, int(candidates * s.learning_share) // s.masks_per_update)

    def rank(self, layer: LayerView, evaluate: Evaluate, rng: torch.Generator) -> Ranking:
        """Algorithm 1 for one layer, except for its decision: filters by keep probability."""
        policy = self._policy(layer, rng)
        rest = [p for p in policy.parameters() if p is not policy.head.bias]
        groups: list[dict[str, Any]] = [
            {"params": rest},
            {"params": [policy.head.bias], "lr": self.settings.logit_learning_rate},
        ]
        optimiser = torch.optim.Adam(groups, lr=self.settings.learning_rate)
        self._learn(policy, optimiser, evaluate, rng)
        with torch.no_grad():
            logits_N = policy()
        order = [int(i) for i in logits_N.argsort(descending=True, stable=True)]
        likely = keep_first(order, max(1, int((logits_N > 0).sum())))
        return Ranking(order, likely, _agent_state(policy, optimiser, rng))

    def _policy(self, layer: LayerView, rng: torch.Generator) -> Policy:
        importance_N = layer.weights_NM.double().abs().sum(1)
        if self.settings.prior is not None:
            importance_N = layer.importance(METHODS.build(self.settings.prior, {}))
        seed = int(torch.randint(0, 2**62, (1,), generator=rng))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Policy(layer.weights_NM, self.settings, importance_N)

    def _learn(
        self, policy: Policy, optimiser: torch.optim.Optimizer, evaluate: Evaluate, rng: torch.Generator
    ) -> None:
        """Sample, score and update until converged, or until learning's share of the candidates is spent."""
        s = self.settings
        for update in range(self._max_updates(evaluate.left)):
            logits_N = policy()
            nats = entropy(logits_N.detach())
            if update >= s.min_updates and nats < s.converged_entropy:
                break
            masks = sample_masks(logits_N.detach(), s.masks_per_update, rng)
            evaluations = evaluate(masks, policy_entropy=nats)
            rewards_M = torch.tensor([e.reward for e in evaluations], dtype=torch.float64)
            advantages_M = advantages(rewards_M, s.normalise)
            if advantages_M is not None:
                loss = reinforce_loss(logits_N, torch.stack(masks).float(), advantages_M)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()


def _agent_state(policy: Policy, optimiser: torch.optim.Optimizer, rng: torch.Generator) -> dict[str, Tensor]:
    """Everything that an agent needs to continue from here: its network, Adam's moments, the generator."""
    state = {f"policy.{name}": tensor.clone() for name, tensor in policy.state_dict().items()}
    names = [name for name, _ in policy.named_parameters() if name != "head.bias"] + ["head.bias"]
    for index, moments in optimiser.state_dict()["state"].items():
        for key, value in moments.items():
            state[f"adam.{names[index]}.{key}"] = torch.as_tensor(value).clone()
    return state | {"rng": rng.get_state()}
