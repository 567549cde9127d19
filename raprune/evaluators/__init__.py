"""Evaluators. Contract: ``make(settings, workload, pool) -> Evaluator`` (:mod:`raprune.evaluating`), one file each."""
