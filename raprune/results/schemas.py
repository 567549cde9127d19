"""The eight tables, column by column: type, unit and meaning. Unknown is null, never 0 or NaN."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 7
"""Increased with every change of a column; older results still load."""

TEXT, INT, FLOAT, MASK, FLAG = pa.string(), pa.int64(), pa.float64(), pa.list_(pa.bool_()), pa.bool_()
BYTES, INTS, FLOATS = pa.binary(), pa.list_(pa.int64()), pa.list_(pa.float32())

Columns = dict[str, tuple[pa.DataType, str]]

_KEYS: Columns = {
    "study": (TEXT, "name of the study"),
    "trial_id": (TEXT, "hash of what changes the trial's numbers"),
}

TABLES: dict[str, Columns] = {
    "trial": _KEYS
    | {
        "status": (TEXT, "completed, failed, or stopped: by a budget where it has scores, else before its end"),
        "error": (TEXT, "what made it fail, traceback and host included"),
        "seed": (INT, "of the method's draws; where it is swept the next two and the split follow it, unless set"),
        "baseline_seed": (INT, "of the baseline's initial weights and batches"),
        "data_seed": (INT, "of the fine-tunes' batches"),
        "model": (TEXT, "plug-in"),
        "dataset": (TEXT, "plug-in"),
        "method": (TEXT, "plug-in: how the filters of a layer are ranked"),
        "decision": (TEXT, "plug-in: how it is decided which filters of a ranked layer go"),
        "order": (TEXT, "plug-in: the order in which layers are decided"),
        "allocation": (TEXT, "plug-in: how much of the bound each layer may use; null in older results"),
        "reward": (TEXT, "plug-in"),
        "residual": (TEXT, "independent or coupled"),
        "layers": (TEXT, "all, or the names of the decided layers (JSON)"),
        "preset": (TEXT, "preset the study was run under"),
        "fidelity": (TEXT, "what a candidate's score was measured with"),
        "drop_bound": (FLOAT, "points of score_unit the network may lose on validation; null for matched trials"),
        "credit": (
            FLOAT,
            "points lent to the first layer's candidates over drop_bound; null in older results",
        ),
        "score_floor": (FLOAT, "validation score to keep, in score_unit, where the bound was given so"),
        "guard": (
            FLOAT,
            "share of the validation images set aside as the guard, 0 to 1; null in results older than it",
        ),
        "warranty": (FLOAT, "confidence with which the bound must hold on fresh images, 0.5 to 1; null for none"),
        "matched_trial_id": (TEXT, "the trial whose num_kept this one prunes to"),
        "acceptance": (
            TEXT,
            "which masks are committed: within bound (over it, the next best mask is tried), or as matched: num_kept "
            "of the partner, whatever the score; in both a fine-tune is kept if it is within the bound or no worse, "
            "and never one that diverged",
        ),
        "round_to": (
            INT,
            "number of which the kept filters of every decided layer are a multiple; 1 where any will do",
        ),
        "model_settings": (TEXT, "JSON"),
        "dataset_settings": (TEXT, "JSON"),
        "method_settings": (TEXT, "JSON"),
        "decision_settings": (TEXT, "JSON"),
        "candidates_per_layer": (INT, "masks that may be scored to decide a layer; null for no limit"),
        "images_per_layer": (INT, "masks times images each needs in full, for a layer; null for no limit"),
        "order_settings": (TEXT, "JSON"),
        "allocation_settings": (TEXT, "JSON"),
        "reward_settings": (TEXT, "JSON"),
        "score_settings": (TEXT, "JSON"),
        "baseline_settings": (TEXT, "JSON; of a checkpoint only its path, of a network that a program gave nothing"),
        "finetune_settings": (TEXT, "JSON"),
        "postprocess_settings": (TEXT, "JSON; null in results that are older than it"),
        "scoring_settings": (TEXT, "JSON"),
        "baseline_key": (TEXT, "folder of the baseline under baselines/"),
        "score_name": (TEXT, "plug-in: what the scores are"),
        "score_unit": (TEXT, "percent or dB: unit of the scores and of their drops"),
        "num_val_images": (INT, "images the rewards were measured on"),
        "num_guard_images": (INT, "validation images that only the contract looks at, beside num_val_images"),
        "baseline_val_score": (FLOAT, "in score_unit"),
        "baseline_finetuned_val_score": (
            FLOAT,
            "in score_unit, nothing pruned, after the same fine-tuning; null where that diverged",
        ),
        "baseline_guard_score": (FLOAT, "in score_unit; null without guard images, like the guard's other columns"),
        "baseline_test_score": (FLOAT, "in score_unit"),
        "val_score": (FLOAT, "in score_unit, of the pruned network at the end"),
        "test_score": (FLOAT, "in score_unit, of the pruned network at the end; its only look at the test split"),
        "guard_score": (FLOAT, "in score_unit, of the pruned network at the end"),
        "num_guard_looks": (INT, "states that were shown to the guard before they were committed or refused"),
        "val_score_drop": (FLOAT, "points of score_unit, positive is worse"),
        "guard_score_drop": (FLOAT, "points of score_unit, positive is worse"),
        "score_drop_limit": (
            FLOAT,
            "points of score_unit: one-sided 95% upper confidence limit of the drop on fresh images, by a paired test "
            "on the guard that knows nothing of earlier looks",
        ),
        "test_score_drop": (FLOAT, "points of score_unit, positive is worse"),
        "num_layers": (INT, "layers that were to be decided"),
        "num_layers_decided": (INT, "of them, those decided; fewer where a budget stopped the trial"),
        "num_layers_whole": (INT, "of num_layers, those with no filter pruned, undecided ones too"),
        "num_filters": (INT, "filters of all convolutions that the layers to be decided stand for"),
        "num_kept": (INT, "of them, those kept"),
        "pruning_ratio": (FLOAT, "share of them pruned, 0 to 1"),
        "baseline_params": (INT, "numbers in weights, biases and norms, frozen ones too; buffers are not counted"),
        "params": (INT, "numbers in weights, biases and norms, frozen ones too; buffers are not counted"),
        "params_before_low_rank": (INT, "the same, as pruned; null without a low-rank step"),
        "baseline_macs": (INT, "multiply-adds of convolutions and linear layers for one image, biases not counted"),
        "macs": (INT, "multiply-adds for one image"),
        "macs_before_low_rank": (INT, "multiply-adds for one image, as pruned; null without a low-rank step"),
        "baseline_model_bytes": (INT, "of the state dict"),
        "model_bytes": (INT, "of the state dict"),
        "model_bytes_before_low_rank": (INT, "of the state dict, as pruned; null without a low-rank step"),
        "val_score_before_low_rank": (FLOAT, "in score_unit, as pruned; null without a low-rank step"),
        "num_candidates": (INT, "masks the method asked to have scored"),
        "num_scored": (INT, "of them, those that were not in the memo"),
        "num_order_candidates": (
            INT,
            "masks the order and the allocation asked to have scored, beside num_candidates; in the budget too",
        ),
        "images_scored": (INT, "validation images seen by all these masks; null in older results"),
        "num_diverged": (INT, "fine-tunes that ended with NaN or infinite weights; none of them was kept"),
        "baseline_latency_s": (FLOAT, "seconds for a batch of one image, median"),
        "latency_s": (FLOAT, "seconds for a batch of one image, median"),
        "wall_time_s": (FLOAT, "seconds, over all its sessions"),
        "evaluators": (INT, "evaluators it ran on; 0 is in process"),
        "device": (TEXT, "device of the evaluators"),
    },
    "layers": _KEYS
    | {
        "layer": (TEXT, "name of the group's first convolution"),
        "layer_index": (INT, "place in the network, from 0"),
        "role": (TEXT, "in its residual block: conv1, conv2, ..., shortcut; conv in none, as the network's sums say"),
        "prune_step": (INT, "place in the order of deciding, from 0"),
        "num_filters": (INT, "entries of its keep mask: filters of the layer, or of a group that shares the mask"),
        "num_kept": (INT, "of them, those kept"),
        "num_decided": (INT, "of them, those that the committed mask kept before num_kept was rounded up to round_to"),
        "pruning_ratio": (FLOAT, "share pruned, 0 to 1"),
        "keep_mask": (MASK, "true keeps the filter"),
        "filter_shape": (INTS, "channels, height and width of a filter as the method saw it"),
        "filter_norms": (FLOATS, "L1 norm of each filter as the method saw it, over all members of a group"),
        "filter_places": (INTS, "place in the method's ranking, from 0, the most important; null without a ranking"),
        "keep_probs": (FLOATS, "probability with which a learner would keep each filter at its end; null for others"),
        "filter_weights": (
            FLOATS,
            "the weights of the network's first layer, filter after filter, each as filter_shape says; null for other "
            "layers, and where they cannot be drawn in colour or grey or are more than 20,000",
        ),
        "cut_val_score": (FLOAT, "in the trial's score_unit, as cut, before any fine-tune"),
        "pruned_val_score": (
            FLOAT,
            "in the trial's score_unit, as candidates are scored in full, after the fine-tune before the reward where "
            "there is one; null where that was not measured",
        ),
        "finetuned_val_score": (FLOAT, "in the trial's score_unit, of the state that was committed"),
        "drop_margin": (
            FLOAT,
            "points of the bound that its candidates had to leave on validation, so that the guard would allow them: "
            "added to their drops before the reward; 0 without a guard, null in matched trials",
        ),
        "guard_score": (FLOAT, "the same on the guard images; null where nothing was committed, or there are none"),
        "guard_score_drop": (FLOAT, "points of score_unit, positive is worse; null like guard_score"),
        "score_drop_limit": (FLOAT, "as in trial, of the network so far; null like guard_score"),
        "num_guard_looks": (INT, "masks of the layer that were shown to the guard"),
        "drop_allowance": (
            FLOAT,
            "points of the trial's score_unit that the network may have lost once this layer is decided; null for "
            "matched trials",
        ),
        "credit": (FLOAT, "points by which its candidates might exceed drop_allowance; null for matched trials"),
        "num_masks_tried": (
            INT,
            "masks tried for the commit, each with a fine-tune; 1: the decided one held",
        ),
        "drop_used": (FLOAT, "of them, those lost by this layer; negative where fine-tuning won more than it lost"),
        "params": (INT, "of the network so far"),
        "macs": (INT, "of the network so far"),
        "num_updates": (INT, "updates of the layer's agent; one whose rewards are all equal changes nothing"),
        "num_diverged": (INT, "fine-tunes of its commit that ended with NaN or infinite weights; none was kept"),
        "cut_short": (FLAG, "a budget ended its decision: the best mask so far, decided anew when the study resumes"),
        "wall_time_s": (FLOAT, "seconds"),
    },
    "updates": _KEYS
    | {
        "layer": (TEXT, "name of the group's first convolution"),
        "update": (INT, "from 0"),
        "reward_mean": (FLOAT, "over the update's masks"),
        "reward_std": (FLOAT, "over the update's masks (population)"),
        "reward_max": (FLOAT, "over the update's masks"),
        "score_mean": (FLOAT, "in the trial's score_unit, of the masks whose score is not null"),
        "pruning_ratio_mean": (FLOAT, "over the update's masks"),
        "policy_entropy": (FLOAT, "mean over the filters, nats, before the update"),
    },
    "candidates": _KEYS
    | {
        "layer": (TEXT, "name of the group's first convolution; 'all layers' in a joint pass"),
        "update": (INT, "the agent's update; null for a mask scored outside of one"),
        "sample": (INT, "place among the masks of its update, or of its layer's other masks"),
        "keep_mask": (MASK, "true keeps the filter; in a joint pass, of those that were kept before it, as in joint"),
        "score": (FLOAT, "in the trial's score_unit; null where psi is under the reward's floor"),
        "reward": (FLOAT, "of the study's reward; bounded_log: psi times phi, 0 for keep-all"),
        "from_memo": (FLAG, "nothing was scored for it: all was known, from this trial or another"),
        "images_scored": (INT, "images seen now; not all after an early exit, nor where some were seen before"),
        "evaluator": (TEXT, "who scored it; memo where nothing was"),
        "score_s": (FLOAT, "seconds, fine-tune included"),
    },
    "joint": _KEYS
    | {
        "joint_step": (INT, "place among the trial's joint passes, from 0"),
        "num_filters": (INT, "entries of the keep masks of all the network's layers, as in layers"),
        "num_kept_before": (INT, "of them, those kept before the pass"),
        "num_kept": (INT, "of them, those kept after it"),
        "keep_mask": (MASK, "true keeps the filter; layer after layer, in the order of layer_index"),
        "cut_val_score": (FLOAT, "in the trial's score_unit, as cut, before any fine-tune"),
        "pruned_val_score": (FLOAT, "as in layers"),
        "finetuned_val_score": (FLOAT, "in the trial's score_unit, of the state that was committed"),
        "guard_score": (FLOAT, "as in layers"),
        "guard_score_drop": (FLOAT, "points of score_unit, positive is worse; null like guard_score"),
        "score_drop_limit": (FLOAT, "as in trial, of the network so far; null like guard_score"),
        "num_guard_looks": (INT, "networks of the pass that were shown to the guard"),
        "drop_allowance": (FLOAT, "points that the network may have lost: the bound; null for matched trials"),
        "drop_used": (FLOAT, "points lost by this pass; negative where fine-tuning won more than it lost"),
        "params": (INT, "of the network so far"),
        "macs": (INT, "of the network so far"),
        "num_diverged": (INT, "fine-tunes of its commit that ended with NaN or infinite weights; none was kept"),
        "cut_short": (FLAG, "a budget ended it: the best mask so far, searched anew when the study resumes"),
        "wall_time_s": (FLOAT, "seconds"),
    },
    "low_rank": _KEYS
    | {
        "layer": (TEXT, "name of the convolution or linear layer"),
        "layer_index": (INT, "place among the network's convolutions and linear layers, from 0"),
        "step": (INT, "place in the order of trying, from 0"),
        "scheme": (TEXT, "how it is factorised; null where none of the study's schemes can"),
        "full_rank": (INT, "rank at which the scheme loses nothing"),
        "rank": (INT, "filters of the first of its two layers; null where it stays as it is"),
        "energy": (FLOAT, "share of the squared singular values kept, 0 to 1 (response_svd: of the variance)"),
        "params_before": (INT, "of the layer"),
        "params_after": (INT, "of its two layers"),
        "macs_before": (INT, "of the layer, for one image"),
        "macs_after": (INT, "of its two layers, for one image"),
        "bytes_before": (INT, "of the layer's part of the state dict"),
        "bytes_after": (INT, "of its two layers' part of the state dict"),
        "val_score_before": (FLOAT, "in the trial's score_unit, of the network before the layer was tried"),
        "factorised_val_score": (FLOAT, "in the trial's score_unit, of the network before the fine-tune"),
        "val_score_after": (FLOAT, "in the trial's score_unit, of the network with the two layers as it was kept"),
        "num_scored": (INT, "ranks of which the network was scored"),
        "num_diverged": (INT, "fine-tunes that ended with NaN or infinite weights; none was kept"),
        "num_guard_looks": (INT, "networks with the layer factorised that were shown to the guard"),
        "applied": (FLAG, "whether the layer was factorised"),
        "reason": (TEXT, "why it was not"),
        "wall_time_s": (FLOAT, "seconds"),
    },
    "pictures": _KEYS
    | {
        "kind": (TEXT, "improved, stayed or worse: what pruning did to the image's global accuracy"),
        "place": (INT, "from 0, the most first"),
        "image_index": (INT, "place in the validation split, from 0"),
        "baseline_global_accuracy": (FLOAT, "percent of the image's labelled pixels"),
        "pruned_global_accuracy": (FLOAT, "percent of the image's labelled pixels"),
        "change": (FLOAT, "points of global accuracy, positive is better"),
        "image": (BYTES, "PNG"),
        "label": (BYTES, "PNG, its palette's indices are classes, 255 is void"),
        "baseline": (BYTES, "PNG like label: what the baseline network predicts"),
        "pruned": (BYTES, "PNG like label: what the pruned network predicts"),
    },
    "speed": _KEYS
    | {
        "device": (TEXT, "cpu, or the name of the GPU"),
        "backend": (TEXT, "eager, compiled or onnxruntime"),
        "batch_size": (INT, "images per run"),
        "network": (TEXT, "baseline or pruned"),
        "macs": (INT, "multiply-adds for one image"),
        "threads": (INT, "processor threads"),
        "num_runs": (INT, "runs after the warm-up, baseline and pruned in turn"),
        "mean_s": (FLOAT, "seconds per run"),
        "median_s": (FLOAT, "seconds per run"),
        "lower_quartile_s": (FLOAT, "seconds per run"),
        "upper_quartile_s": (FLOAT, "seconds per run"),
        "peak_memory_bytes": (INT, "the most its runs held, in a process of its own, libraries not counted"),
        "backend_version": (TEXT, "of torch, or of ONNX Runtime"),
        "host": (TEXT, "machine it ran on"),
    },
}

SCHEMAS: dict[str, pa.Schema] = {
    name: pa.schema(
        [pa.field(column, kind, metadata={"meaning": meaning}) for column, (kind, meaning) in columns.items()],
        metadata={"raprune_schema_version": str(SCHEMA_VERSION)},
    )
    for name, columns in TABLES.items()
}

COST_COLUMNS: dict[str, tuple[str, ...]] = {
    "trial": ("num_scored", "images_scored", "baseline_latency_s", "latency_s", "wall_time_s", "evaluators", "device"),
    "layers": ("wall_time_s",),
    "updates": (),
    "candidates": ("from_memo", "images_scored", "evaluator", "score_s"),
    "joint": ("wall_time_s",),
    "low_rank": ("wall_time_s",),
    "pictures": (),
    "speed": (
        "device", "threads", "num_runs", "mean_s", "median_s", "lower_quartile_s", "upper_quartile_s",
        "peak_memory_bytes", "backend_version", "host",
    ),
}  # fmt: skip
"""Columns that say what a trial cost; every other column is a pure function of the trial."""
