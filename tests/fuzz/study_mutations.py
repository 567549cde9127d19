"""Study files that nobody would write: one to three changes of a good one, drawn by a seed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

GOOD = """\
name: fuzzed
description: What a study file may hold.
preset: default
model: {name: vgg16, width: 0.0625}
dataset: {name: digits, num_val: 200, num_test: 200}
baseline: {epochs: 2, learning_rate: 0.02, batch_size: 16, seed: 0}
finetune:
  before_reward: {steps: 0}
  after_layer: {steps: 4}
  learning_rate: 0.01
layers: [features.0, features.10]
score: top1_accuracy
order: low_to_high
reward: {name: bounded_log, floor: -1.0}
scoring: {batch_size: 50, threads: 1}
evaluators: {count: 0, engine: exact}
postprocess: {low_rank: {layers: [classifier.0], schemes: [svd]}}
keep_models: best
budget: {hours: 1.5, candidates: 500}
residual: independent
round_to: 1
seed: 0
sweep:
  drop_bound: [2.0, 8.0]
  method:
    - {name: agent, min_updates: 4, max_updates: 4}
    - magnitude
    - {name: random, match: agent}
rehearsal:
  model: {width: 0.0625}
  sweep: {drop_bound: [4.0]}
"""

VALUES = [
    "null", "~", "", "''", '" "', "true", "no", "0", "-1", "1.5", "-0.0", "1e400", "1e-400", ".nan", ".inf", "-.inf",
    "9" * 40, "0x1F", "0o17", "1_000", "12:30:45", "2026-11-26", "'text'", "[]", "{}", "[[]]", "[[[[1]]]]", "[null]",
    "{a: 1}", "{name: vgg16}", "{name: }", "{import: nothing:here}", "{import: 'os:system'}", "{import: ':'}", "all",
    "each", "paper", "digits", "'\\0'", '"\\0"', '"\\e[31mred"', '"\\ud800"', "日本語", "пример", "🜚", "'[/bold]'",
    "'<script>alert(1)</script>'", "!!python/object:os.system x", "!!binary aGk=", "*nowhere", "&x [*x]", "? x", "- x",
    "|\n  a\n  b", "@at", "`tick`", "%percent", "a: b: c", "'" + "x" * 5000 + "'", "~/nothing.pt", "s3://bucket/x",
    "/dev/zero", "/dev/null", "../../../etc/passwd", "[features.0, features.0]", "[0.10]", "[features.99]", "0.02",
    "100.0001", "1e308", "2147483648", "{epochs: 1, steps: 1}", "{steps: -3}", "{hours: 0}",
]  # fmt: skip
KEYS = [
    "naem", "model", "Name", "NAME", "<<", "0", "null", "true", "'a b'", "a.b", "sweep.seed", "drop_bound",
    "score_floor", "fidelity", "日本", "[1, 2]", "? complex", "__class__", "model_config", "x" * 300,
]  # fmt: skip
CHARACTERS = [*":-{}[],'\"#&*!|>%", "\t", "\0", "\x1b", "\u2028", "\ufeff", "é", "\r", "\x85"]
Change = Callable[[str, random.Random], str]


def mutated(seed: int) -> bytes:
    """The good study file after one to three changes."""
    rng = random.Random(seed)
    text = GOOD
    for change in rng.choices(list(CHANGES), k=rng.choice([1, 1, 1, 2, 3])):
        text = change(text, rng)
    raw = text.encode("utf-8", errors="surrogatepass")
    return rng.choice(BYTES)(raw, rng) if rng.random() < 0.15 else raw


def _value(text: str, rng: random.Random) -> str:
    """Another value for one key or item."""
    places = list(re.finditer(r"(?<=: )[^,{}\[\]\n]+|(?<=- )[^,{}\[\]\n]+|(?<=\[)[^,\[\]\n]+", text))
    return _replaced(text, rng.choice(places), rng.choice(VALUES)) if places else text


def _whole_value(text: str, rng: random.Random) -> str:
    """Another value for a key of the top, whatever it holds."""
    lines = text.splitlines()
    tops = [i for i, line in enumerate(lines) if re.match(r"\w+:", line)]
    if not tops:
        return text
    at = rng.choice(tops)
    end = next((i for i in range(at + 1, len(lines)) if not lines[i].startswith(" ")), len(lines))
    lines[at:end] = [f"{lines[at].partition(':')[0]}: {rng.choice(VALUES)}"]
    return "\n".join(lines) + "\n"


def _key(text: str, rng: random.Random) -> str:
    """Another name for one key."""
    places = list(re.finditer(r"\b\w+(?=: |:\n)", text))
    return _replaced(text, rng.choice(places), rng.choice(KEYS)) if places else text


def _new_line(text: str, rng: random.Random) -> str:
    lines = text.splitlines()
    indent = " " * rng.choice([0, 0, 1, 2, 4])
    lines.insert(rng.randint(0, len(lines)), f"{indent}{rng.choice(KEYS)}: {rng.choice(VALUES)}")
    return "\n".join(lines) + "\n"


def _lines_moved(text: str, rng: random.Random) -> str:
    """A line deleted, doubled, indented otherwise, with a tab, or moved."""
    lines = text.splitlines() or [""]
    at = rng.randrange(len(lines))
    line = lines.pop(at)
    new = [[], [line, line], [f" {line}"], [line.lstrip()], [f"\t{line}"], [f"{line}\t"], [f"# {line}"]]
    lines[at:at] = rng.choice(new)
    if rng.random() < 0.2:
        lines.insert(rng.randint(0, len(lines)), line)
    return "\n".join(lines) + "\n"


def _character(text: str, rng: random.Random) -> str:
    """A character in, out or another."""
    at = rng.randint(0, len(text))
    new = rng.choice(CHARACTERS)
    return text[:at] + new + text[at + rng.randint(0, 2) :]


def _explosion(text: str, rng: random.Random) -> str:
    """Aliases of aliases, an anchor that holds itself, or very deep and very long flows."""
    laughs = "a0: &a0 [x, x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))
    deep = "deep: " + "[" * 400 + "]" * 400 + "\n"
    deeper = "deep: " + "{a: " * 4000 + "1" + "}" * 4000 + "\n"
    wide = f"sweep: {{seed: [{', '.join(map(str, range(20_000)))}]}}\n"
    own = "own: &own {inside: *own}\n"
    return rng.choice([laughs + text, text + deep, text + deeper, text.replace("sweep:", "was:") + wide, text + own])


def _documents(text: str, rng: random.Random) -> str:
    return rng.choice([f"{text}---\n{text}", f"%YAML 9.9\n---\n{text}", f"- {text}", "", "\n\n", "# nothing\n", "x",
                       f"{text}...\ngarbage", "[" + text, "null", "0"])  # fmt: skip


CHANGES: tuple[Change, ...] = (
    _value, _value, _value, _value, _whole_value, _whole_value, _key, _key, _new_line, _lines_moved, _lines_moved,
    _character, _explosion, _documents,
)  # fmt: skip


def _cut(raw: bytes, rng: random.Random) -> bytes:
    return raw[: rng.randint(0, len(raw))]


def _flipped(raw: bytes, rng: random.Random) -> bytes:
    if not raw:
        return b"\xff"
    at = rng.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ (1 << rng.randrange(8))]) + raw[at + 1 :]


def _encoded(raw: bytes, rng: random.Random) -> bytes:
    text = raw.decode("utf-8", errors="replace")
    encoding = rng.choice(["utf-16", "utf-32", "latin-1", "cp1251"])
    return text.encode(encoding, errors="replace")


def _framed(raw: bytes, rng: random.Random) -> bytes:
    return rng.choice([b"\xef\xbb\xbf" + raw, raw + b"\0" * 64, b"PK\x03\x04" + raw, raw.replace(b"\n", b"\r\n"),
                       raw * 40, b"\x80\x04\x95" + raw, rng.randbytes(500)])  # fmt: skip


BYTES = (_cut, _flipped, _encoded, _framed)


def _replaced(text: str, place: re.Match[str], new: str) -> str:
    return text[: place.start()] + new + text[place.end() :]
