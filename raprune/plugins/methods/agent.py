"""The pruning agent: a policy network that reads a layer's weights and learns by REINFORCE which filters to keep.

Source: Huang, Zhou, You, Neumann, *Learning to Prune Filters in Convolutional Neural Networks*, arXiv 1801.07365:
the agent's network (section 3), its gradient (equation 5) and Algorithm 1.

Departures, each a setting that ``preset: paper`` turns off where the paper is clear:
- the widths of the network, the pooling of wide weight matrices to ``max_columns`` columns and the stop rule are ours,
  since the paper does not specify them; no axis is pooled below 2;
- ``initial_keep_probability``: unspecified in the paper; ours starts at 0.8, near networks that still work;
- ``magnitude_prior`` adds a fixed slope over the rank of the L1 norms to the logits, so that the agent starts from
  the magnitude ranking and learns where it is wrong;
- ``decision: bound`` ranks the filters by keep probability and bisects num_kept to the drop bound, because the reward's
  optimum lies well inside it; ``trim`` then tries each kept filter alone. The paper uses ``decision: reward``;
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

from raprune.network.masks import keep_first
from raprune.plugins.methods.base import Asked, Decision, Evaluate, Evaluation, LayerView, Method
from raprune.plugins.methods.search import bisection_steps, fewest_bisection_steps, geometric, smallest_feasible, trim
from raprune.registry import METHODS, Settings

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
    decision: Literal["bound", "reward", "ranked_reward"] = "bound"
    """``bound``: fewest filters within the drop bound; ``reward``: highest reward seen; ``ranked_reward``: the same,
    after also scoring the likeliest N/1.4, N/2, N/2.8, N/4 ... of N filters."""
    trim: bool = True
    """With ``decision: bound``: after the bisection, prune each single filter whose removal stays within the bound."""
    max_columns: int = Field(default=64, ge=2)
    """Average-pool weight matrices with more columns to this many."""
    min_columns_for_conv: int = Field(default=24, ge=2)
    """With fewer columns, the agent has only its two fully connected layers."""
    channels: int = Field(default=8, ge=1)
    """Filters of each of the agent's four convolutions."""
    hidden: int = Field(default=64, ge=1)
    """Width of the agent's first fully connected layer."""

    def shortened(self) -> Self:
        updates = {"min_updates": 1, "max_updates": min(TIMED_UPDATES, self.max_updates)}
        return self.model_copy(update=updates | {"trim": False})


class Policy(nn.Module):
    """Four alternating (7x7 convolution, 2x2 max pooling) and two fully connected layers: weights to N logits."""

    def __init__(self, weights_NM: Tensor, settings: AgentSettings) -> None:
        super().__init__()
        num_filters = weights_NM.shape[0]
        input_11NL = _standardised(pool_columns(weights_NM.float(), settings.max_columns))
        self.register_buffer("input_11NL", input_11NL)
        self.register_buffer("prior_N", _magnitude_prior(weights_NM, settings.magnitude_prior))
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


