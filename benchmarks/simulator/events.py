"""What happens to a simulated pool: machines come and go, evaluators hang."""

from __future__ import annotations

import random

from benchmarks.simulator.replaying import Simulation


def spot(simulation: Simulation, seed: int, life_s: float, away_s: float) -> None:
    """Every machine is lost after ``life_s`` on average; another one like it joins ``away_s`` later."""
    draw, cluster = random.Random(seed), simulation.cluster

    def live(node: str, slots: int) -> None:
        def end() -> None:
            cluster.leave(node)
            simulation.clock.after(away_s, lambda: live(cluster.join(slots), slots))

        simulation.clock.after(draw.expovariate(1 / life_s), end)

    for node, machine in list(cluster.machines.items()):
        live(node, int(machine.node.resources["GPU"]))


def hangs(simulation: Simulation, seed: int, every_s: float) -> None:
    """Some evaluator stops to answer and to beat, every so many seconds on average."""
    draw, cluster = random.Random(seed), simulation.cluster

    def one() -> None:
        able = [evaluator for evaluator in cluster.evaluators.values() if evaluator.is_ready]
        if able:
            draw.choice(able).hang()
        simulation.clock.after(draw.expovariate(1 / every_s), one)

    simulation.clock.after(draw.expovariate(1 / every_s), one)
