"""A study that ends in seconds, with every kind of file a study leaves."""

from tests.short import IMPORT

STUDY = f"""\
name: small
model: {{import: '{IMPORT}'}}
dataset: {{name: digits, num_val: 100, num_test: 100}}
baseline: {{epochs: 1, learning_rate: 0.02, batch_size: 32}}
finetune: {{after_layer: {{steps: 2}}}}
layers: [features.37, features.40]
candidates_per_layer: 30
drop_bound: 30.0
scoring: {{batch_size: 50}}
evaluators: {{count: 0}}
budget: {{hours: 1}}
sweep:
  method: [{{name: agent, min_updates: 2, max_updates: 2}}, {{name: magnitude, match: agent}}]
"""