def _magnitude_prior(weights_NM: Tensor, slope: float) -> Tensor:
    """(N,): from -slope/2 for the smallest L1 norm to slope/2 for the largest, linear in the rank."""
    num_filters = weights_NM.shape[0]
    rank_N = weights_NM.double().abs().sum(1).argsort(stable=True).argsort().float()
    return slope * (rank_N / max(1, num_filters - 1) - 0.5)


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

    @property
    def masks_per_update(self) -> int:
        """M."""
        return self.settings.masks_per_update

    def expected_candidates(self, num_filters: int) -> int:
        asked = self.asked(num_filters)
        return asked.masks_per_update * asked.updates[1] + asked.searched[1]

    def asked(self, num_filters: int) -> Asked:
        """What the agent asks for; trimming scores one mask per filter that the bisection kept, at most all filters."""
        s = self.settings
        updates = (min(s.min_updates, s.max_updates), s.max_updates)
        if s.decision == "reward":
            return Asked(s.masks_per_update, updates, (1, 1))
        if s.decision == "ranked_reward":
            number = len(geometric(num_filters))
            return Asked(s.masks_per_update, updates, (number, number))
        most = bisection_steps(num_filters) + (num_filters if s.trim else 0)
        return Asked(s.masks_per_update, updates, (fewest_bisection_steps(num_filters), most))

    def decide(self, layer: LayerView, evaluate: Evaluate, rng: torch.Generator) -> Decision:
        """Algorithm 1 for one layer, then the decision."""
        policy = self._policy(layer, rng)
        rest = [p for p in policy.parameters() if p is not policy.head.bias]
        groups: list[dict[str, Any]] = [
            {"params": rest},
            {"params": [policy.head.bias], "lr": self.settings.logit_learning_rate},
        ]
        optimiser = torch.optim.Adam(groups, lr=self.settings.learning_rate)
        seen = self._learn(policy, optimiser, evaluate, rng)
        with torch.no_grad():
            logits_N = policy()
        mask = self._decide(logits_N, seen, evaluate)
        return Decision(mask, _agent_state(policy, optimiser, rng))

    def _policy(self, layer: LayerView, rng: torch.Generator) -> Policy:
        seed = int(torch.randint(0, 2**62, (1,), generator=rng))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Policy(layer.weights_NM, self.settings)

    def _learn(
        self, policy: Policy, optimiser: torch.optim.Optimizer, evaluate: Evaluate, rng: torch.Generator
    ) -> list[tuple[Tensor, Evaluation]]:
        """Sample, score and update until converged; returns every mask with its evaluation."""
        s = self.settings
        seen: list[tuple[Tensor, Evaluation]] = []
        for update in range(s.max_updates):
            logits_N = policy()
            nats = entropy(logits_N.detach())
            if update >= s.min_updates and nats < s.converged_entropy:
                break
            masks = sample_masks(logits_N.detach(), s.masks_per_update, rng)
            evaluations = evaluate(masks, policy_entropy=nats)
            seen += zip(masks, evaluations, strict=True)
            rewards_M = torch.tensor([e.reward for e in evaluations], dtype=torch.float64)
            advantages_M = advantages(rewards_M, s.normalise)
            if advantages_M is not None:
                loss = reinforce_loss(logits_N, torch.stack(masks).float(), advantages_M)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
        return seen

    def _decide(self, logits_N: Tensor, seen: list[tuple[Tensor, Evaluation]], evaluate: Evaluate) -> Tensor:
        ranking = [int(i) for i in logits_N.argsort(descending=True, stable=True)]
        if self.settings.decision != "bound":
            numbers = [max(1, int((logits_N > 0).sum()))]
            if self.settings.decision == "ranked_reward":
                numbers = geometric(len(ranking))
            masks = [keep_first(ranking, number) for number in numbers]
            seen = [*seen, *zip(masks, evaluate(masks), strict=True)] if masks else seen
            best = max((pair for pair in seen if pair[1].feasible), key=lambda pair: pair[1].reward, default=None)
            return best[0] if best is not None and best[1].reward > 0 else torch.ones(len(ranking), dtype=torch.bool)
        mask = smallest_feasible(ranking, evaluate)
        for sampled, evaluation in seen:
            if evaluation.feasible and sampled.sum() < mask.sum():
                mask = sampled
        return trim(mask, ranking, evaluate) if self.settings.trim else mask


def _agent_state(policy: Policy, optimiser: torch.optim.Optimizer, rng: torch.Generator) -> dict[str, Tensor]:
    """Everything that an agent needs to continue from here: its network, Adam's moments, the generator."""
    state = {f"policy.{name}": tensor.clone() for name, tensor in policy.state_dict().items()}
    names = [name for name, _ in policy.named_parameters() if name != "head.bias"] + ["head.bias"]
    for index, moments in optimiser.state_dict()["state"].items():
        for key, value in moments.items():
            state[f"adam.{names[index]}.{key}"] = torch.as_tensor(value).clone()
    return state | {"rng": rng.get_state()}
